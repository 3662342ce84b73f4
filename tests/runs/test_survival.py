"""Batches survive: a small part of `make torture`, and what that has found.

Processes are killed, disks fill up, files are torn, schedulers die, cells do what they should not. In the end every
cell is there once, with the bytes of an undisturbed run.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resexp.core.errors import ResexpError
from resexp.core.result import FamilyResult, Result
from resexp.core.tabular import from_csv, to_csv
from resexp.experiments.paths import Paths
from resexp.runs import batch
from resexp.runs.batch import Done, Planned, Rules, Runner
from resexp.runs.cell import Cell, Outcome, run_cell
from resexp.runs.engines import EngineLostError, WorkerDiedError
from resexp.runs.entry import Axis, Entry
from resexp.runs.inline import InlineExecutor
from resexp.runs.lock import Lock
from resexp.runs.settings import Settings
from resexp.runs.store import Store, UnstorableError
from resexp_cli.batch_summary import Summary

ENTRY = Entry("a", "paths", {}, {})
KILLS = 5
SMALL = """\
experiments:
  counted: {experiment: counted, set: {seconds: 0.005}, sweep: {number: 1:40:1}}
  paths: {experiment: paths, sweep: {blocks: 1:20:1}}
"""


@pytest.fixture(scope="module")
def torture() -> Iterator[SimpleNamespace]:
    """What the steps of `make torture` are made of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        parts = [import_module(f"torturing.{name}") for name in ("kills", "drivers", "cells", "disks", "stored")]
        yield SimpleNamespace(**{name: value for part in parts for name, value in vars(part).items()})


class Gives(Executor):
    """Answers every task at once with a result, or with an error."""

    def __init__(self, given: Any) -> None:
        self._given = given

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if isinstance(self._given, Exception):
            future.set_exception(self._given)
        else:
            future.set_result(self._given)
        return future


def planned(*blocks: int) -> Iterator[Planned]:
    return ((ENTRY, Cell(Paths(blocks=b), Settings())) for b in blocks)


def run(store: Store, *blocks: int, executor: Executor | None = None, **rules: bool) -> list[Done]:
    executor = executor or InlineExecutor(lambda *_: None)
    return list(Runner(executor, lambda: 1, store, Rules(**rules)).run(planned(*blocks)))


def tables(root: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in root.glob("paths/*/result.csv")}


# --- processes -------------------------------------------------------------------------------------------------------

finds_processes = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="/proc tells who lives on")


@finds_processes
def test_drivers_and_workers_are_killed_at_random_moments(torture: SimpleNamespace, tmp_path: Path) -> None:
    done = torture.kills(tmp_path, random.Random(11), KILLS, SMALL, 60)
    assert done.all == KILLS
    assert done.drivers
    assert done.workers


@finds_processes
def test_two_drivers_at_once_compute_no_cell_twice(torture: SimpleNamespace, tmp_path: Path) -> None:
    done = torture.two_drivers(tmp_path, cells=100)
    assert min(done.values()) > 0


@finds_processes
def test_each_mood_of_an_experiment_fails_its_own_cell(torture: SimpleNamespace, tmp_path: Path) -> None:
    torture.moods(tmp_path, timeout=3)


# --- disks -----------------------------------------------------------------------------------------------------------


def test_a_full_disk_keeps_what_it_has_and_computes_nothing_in_vain(torture: SimpleNamespace, tmp_path: Path) -> None:
    blocks = range(1, 101)
    run(Store(tmp_path / "reference"), *blocks)
    with torture.mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=300k", "tmpfs") as possible:
        if not possible:
            pytest.skip("nothing may be mounted here")
        store = Store(tmp_path / "small" / "results")
        done = run(store, *blocks)
        states = Counter(one.state for one in done)
        assert len(tables(store.root)) == states["done"] > 10
        assert states["done"] + states["failed"] == len(blocks)
        assert all("No space left on device" in str(one.failure) for one in done if one.failure)
        assert sum(one.outcome is not None for one in done) <= states["done"] + 2
        assert not list(store.root.glob("*/.*"))
        subprocess.run(["mount", "-o", "remount,size=30m", str(tmp_path / "small")], check=True)
        again = Counter(one.state for one in run(store, *blocks))
        assert again == {"read back": states["done"], "done": states["failed"]}
        assert tables(store.root) == tables(tmp_path / "reference")


@pytest.mark.parametrize("file", ["", "paths"])
def test_where_no_folder_can_be_made_cells_fail_and_nothing_is_computed(tmp_path: Path, file: str) -> None:
    store = Store(tmp_path / "results")
    (store.root / file).parent.mkdir(exist_ok=True)
    (store.root / file).touch()
    done = run(store, 2, 3, executor=Gives(AssertionError("it was computed")))
    assert [one.state for one in done] == ["failed", "failed"]
    assert str(store.root / "paths") in str(done[0].failure)


