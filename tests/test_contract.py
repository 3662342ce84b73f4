"""What every registered experiment keeps, run at its quick setting. A new experiment is tested here by being there."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from resexp.core import assessment
from resexp.core.assessment import assess
from resexp.core.ensemble import Ensemble
from resexp.core.experiment import Experiment
from resexp.core.lab import Lab
from resexp.core.result import STATISTICS_COLUMNS, Prediction, Result, Row, Verdict
from resexp.core.table import Table
from resexp.core.tabular import to_csv
from resexp.runs.registry import experiments
from resexp.runs.settings import Settings
from resexp.training import checkpoint
from resexp_cli.main import main

EXPERIMENTS = list(experiments().values())


RESUMING = [e for e in EXPERIMENTS if e.resumes]
named = {"ids": lambda e: e.name()}


def small(experiment: type[Experiment]) -> Mapping[str, Any]:
    """The setting for tests of form."""
    return experiment.smallest or experiment.quick


def options(setting: Mapping[str, Any]) -> list[str]:
    """A setting as it is written on a command line."""
    words = []
    for name, value in setting.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)]
    return words


@pytest.mark.parametrize("experiment", EXPERIMENTS, **named)
def test_meets_its_theory_in_the_declared_columns_and_catches_one_that_is_wrong(
    experiment: type[Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Row] = []

    def noting(declared: Ensemble, rows: Iterable[Row]) -> Result:
        measured.extend(rows)
        return assess(declared, measured)

    monkeypatch.setattr(assessment, "assess", noting)
    result = experiment.parse(experiment.quick).compute(Lab(experiment.name(), seed=1))
    assert result.families, "nothing is held against a theory"
    wrong = [f for f in result.families if f.verdict == Verdict.DISAGREE]
    assert not wrong
    assert any(f.verdict == Verdict.AGREE for f in result.families)

    assert result.rows
    for row in result.rows:
        assert set(row) <= set(result.columns)
        assert all(not isinstance(v, float) or math.isfinite(v) for v in row.values())
    if issubclass(experiment, Ensemble):
        assert result.columns == (*experiment.axes, "quantity", *STATISTICS_COLUMNS)
        _catches_a_wrong_theory(experiment, measured)
    for figure in result.headline:
        assert tuple(figure) == ("quantity", *STATISTICS_COLUMNS)


def _catches_a_wrong_theory(experiment: type[Ensemble], rows: list[Row]) -> None:
    """Every judged family disagrees with a theory whose growth is off by 20 % a row, or whose level is off by 0.2.

    What holds in most networks is said to hold in few.
    """
    shares = {quantity.name for quantity in experiment.quantities if quantity.judged == "share"}

    class Wrong(experiment):  # type: ignore[valid-type, misc]
        def theory(self, quantity: str, **axes: int) -> Prediction | None:
            right = super().theory(quantity, **axes)
            if right is not None and quantity in shares:
                return Prediction(right.kind, value=1.0 - right.value)
            return None if right is None else _worsened(right, next(iter(axes.values())))

    families = assess(Wrong.parse(experiment.quick), rows).families
    verdicts = {f.quantity: f.verdict for f in families if f.verdict != Verdict.NO_THEORY}
    assert verdicts
    assert set(verdicts.values()) == {Verdict.DISAGREE}, verdicts


@pytest.mark.parametrize("experiment", EXPERIMENTS, **named)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(experiment: type[Experiment]) -> None:
    def computed(seed: int, threads: int) -> str:
        result = experiment.parse(small(experiment)).compute(Lab(experiment.name(), seed=seed, threads=threads))
        return to_csv(result.columns, result.rows)

    first = computed(1, 1)
    assert computed(1, 2) == first
    assert (computed(2, 1) != first) == experiment.random


class KilledError(Exception):
    """What stands for a kill."""


@pytest.mark.parametrize("experiment", RESUMING, **named)
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(
    experiment: type[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed twice or more; each time it goes on where it stood, and nothing is left of it in the end."""
    monkeypatch.setenv("RESEXP_CHECKPOINTS", str(tmp_path))
    told: list[int] = []

    def computed(life: float) -> str:
        lived: list[int] = []

        def progress(done: int, total: int) -> None:
            told.append(done)
            lived.append(done)
            if len(lived) > life:
                raise KilledError

        lab = Lab(experiment.name(), seed=1, progress=progress)
        result = experiment.parse(small(experiment)).compute(lab)
        return to_csv(result.columns, result.rows)

    whole, steps = computed(math.inf), len(told)
    monkeypatch.setattr(checkpoint, "SELDOM", 0.0)
    lives = 1
    while True:
        try:
            again = computed(max(1, steps // 4))
            break
        except KilledError:
            lives += 1
            assert any(tmp_path.rglob("state.json"))
            assert lives < 40
    assert lives > 2
    assert again == whole
    assert not any(tmp_path.rglob("*.safetensors"))


def _worsened(right: Prediction, place: object) -> Prediction:
    shift = 0.2 * place if isinstance(place, int) else 0.0

    def moved(x: float | None, by: float) -> float | None:
        return None if x is None else x + by

    return Prediction(
        right.kind,
        log=moved(right.log, shift),
        typical_log=moved(right.typical_log, shift),
        value=moved(right.value, 0.2),
        judged=moved(right.judged, 0.2),
        bias=right.bias,
        is_definition=right.is_definition,
    )


@pytest.mark.parametrize("experiment", EXPERIMENTS, **named)
def test_is_shown_in_every_form(
    experiment: type[Experiment], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first form computes, the others read back what it stored."""
    setting = ["--quick"] if not experiment.smallest else options(experiment.smallest)
    for form in ("table", "csv", "json", "markdown"):
        picture = tmp_path / f"{form}.svg"
        plot = ["--plot", str(picture)] if form == "table" else []
        with pytest.raises(SystemExit) as ended:
            main([experiment.name(), *setting, "--seed", "1", "--format", form, "--out", str(tmp_path), "-q", *plot])
        assert ended.value.code == 0
        assert len(capsys.readouterr().out.splitlines()) > 1, form
        assert picture.exists() == bool(plot)


@pytest.mark.parametrize(
    ("experiment", "example"),
    [(e, x) for e in EXPERIMENTS for x in e.examples],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_examples_are_valid_commands(
    experiment: type[Experiment], example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *arguments = example.split()
    assert command == experiment.name()
    with pytest.raises(SystemExit) as ended:
        main([command, *arguments, "--dry-run"])
    assert ended.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("experiment", EXPERIMENTS, **named)
def test_is_documented(experiment: type[Experiment]) -> None:
    assert experiment.summary().endswith(".")
    assert "Source:" in experiment.mathematics(), "the module docstring names its source"
    assert experiment.examples
    for name, field in experiment.model_fields.items():
        assert field.description, f"{name} has no meaning or unit"
        assert name not in Settings.model_fields, f"{name} is the name of a common setting"


@pytest.mark.parametrize("experiment", EXPERIMENTS, **named)
def test_is_an_ensemble_or_a_table(experiment: type[Experiment]) -> None:
    assert issubclass(experiment, Ensemble | Table)
