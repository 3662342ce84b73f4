"""Exit codes: 0 ok, 1 failed or --check not met, 2 usage, 3 some of a batch failed, 4 something missing, 130."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resexp.core import lab
from resexp.experiments.paths import Paths
from resexp.theory import sizes
from resexp_cli.main import cli

from .conftest import Resexp


def test_0_where_all_went_well(resexp: Resexp) -> None:
    assert resexp("paths", "--blocks", "3").code == 0
    assert resexp("--help").code == 0
    assert resexp("--version").code == 0


def test_1_where_check_is_not_met_and_only_then(resexp: Resexp, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resexp("parameters", "--check").code == 0
    monkeypatch.setattr(sizes, "mlp", lambda *_, **__: 3842)
    assert resexp("parameters", "--no-save").code == 0
    ended = resexp("parameters", "--no-save", "--check")
    assert ended.code == 1
    assert "parameters: 3841 against 3842." in ended.err
    assert "total,all,3841" in ended.out


def test_1_where_the_disk_is_full_and_the_result_is_printed_all_the_same(
    resexp: Resexp, monkeypatch: pytest.MonkeyPatch, stored: Callable[[], set[str]]
) -> None:
    resexp("paths", "--blocks", "3")
    before = stored()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("resexp.runs.store._write", full)
    ended = resexp("paths", "--blocks", "2")
    assert ended.code == 1
    assert "No space left on device" in ended.err
    assert ended.out.endswith("\n2,1,0.25,1.0,0.25\n")
    assert stored() == before


def test_2_without_a_command_shows_the_help(resexp: Resexp) -> None:
    ended = resexp()
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: resexp")


def test_3_where_an_entry_fails_and_the_others_are_done(
    resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table(self: Paths) -> Iterator[dict[str, Any]]:
        raise TypeError("a bug")

    monkeypatch.setattr(Paths, "table", table)
    file = tmp_path / "batch.yaml"
    file.write_text("experiments:\n  a: {experiment: paths}\n  b: {experiment: parameters, check: true}\n")
    ended = resexp("run", "batch.yaml", "-j0")
    assert ended.code == 3
    assert "a: TypeError: a bug" in ended.err
    assert "1 of 2 cells failed, in a." in ended.err
    assert list(tmp_path.glob("results/parameters/*/result.csv"))


def test_4_where_a_device_is_missing(resexp: Resexp, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for command in (("variance", "--device", "cuda"), ("variance", "--device", "cuda:3", "--dry-run")):
        ended = resexp(*command)
        assert ended.code == 4
        assert "torch sees no CUDA device here" in ended.err
    assert lab.resolve_device("auto") == "cpu"


def test_4_where_matplotlib_is_missing(resexp: Resexp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = resexp("paths", "--plot", "p.svg")
    assert (ended.code, ended.out) == (4, "")
    assert "pip install 'resexp[plots]'" in ended.err


def test_130_where_interrupted_and_what_is_finished_is_kept(
    resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Paths.table

    def table(self: Paths) -> Any:
        if self.blocks == 3:
            signal.raise_signal(signal.SIGINT)
        return whole(self)

    monkeypatch.setattr(Paths, "table", table)
    ended = resexp("paths", "--blocks", "1,2,3,4")
    assert (ended.code, ended.out) == (130, "")
    assert "Interrupted: 2 of 4 settings are finished and kept in results." in ended.err
    assert len(list(tmp_path.glob("results/paths/*/run.json"))) == 2
    assert len(list(tmp_path.glob("results/paths/*"))) == 2


def test_the_help_documents_every_code() -> None:
    for code in ("0 ok", "1 failed or --check not met", "2 usage", "3 some cells", "4 a device", "130 interrupted"):
        assert code in str(cli.epilog)


def test_0_where_the_reader_of_a_pipe_has_left() -> None:
    command = [sys.executable, "-m", "resexp_cli", "paths", "--blocks", "3000", "--no-save", "--quiet"]
    # An unbuffered Python loses what a pipe did not take and never learns that the reader has left.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"length,")
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
