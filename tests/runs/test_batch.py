"""The runner: what it submits, what it keeps, and what it says of each cell."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from resexp.core.errors import ResexpError
from resexp.experiments.paths import Paths
from resexp.runs import batch
from resexp.runs.batch import Done, Planned, Rules, Runner
from resexp.runs.cell import Cell
from resexp.runs.cleaning import removable
from resexp.runs.entry import Entry
from resexp.runs.inventory import Claims
from resexp.runs.settings import Settings
from resexp.runs.store import Store
from resexp.runs.stored import read_failed
from resexp.runs.worker import work

ENTRY = Entry("a", "paths", {}, {})


class Later(Executor):
    """Holds tasks until the runner asks for one; runs the oldest then. fails: blocks of cells that raise."""

    def __init__(self, fails: tuple[int, ...] = (), dies: tuple[int, ...] = ()) -> None:
        self.fails, self.dies = fails, dies
        self.waiting: list[tuple[Future[Any], dict[str, Any]]] = []
        self.most = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, args[0]))
        self.most = max(self.most, len(self.waiting))
        return future

    def wait(self, running: Any, **_: Any) -> tuple[set[Future[Any]], set[Future[Any]]]:
        future, task = self.waiting.pop(0)
        while future.cancelled():
            future, task = self.waiting.pop(0)
        blocks = task["parameters"]["blocks"]
        if blocks in self.dies:
            future.set_exception(ResexpError("the worker was killed"))
        elif blocks in self.fails:
            future.set_result({"failure": {"type": "TypeError", "message": "a bug", "traceback": "Traceback"}})
        else:
            future.set_result(work(task))
        return {future}, set(running) - {future}


def planned(*blocks: int) -> Iterator[Planned]:
    return ((ENTRY, Cell(Paths(blocks=b), Settings())) for b in blocks)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Done]]:
    def run(cells: Iterator[Planned], later: Later | None = None, **rules: bool) -> list[Done]:
        later = later or Later()
        monkeypatch.setattr(batch, "wait", later.wait)
        return list(Runner(later, lambda: 2, Store(tmp_path), Rules(**rules)).run(cells))

    return run


def states(done: list[Done]) -> list[str]:
    return [one.state for one in sorted(done, key=lambda d: d.place)]


def test_what_is_stored_is_read_back_and_what_failed_is_told_again(run: Callable[..., list[Done]]) -> None:
    assert states(run(planned(2, 3, 4), Later(fails=(3,), dies=(4,)))) == ["done", "failed", "failed"]
    again = run(planned(2, 3, 4, 5))
    assert states(again) == ["read back", "failed before", "failed before", "done"]
    assert [str(d.failure) for d in again if d.failure] == ["TypeError: a bug", "the worker was killed"]
    assert states(run(planned(2, 3, 4), retry_failed=True)) == ["read back", "done", "done"]
    assert states(run(planned(2, 3, 4))) == ["read back"] * 3
    assert states(run(planned(2, 3), force=True)) == ["done", "done"]


def test_a_failure_is_kept_with_the_entry_it_was_run_for(run: Callable[..., list[Done]], tmp_path: Path) -> None:
    run(planned(2, 3), Later(fails=(3,)))
    (folder,) = (path.parent for path in tmp_path.glob("paths/*/error.json"))
    failed = read_failed(folder)
    assert failed is not None
    assert (failed.entry, failed.described) == ("a", Paths(blocks=3).model_dump(mode="json"))
    remaining = Claims(planned(2))
    assert [one.entry for one in removable(tmp_path, remaining)] == ["a"]


def test_cells_are_expanded_as_they_are_needed(run: Callable[..., list[Done]], tmp_path: Path) -> None:
    taken = []

    def cells() -> Iterator[Planned]:
        for number, one in enumerate(planned(*range(2, 62))):
            taken.append(number - len(list(tmp_path.glob("paths/*/run.json"))))
            yield one

    later = Later()
    assert Counter(states(run(cells(), later))) == {"done": 60}
    assert later.most == 4
    assert max(taken) <= 4


def test_fail_fast_leaves_the_rest(run: Callable[..., list[Done]], tmp_path: Path) -> None:
    found = states(run(planned(*range(2, 20)), Later(fails=(3,)), fail_fast=True))
    assert found[:2] == ["done", "failed"]
    assert set(found[2:]) == {"skipped"}
    assert not list(tmp_path.glob("paths/.*"))


def test_two_runners_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second starts when the first has begun two cells; none is computed twice."""
    first, second = Later(), Later()
    monkeypatch.setattr(batch, "wait", first.wait)
    monkeypatch.setattr(batch, "LOOK_AGAIN", 0.0)
    one = Runner(first, lambda: 1, Store(tmp_path), Rules()).run(planned(2, 3, 4, 5, 6))
    done = [next(one)]
    assert first.most == 2
    other = Runner(second, lambda: 1, Store(tmp_path), Rules(), tell=pytest.fail)
    monkeypatch.setattr(batch, "wait", second.wait)
    other_done = []
    for ended in other.run(planned(2, 3, 4, 5, 6)):
        other_done.append(ended)
        monkeypatch.setattr(batch, "wait", first.wait)
        done += list(one)
        monkeypatch.setattr(batch, "wait", second.wait)
    assert Counter(states(done) + states(other_done)) == {"done": 5, "read back": 5}
    computed = [d.place for d in (*done, *other_done) if d.state == "done"]
    assert sorted(computed) == [0, 1, 2, 3, 4]
    assert not list(tmp_path.glob("paths/.*"))


def test_a_result_that_cannot_be_saved_is_not_lost(
    run: Callable[..., list[Done]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ResexpError("The result could not be saved: No space left on device.")

    monkeypatch.setattr(Store, "save", fails)
    (done,) = run(planned(2))
    assert (done.state, str(done.failure)) == ("failed", "The result could not be saved: No space left on device.")
    assert done.outcome is not None
    assert done.outcome.result.rows


def test_an_interrupt_gives_the_locks_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = Later()
    monkeypatch.setattr(batch, "wait", later.wait)
    run = Runner(later, lambda: 3, Store(tmp_path), Rules()).run(planned(*range(2, 20)))
    next(run)
    assert list(tmp_path.glob("paths/.*.lock"))
    with pytest.raises(KeyboardInterrupt):
        run.throw(KeyboardInterrupt())
    assert not list(tmp_path.glob("paths/.*.lock"))
    assert later.waiting[-1][0].cancelled()


def test_without_a_store_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = Later()
    monkeypatch.setattr(batch, "wait", later.wait)
    monkeypatch.chdir(tmp_path)
    assert states(list(Runner(later, lambda: 1, None, Rules()).run(planned(2, 3)))) == ["done", "done"]
    assert not list(tmp_path.iterdir())