def test_a_lock_on_a_disk_that_cannot_be_written_is_told_and_not_waited_for(
    torture: SimpleNamespace, tmp_path: Path
) -> None:
    with torture.mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as possible:
        if not possible:
            pytest.skip("nothing may be mounted here")
        held, left = Lock(tmp_path / "disk" / "held"), Lock(tmp_path / "disk" / "left")
        assert held.take()
        torture.dead(tmp_path / "disk" / "left")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        held.release()
        with pytest.raises(ResexpError, match="Read-only"):
            Lock(torture.lock(left.path)).take()
        with pytest.raises(ResexpError, match="Read-only"):
            Lock(tmp_path / "disk" / "new").take()


# --- what is stored --------------------------------------------------------------------------------------------------


def test_torn_and_copied_files_are_computed_again_and_no_others(
    torture: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resexp.runs import lock

    monkeypatch.setattr(lock, "SILENT", 0.3)
    blocks = range(1, 2 * len(torture.TEARS) + 1)
    run(Store(tmp_path / "reference"), *blocks)
    store = Store(tmp_path / "copied")
    shutil.copytree(tmp_path / "reference", store.root, copy_function=shutil.copyfile)
    for path in store.root.rglob("*"):
        os.utime(path, (4e9, 4e9))
    assert {one.state for one in run(store, *blocks)} == {"read back"}
    torn = dict(zip(torture.TEARS, sorted(store.root.glob("paths/*"))[::2], strict=True))
    for name, tear in torture.TEARS.items():
        tear(torn[name])
    states = {one.cell.id: one.state for one in run(store, *blocks)}
    assert {name: states[cell.name] for name, cell in torn.items()} == dict.fromkeys(torn, "done")
    assert Counter(states.values()) == {"done": len(torn), "read back": len(blocks) - len(torn)}
    assert tables(store.root) == tables(tmp_path / "reference")


def test_runs_that_store_the_same_cell_at_the_same_moment_take_turns(tmp_path: Path) -> None:
    """Such as one that was asleep, and the one that took its lock over."""
    save = (
        "import sys, pathlib; from resexp.runs.cell import Cell, run_cell; from resexp.runs.settings import Settings\n"
        "from resexp.runs.store import Store; from resexp.experiments.paths import Paths\n"
        "outcome = run_cell(Cell(Paths(blocks=3), Settings()))\n"
        "for _ in range(300): Store(pathlib.Path(sys.argv[1])).save(outcome)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", save, str(tmp_path)]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(list(tmp_path.glob("paths/*"))) == 1
    assert {one.state for one in run(Store(tmp_path), 3)} == {"read back"}


def test_a_result_stored_between_the_look_and_the_lock_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def cells() -> Iterator[Planned]:
        ((entry, cell),) = planned(3)

        class Late(Store):
            def lock(self, cell: Cell) -> Lock:
                store.save(run_cell(cell))
                return super().lock(cell)

        runner._store = Late(tmp_path)
        yield entry, cell

    runner = Runner(Gives(AssertionError("it was computed")), lambda: 1, store, Rules())
    assert [one.state for one in runner.run(cells())] == ["read back"]
    assert len(list(tmp_path.glob("paths/*"))) == 1
    assert not list(tmp_path.glob("paths/.*"))


# --- cells -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "result",
    [
        {"rows": [{"length": float("nan")}]},
        {"rows": [{"length": float("inf")}]},
        {"headline": [{"mean": float("nan")}]},
        {"headline": [{"mean": object()}]},
        {"rows": None},
        {"notes": ["\ud800"], "rows": [{"length": "\ud800"}]},
    ],
)
def test_what_cannot_be_stored_is_a_failure_of_the_cell_and_kept_as_one(tmp_path: Path, result: dict[str, Any]) -> None:
    ((_, cell),) = planned(3)
    data = {"columns": ["length"], "rows": [], "headline": [], "families": [], "notes": []} | result
    given = Gives({"result": data, "run": dict(run_cell(cell).run)})
    (done,) = run(Store(tmp_path), 3, executor=given)
    assert (done.state, done.failure is not None and done.failure.type) == ("failed", UnstorableError.__name__)
    assert [one.state for one in run(Store(tmp_path), 3)] == ["failed before"]
    assert [one.state for one in run(Store(tmp_path), 3, retry_failed=True)] == ["done"]
    assert len(list(tmp_path.rglob("*"))) == 4  # two folders, the table and run.json


def test_an_experiment_that_gives_no_result_fails_its_cell_in_any_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Paths, "compute", lambda *_: None)
    assert [one.state for one in run(Store(tmp_path), 3, 4)] == ["failed", "failed"]


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    import numpy as np

    assert from_csv(to_csv(("x",), [{"x": np.float64(0.1)}]))[1] == [{"x": 0.1}]


