"""status, export, clean: what is stored, told and cleared away without running anything."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resexp.core.errors import ResexpError
from resexp.experiments.paths import Paths
from resexp.runs import batch, config, registry
from resexp.runs.cell import Cell
from resexp.runs.store import Failure, Store

from .conftest import Resexp

BATCH = """\
experiments:
  sweep: {experiment: paths, sweep: {blocks: [4, 5, 6]}}
  sizes: {experiment: parameters, set: {layers: 2}}
"""
BOTH = "sweep: {blocks: [4, 5, 6]}}"
SMALLER = "sweep: {blocks: [5, 6]}}"


@pytest.fixture
def file(tmp_path: Path, resexp: Resexp) -> Path:
    """A batch of which everything has been run but one cell, which failed."""
    file = tmp_path / "batch.yaml"
    file.write_text(BATCH)
    assert resexp("run", "batch.yaml", "-j", "0", "-q").code == 0
    (cell,) = cells(file, "sweep", blocks=6)
    store = Store(tmp_path / "results")
    for path in store.folder(cell).iterdir():
        path.unlink()
    store.save_failure(cell, Failure("ValueError", "no such\nluck", "traceback"))
    return file


def cells(file: Path, only: str, **parameters: int) -> list[Cell]:
    planned = batch.plan(config.select(config.load(file), only))
    return [c for _, c in planned if parameters.items() <= c.experiment.model_dump().items()]


def words(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


def test_status_counts_and_names_failures(resexp: Resexp, file: Path, stored: Callable[[], set[str]]) -> None:
    before = stored()
    ended = resexp("status", "batch.yaml")
    assert ended.code == 0
    assert words(ended.out)[:4] == [
        ["entry", "experiment", "cells", "done", "failed", "missing"],
        ["sweep", "paths", "3", "2", "1", "0"],
        ["sizes", "parameters", "1", "1", "0", "0"],
        [],
    ]
    (failed,) = cells(file, "sweep", blocks=6)
    assert ended.out.splitlines()[4:] == [
        "sweep (blocks 6): ValueError: luck",
        f"  results/paths/{failed.id}/error.json",
    ]
    assert "--retry-failed" in ended.err
    assert stored() == before
    document = json.loads(resexp("status", "batch.yaml", "--format", "json", "--only", "swe*").out)
    (entry,) = document["entries"]
    assert (entry["done"], entry["failed"], entry["stale"]) == (2, 1, 0)
    assert [f["error"] for f in entry["failures"]] == ["ValueError: luck"]
    rows = list(csv.DictReader(io.StringIO(resexp("status", "batch.yaml", "--format", "csv", "--out", "empty").out)))
    assert [(row["entry"], row["missing"]) for row in rows] == [("sweep", "3"), ("sizes", "1")]


def test_status_of_overridden_entries_and_of_a_wrong_file(resexp: Resexp, file: Path) -> None:
    out = resexp("status", "batch.yaml", "--only", "sweep", "--set", "blocks=4,99").out
    assert words(out)[1] == ["sweep", "paths", "2", "1", "0", "1"]
    assert "stale" not in out  # the file's own cells are wanted still
    file.write_text("experiments: {a: {experiment: pths}}")
    ended = resexp("status", "batch.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert "did you mean 'paths'" in ended.err


def test_an_edited_sweep_leaves_stale_results_which_clean_lists_and_then_removes(
    resexp: Resexp, file: Path, stored: Callable[[], set[str]]
) -> None:
    (dropped,) = cells(file, "sweep", blocks=4)
    file.write_text(BATCH.replace(BOTH, SMALLER))
    ended = resexp("status", "batch.yaml")
    assert words(ended.out)[:2] == [
        ["entry", "experiment", "cells", "done", "failed", "missing", "stale"],
        ["sweep", "paths", "2", "1", "1", "0", "1"],
    ]
    assert "resexp clean batch.yaml" in ended.err
    assert resexp("clean").out == "Nothing to remove in results.\n"
    before = stored()
    ended = resexp("clean", "batch.yaml")
    assert ended.code == 0
    assert f"paths/{dropped.id}  no cell of sweep any more" in ended.out
    assert "--yes" in ended.err
    assert stored() == before
    (row,) = csv.DictReader(io.StringIO(resexp("clean", "batch.yaml", "--format", "csv").out))
    assert (row["path"], row["reason"], row["entry"]) == (
        *(f"results/paths/{dropped.id}", "dropped from the file", "sweep"),
    )
    assert int(row["bytes"]) > 1000
    ended = resexp("clean", "batch.yaml", "--yes")
    assert (ended.code, "1 of 1 removed" in ended.err) == (0, True)
    assert {name for name in before if f"paths/{dropped.id}" in name} == before - stored()
    assert json.loads(resexp("clean", "batch.yaml", "--format", "json").out) == []


def test_clean_goes_on_after_what_cannot_be_removed(
    resexp: Resexp, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Paths, "version", Paths.version + 1)
    rename = Path.rename
    (first, *_) = sorted(path.name for path in (file.parent / "results/paths").iterdir())

    def fails(self: Path, target: Path) -> Path:
        if self.name == first:
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    ended = resexp("clean", "--yes")
    assert ended.code == 1
    assert f"{first} could not be removed: Permission denied." in ended.err
    assert [path.name for path in (file.parent / "results/paths").iterdir()] == [first]


def test_export_gives_the_cells_of_a_file_in_its_order(resexp: Resexp, file: Path, tmp_path: Path) -> None:
    ended = resexp("export", "batch.yaml")
    assert ended.code == 0
    assert "Cells: 3; left out: 1 failed" in ended.err
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    told = [(row["entry"], row["blocks"]) for row in rows]
    assert told[:11] == [("sweep", "4")] * 5 + [("sweep", "5")] * 6
    assert set(told[11:]) == {("sizes", "")}
    assert [row["count"] for row in rows[:5]] == ["1", "4", "6", "4", "1"]
    of_file, of_glob = (resexp("export", s, "--only", "sweep").out for s in ("batch.yaml", "results/*/*"))
    assert sorted(of_file.splitlines()) == sorted(of_glob.splitlines())
    assert resexp("export", "batch.yaml", "--to", "a.json").out == ""
    assert len(json.loads((tmp_path / "a.json").read_text())) == len(rows)


def test_parquet_goes_into_a_file_and_needs_polars(
    resexp: Resexp, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resexp("export", "batch.yaml", "--format", "parquet").code == 2
    ended = resexp("export", "batch.yaml", "--to", "a.parquet")
    assert (ended.code, ended.out) == (0, "")
    assert (tmp_path / "a.parquet").read_bytes()[:4] == b"PAR1"
    monkeypatch.setitem(sys.modules, "polars", None)
    ended = resexp("export", "batch.yaml", "--to", "b.parquet")
    assert (ended.code, "resexp[parquet]" in ended.err) == (4, True)
    assert not (tmp_path / "b.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("results/pths/*",), "matches no stored result"),
        (("batch.yaml", "--out", "empty"), "4 missing"),
        (("none.yaml",), "none.yaml"),
        (("batch.yaml", "--to", "no/a.csv"), "there is no folder no"),
        (("results/*/*", "--set", "blocks=4"), "--set"),
        ((), "SOURCES"),
    ],
)
def test_what_cannot_be_exported_is_said(resexp: Resexp, file: Path, arguments: tuple[str, ...], sentence: str) -> None:
    ended = resexp("export", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert sentence in ended.err


def test_export_ends_quietly_where_the_reader_has_left(resexp: Resexp, tmp_path: Path) -> None:
    resexp("paths", "--blocks", "1999", "-q")
    command = [sys.executable, "-m", "resexp_cli", "export", "results/paths/*"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"experiment,entry,id,blocks,")
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("command", ["export results/*/*", "clean", "status batch.yaml"])
def test_exact_numbers_need_no_torch(file: Path, command: str) -> None:
    run = "from resexp_cli.main import _exit_code as run"
    code = f"import sys; {run}; sys.exit(run(sys.argv[1:]) or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *command.split()], cwd=file.parent, capture_output=True)
    assert (done.returncode, b"Error" in done.stderr) == (0, False)


def test_an_experiment_that_cannot_be_loaded_is_no_damage_to_what_is_stored(
    resexp: Resexp, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = registry.experiments()

    def broken() -> None:
        raise ResexpError("The experiment in another cannot be loaded.")

    for arguments in (("export", "results/paths/*"), ("export", "batch.yaml"), ("clean",), ("status", "batch.yaml")):
        monkeypatch.setattr(registry, "experiments", broken)
        ended = resexp(*arguments)
        assert (ended.code, ended.out) == (1, "")
        assert "Error: The experiment in another cannot be loaded." in ended.err
        monkeypatch.setattr(registry, "experiments", lambda: whole)
        assert resexp(*arguments).code == 0
