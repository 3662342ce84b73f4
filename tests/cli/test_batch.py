"""run: entries in order, a summary, what is stored read back, checks of single entries."""

from pathlib import Path

import pytest

from resexp.theory import sizes

from .conftest import Resexp

BATCH = """\
defaults: {seed: 1}
experiments:
  paths-a: {experiment: paths, set: {blocks: 4}, plot: figures/a.svg}
  sizes: {experiment: parameters, set: {layers: 2}}
  paths-b: {experiment: paths, set: {blocks: 4}}
"""


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    file = tmp_path / "batch.yaml"
    file.write_text(BATCH)
    return file


def test_runs_all_in_order_and_ends_with_a_summary(resexp: Resexp, batch: Path) -> None:
    ended = resexp("run", "batch.yaml", "--out", "there")
    assert ended.code == 0
    words = [line.split() for line in ended.out.splitlines()]
    assert words[0] == ["entry", "experiment", "state", "time", "verdicts"]
    assert [line[:3] for line in words[1:]] == [
        ["paths-a", "paths", "done"],
        ["sizes", "parameters", "done"],
        ["paths-b", "paths", "read"],
    ]
    assert (batch.parent / "there/figures/a.svg").exists()
    assert "read back" in resexp("run", "batch.yaml", "--out", "there").out


def test_only_takes_a_glob(resexp: Resexp, batch: Path) -> None:
    out = resexp("run", "batch.yaml", "--only", "paths-*").out
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["paths-a", "paths-b"]
    ended = resexp("run", "batch.yaml", "--only", "size")
    assert ended.code == 2
    assert "(did you mean 'sizes'?)" in ended.err


def test_dry_run_lists_and_runs_nothing(resexp: Resexp, batch: Path) -> None:
    ended = resexp("run", "batch.yaml", "--dry-run")
    assert [line.split()[0] for line in ended.out.splitlines()] == ["entry", "paths-a", "sizes", "paths-b"]
    assert [path.name for path in batch.parent.iterdir()] == ["batch.yaml"]


def test_check_of_an_entry_and_of_the_whole(resexp: Resexp, batch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "mlp", lambda *_, **__: 1)
    assert resexp("run", "batch.yaml", "-j0").code == 0
    assert resexp("run", "batch.yaml", "-j0", "--check").code == 1
    batch.write_text(BATCH.replace("layers: 2}}", "layers: 2}, check: true}"))
    assert resexp("run", "batch.yaml", "-j0").code == 1


def test_a_figure_that_cannot_be_written_fails_its_entry_alone(resexp: Resexp, batch: Path) -> None:
    (batch.parent / "results").mkdir()
    (batch.parent / "results/figures").touch()
    ended = resexp("run", "batch.yaml")
    assert ended.code == 3
    assert "paths-a: The figure could not be written" in ended.err
    assert len(list(batch.parent.glob("results/*/*/run.json"))) == 2
