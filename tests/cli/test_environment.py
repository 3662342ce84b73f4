"""Misspelt environment variables are told, by every command that reads the environment; known ones are not."""

from pathlib import Path

import pytest

from resexp_cli.environment import misspelt

from .conftest import Resexp

BATCH = "experiments: {paths: {experiment: paths}}\n"


def test_every_variable_that_an_option_has_is_known_and_a_wrong_letter_is_not(resexp: Resexp) -> None:
    known = [
        *("RESEXP_VARIANCE_DEPTH", "RESEXP_VARIANCE_SEED", "RESEXP_VARIANCE_SEEDS", "RESEXP_VARIANCE_FORMAT"),
        *("RESEXP_VARIANCE_SETTINGS", "RESEXP_VARIANCE_NO_SAVE", "RESEXP_DEAD_UNITS_DRAWS", "RESEXP_CHECKPOINTS"),
        *("RESEXPERIMENT", "_RESEXP_COMPLETE", "PATH"),
    ]
    assert misspelt(dict.fromkeys(known, "1")) == []
    assert misspelt({"RESEXP_VARIANCE_DEPHT": "1"}) == [
        "RESEXP_VARIANCE_DEPHT is set in the environment, and nothing reads it (did you mean 'RESEXP_VARIANCE_DEPTH'?)."
    ]
    (none_near,) = misspelt({"RESEXP_JOBS": "1"})
    assert none_near.endswith("nothing reads it: names are RESEXP_EXPERIMENT_OPTION.")
    assert misspelt({"RESEXP_PATHS_SEEDS": "1"}) != []  # nothing about paths is random


def test_who_reads_the_environment_says_what_is_misspelt_there(
    resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "batch.yaml").write_text(BATCH)
    monkeypatch.setenv("RESEXP_PATHS_BLOKCS", "3")
    commands = (("paths",), ("run", "batch.yaml", "-j0"), ("status", "batch.yaml"), ("export", "batch.yaml"))
    for command in commands:
        ended = resexp(*command)
        assert ended.code == 0
        assert ended.err.count("(did you mean 'RESEXP_PATHS_BLOCKS'?)") == 1
        assert "RESEXP" not in ended.out
        assert "RESEXP" not in resexp(*command, "-q").err