def test_what_a_dead_worker_printed_is_kept(tmp_path: Path) -> None:
    (done,) = run(Store(tmp_path), 3, executor=Gives(WorkerDiedError("killed", "last words")))
    assert done.failure is not None
    assert done.failure.output == "last words"
    (file,) = tmp_path.glob("paths/*/error.json")
    assert json.loads(file.read_text())["output"] == "last words"


def test_a_lost_engine_ends_the_run_and_fails_no_cell(tmp_path: Path) -> None:
    with pytest.raises(EngineLostError):
        run(Store(tmp_path), 2, 3, 4, executor=Gives(EngineLostError("the scheduler died")))
    assert not list(tmp_path.glob("paths/*"))
    assert {one.state for one in run(Store(tmp_path), 2, 3, 4)} == {"done"}


def test_the_command_is_noted_and_not_that_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ((_, cell),) = planned(3)
    outcome = run_cell(cell)
    monkeypatch.setattr(sys, "argv", ["resexp", "run", "batch.yaml"])
    data = {"result": vars(outcome.result) | {"families": []}, "run": {**outcome.run, "argv": ["-c"]}}
    run(Store(tmp_path), 3, executor=Gives(data))
    (file,) = tmp_path.glob("paths/*/run.json")
    assert json.loads(file.read_text())["run"]["argv"] == ["resexp", "run", "batch.yaml"]


# --- many cells ------------------------------------------------------------------------------------------------------


def test_cells_that_another_run_holds_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other run is a few cells ahead all the way, and gives back what it has finished."""
    store, count = Store(tmp_path), 300
    monkeypatch.setattr(batch, "LOOK_AGAIN", 0.0)
    outcome = run_cell(next(planned(1))[1])
    most = 0

    def cells() -> Iterator[Planned]:
        nonlocal most
        held: list[tuple[Cell, Lock]] = []
        for entry, cell in planned(*range(1, count + 1)):
            lock = store.lock(cell)
            assert lock.take()
            held.append((cell, lock))
            yield entry, cell
            most = max(most, len(runner._elsewhere))
            if len(held) == 4:
                finished, lock = held.pop(0)
                store.save(Outcome(finished, outcome.result, {**outcome.run, "id": finished.id}))
                lock.release()
        for _, lock in held:
            lock.release()

    runner = Runner(InlineExecutor(lambda *_: None), lambda: 1, store, Rules())
    states = Counter(one.state for one in runner.run(cells()))
    assert states.total() == count
    assert states["read back"] > 0.9 * count
    assert most < 20


def test_workers_that_join_are_given_cells_while_those_of_others_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "COUNT_AGAIN", 0.01)
    workers, submitted = iter([1] * 20 + [3] * 1000), list[Future[Any]]()

    class Busy(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            submitted.append(Future())
            if len(submitted) == 6:
                for future in submitted:
                    future.set_exception(WorkerDiedError("enough"))
            return submitted[-1]

    done = Runner(Busy(), lambda: next(workers), Store(tmp_path), Rules()).run(planned(*range(1, 7)))
    assert [one.state for one in done] == ["failed"] * 6


def test_a_summary_of_many_cells_takes_no_more_memory_than_of_few() -> None:
    """All agree, or some of the seeds of each setting have failed: a million cells must not fill the memory."""
    ((_, cell),) = planned(3)
    moments = {"networks": list(range(100))}
    families = [FamilyResult("x", "agree", 1.0, "a sentence", moments), FamilyResult("y", "disagree", 0.006, "another")]
    result = Result(("x",), [{"x": float(n)} for n in range(20)], families=families)

    def done(number: int, *, seeds: int) -> Done:
        setting = replace(
            cell,
            experiment=cell.experiment.model_copy(update={"blocks": number // seeds}),
            settings=cell.settings.model_copy(update={"seed": number % seeds}),
        )
        entry = entries[seeds]
        if seeds > 1 and number % seeds == 0:
            return Done(entry, setting, "skipped", place=number)
        return Done(entry, setting, "done", outcome=Outcome(setting, replace(result), {}), place=number)

    count = 2000
    entries = {
        seeds: replace(ENTRY, name=f"{seeds} seeds", seeds=range(seeds), axes=(Axis(("blocks",), ((1,),) * count),))
        for seeds in (1, 4)
    }
    summary = Summary(list(entries.values()), Path("nowhere"), everything_checked=False)
    held = []
    tracemalloc.start()
    try:
        for number in range(count):
            for seeds in entries:
                summary.add(done(number, seeds=seeds))
            if number % (count // 2) == count // 2 - 1:
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert summary.judged.families == 2 * count
    assert held[1] - held[0] < 100 * count // 2
