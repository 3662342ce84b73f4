"""run: entries in order, a summary, what is stored read back, checks of single entries."""

import json
from pathlib import Path

import pytest

from resexp.core import pooling
from resexp.core.pooling import PoolingError
from resexp.core.tabular import from_csv
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
    assert words[0] == ["entry", "experiment", "state", "cell", "time", "verdicts"]
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


def test_dry_run_says_what_tells_the_cells_of_an_entry_apart(resexp: Resexp, tmp_path: Path) -> None:
    (tmp_path / "seeds.yaml").write_text(SEEDS)
    lines = [line.split("  ") for line in resexp("run", "seeds.yaml", "--dry-run").out.splitlines()]
    told = [next(word.strip() for word in words[1:] if word) for words in lines]
    assert told == ["setting", *(f"scheme {scheme}, seed {n}" for scheme in ("residual", "plain") for n in (0, 1))]


def test_programs_get_a_row_an_entry_and_of_a_dry_run_a_row_a_cell(resexp: Resexp, tmp_path: Path) -> None:
    (tmp_path / "seeds.yaml").write_text(SEEDS + "  paths: {experiment: paths, set: {blocks: 4}}\n")
    plan = from_csv(resexp("run", "seeds.yaml", "--dry-run", "--format", "csv").out)[1]
    assert [row["entry"] for row in plan] == ["growth"] * 4 + ["paths"]
    assert plan == json.loads(resexp("run", "seeds.yaml", "--dry-run", "--format", "json").out)
    assert {row["state"] for row in plan} == {"to run"}
    assert plan[3]["setting"] == "scheme plain, seed 1"
    resexp("run", "seeds.yaml", "-j0", "--only", "paths")
    first = resexp("run", "seeds.yaml", "-j0", "--format", "json")
    document = json.loads(first.out)
    growth, paths = document["entries"]
    assert (growth["entry"], growth["cells"], growth["done"], growth["not_run"]) == ("growth", 4, 4, 0)
    assert (paths["done"], paths["read_back"], paths["agree"]) == (0, 1, 3)
    assert {row["quantity"] for row in document["pooled"]} >= {"activation_growth_per_block"}
    assert {row["seeds"] for row in document["pooled"]} == {2}
    rows = from_csv(resexp("run", "seeds.yaml", "-j0", "--format", "csv").out)[1]
    assert [(row["entry"], row["read_back"], row["failed_before"]) for row in rows] == [
        ("growth", 4, 0),
        ("paths", 1, 0),
    ]
    assert [row["agree"] for row in rows] == [growth["agree"], paths["agree"]]
    assert list(plan[0]) == ["entry", "experiment", "id", "state", "setting"]


@pytest.mark.parametrize("asked", [("--timeout", "3"), ("--engine", "dask"), ("--address", "tcp://127.0.0.1:8786")])
def test_what_needs_workers_is_refused_where_there_are_none(
    resexp: Resexp, batch: Path, asked: tuple[str, ...]
) -> None:
    ended = resexp("run", "batch.yaml", "-j0", *asked)
    assert ended.code == 2
    assert f"{asked[0]}" in ended.err
    assert "-j 0 has none" in ended.err
    assert not list(batch.parent.glob("results/*/*"))


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


SEEDS = """\
experiments:
  growth:
    experiment: variance
    set: {depth: 2, width: 40, batch: 1, draws: 16}
    sweep: {scheme: [residual, plain]}
    seeds: 2
    plot: growth.svg
"""


def test_more_seeds_compute_what_is_new_and_pool_to_the_same(resexp: Resexp, tmp_path: Path) -> None:
    (tmp_path / "seeds.yaml").write_text(SEEDS)
    first = resexp("run", "seeds.yaml", "-j0")
    assert "4 done" in first.out
    assert " 32 " not in first.out  # draws are not a column; seeds are
    more = resexp("run", "seeds.yaml", "-j0", "--set", "seeds=6")
    assert "4 read back, 8 done" in more.out
    at_once = resexp("run", "seeds.yaml", "-j0", "--set", "seeds=6", "--out", "fresh")
    assert "12 done" in at_once.out

    def pooled(out: str) -> list[str]:
        return out.partition("\n\n")[2].splitlines()

    assert pooled(more.out) == pooled(at_once.out)
    assert pooled(more.out) != pooled(first.out)
    assert [line.split()[2] for line in pooled(more.out)[1:]] == ["6"] * (len(pooled(more.out)) - 1)
    figures = [(tmp_path / folder / "growth.svg").read_bytes() for folder in ("results", "fresh")]
    assert figures[0] == figures[1]


LEAVING = """\
experiments:
  sideways:
    experiment: overflow
    set: {scheme: rescaled, width: 64, depth: 300, draws: 2}
    seeds: 6
  early: {experiment: overflow, set: {depth: 16, draws: 16}, seeds: 6}
  paths: {experiment: paths, set: {blocks: 4}}
"""


def test_seeds_that_leave_the_range_at_different_ends_or_not_at_all_end_no_batch(
    resexp: Resexp, tmp_path: Path
) -> None:
    (tmp_path / "leaving.yaml").write_text(LEAVING)
    ended = resexp("run", "leaving.yaml", "-j0")
    assert ended.code == 0
    assert "early: square_overflow_block is not judged." in ended.err
    (early,) = [line for line in ended.out.splitlines() if "mean square overflow block" in line]
    assert early.endswith("not judged")
    assert [line.split()[:2] for line in ended.out.splitlines()[1:4]] == [
        ["sideways", "overflow"],
        ["early", "overflow"],
        ["paths", "paths"],
    ]


def test_seeds_that_cannot_be_pooled_are_a_note_and_lose_nothing(
    resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(results: object, figures: object) -> None:
        raise PoolingError("these cannot be pooled.")

    (tmp_path / "seeds.yaml").write_text(SEEDS + "  paths: {experiment: paths, set: {blocks: 4}}\n")
    monkeypatch.setattr(pooling, "pool", refuse)
    ended = resexp("run", "seeds.yaml", "-j0")
    assert ended.code == 0
    for scheme in ("residual", "plain"):
        assert f"growth (scheme {scheme}): these cannot be pooled." in ended.err
    assert "2 not pooled" in ended.out
    assert "3 agree" in ended.out
    assert len(list(tmp_path.glob("results/variance/*/run.json"))) == 4
    whole = resexp("run", "seeds.yaml", "-j0", "--check")
    assert whole.code == 0
    assert "among 3 judged quantities; not judged: growth (2 times)" in whole.err
    checked = SEEDS.replace("seeds: 2", "seeds: 2\n    check: true")
    (tmp_path / "seeds.yaml").write_text(checked + "  paths: {experiment: paths, set: {blocks: 4}, check: true}\n")
    of_entry = resexp("run", "seeds.yaml", "-j0")
    assert of_entry.code == 1
    assert "growth: Check not met" in of_entry.err
    assert "nothing was checked (not judged: growth (2 times))" in of_entry.err


def test_many_notes_on_pooling_are_cut_short(resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(results: object, figures: object) -> None:
        raise PoolingError("these cannot be pooled.")

    monkeypatch.setattr(pooling, "pool", refuse)
    (tmp_path / "seeds.yaml").write_text(
        SEEDS.replace("scheme: [residual, plain]", "alpha: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]")
    )
    ended = resexp("run", "seeds.yaml", "-j0")
    assert ended.err.count("these cannot be pooled.") == 5
    assert "growth: seeds of 2 more settings were not all pooled." in ended.err


@pytest.mark.parametrize("width", [60, 80, 140])
def test_pooled_figures_break_no_line(
    resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    (tmp_path / "seeds.yaml").write_text(SEEDS)
    pooled = resexp("run", "seeds.yaml", "-j0").out.partition("\n\n")[2]
    assert "activation growth per block" in pooled
    assert all(len(line) <= width for line in pooled.splitlines())
    assert len(pooled.splitlines()) < 30


def test_a_batch_over_workers_is_the_batch_in_one_process(resexp: Resexp, batch: Path) -> None:
    assert resexp("run", "batch.yaml", "-j0", "--out", "inline").code == 0
    assert resexp("run", "batch.yaml", "-j2", "--out", "workers").code == 0
    tables = [
        {str(p.relative_to(batch.parent / folder)): p.read_bytes() for p in (batch.parent / folder).rglob("*.csv")}
        for folder in ("inline", "workers")
    ]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 2


def test_a_cell_that_takes_too_long_fails_alone(resexp: Resexp, tmp_path: Path) -> None:
    slow = "  slow: {experiment: variance, set: {depth: 1000000, batch: 1, engine: law, draws: 8}}\n"
    (tmp_path / "slow.yaml").write_text(f"experiments:\n{slow}  quick: {{experiment: paths}}\n")
    ended = resexp("run", "slow.yaml", "-j1", "--timeout", "2")
    assert ended.code == 3
    assert "slow" in ended.err
    assert [line.split()[2] for line in ended.out.splitlines()[1:]] in (["failed", "done"], ["done", "failed"])
    assert "failed before (--retry-failed runs it again)" in resexp("run", "slow.yaml", "-j1").err
