"""What is in the store: each cell in one state, and stale only what no file and no other device could want."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resexp.core.errors import MissingError, ResexpError
from resexp.core.result import FamilyResult, Result
from resexp.experiments.paths import Paths
from resexp.experiments.variance import Variance
from resexp.runs import cell as cell_module
from resexp.runs.cell import Cell
from resexp.runs.inventory import FEW, State, take_stock
from resexp.runs.settings import Settings
from resexp.runs.store import Failure, Store
from resexp.runs.stored import DamagedError, read_stored

from .stored_cells import again_as, changed, paths, planned, put, tree


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_each_cell_is_in_one_state_and_looking_changes_nothing(store: Store) -> None:
    cells = done, failed, running, left, damaged, retried, _ = paths(1, 2, 3, 4, 5, 6, 7)
    long = Result(("length",), [], families=[FamilyResult("x", "agree", 1.0, "word " * 10_000)])
    put(store, done, result=long)
    store.save_failure(failed, Failure("ValueError", "no\nsuch thing", "traceback"))
    locks = [store.lock(running), store.lock(left)]
    assert all(lock.take() for lock in locks)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    owner = json.loads(locks[1].path.read_text())
    locks[1].path.write_text(json.dumps(owner | {"process": ended.pid}))
    (put(store, damaged) / "run.json").write_text('{"format": 1')
    store.save_failure(retried, Failure("ValueError", "earlier"))
    put(store, retried)
    before = tree(store.root)
    (stock,) = take_stock(planned("a", cells), store).entries.values()
    expected = {State.DONE: 2, State.FAILED: 1, State.RUNNING: 1, State.DAMAGED: 1, State.MISSING: 2}
    assert (stock.states, stock.cells, stock.stale) == (expected, 7, 0)
    ((folder, settings, failure),) = [(f.folder, f.settings, f.failure) for f in stock.told_apart()]
    assert (folder, settings, str(failure)) == (store.folder(failed), {"blocks": 2}, "ValueError: such thing")
    assert tree(store.root) == before
    for lock in locks:
        lock.release()


def test_only_the_first_failures_are_kept_and_all_are_counted(store: Store) -> None:
    cells = paths(*range(1, FEW + 11))
    for cell in cells:
        store.save_failure(cell, Failure("ValueError", "no"))
    (stock,) = take_stock(planned("a", cells), store).entries.values()
    assert (stock.failed, len(stock.failures)) == (FEW + 10, FEW)


def test_nothing_is_there_before_the_first_run(store: Store) -> None:
    (stock,) = take_stock(planned("a", paths(1, 2)), store).entries.values()
    assert stock.states == {State.MISSING: 2}
    assert not store.root.exists()


def test_stale_is_what_its_entry_has_no_cell_for_any_more(store: Store) -> None:
    kept, dropped, moved, flagged, failed, nobodys, others, dropped_too = paths(1, 2, 3, 4, 5, 6, 7, 8)
    put(store, kept, "a")
    put(store, dropped, "a")
    put(store, moved, "a")
    put(store, flagged, "a", sources={"blocks": "flag"})
    store.save_failure(failed, Failure("ValueError", "no"))
    store.save_failure(dropped_too, Failure("ValueError", "no"), "a")
    put(store, nobodys)
    put(store, others, "another file's")
    asked = []

    def rest() -> list[object]:
        asked.append(1)
        return planned("b", [moved])

    stock = take_stock(planned("a", [kept]), store, others=rest).entries["a"]
    assert (stock.states, stock.stale, asked) == ({State.DONE: 1}, 2, [1])
    take_stock(planned("a", [kept, dropped, moved, dropped_too]), store, others=rest)
    assert len(asked) == 1  # other entries are not expanded where nothing hangs on them


def test_an_older_version_is_stale_for_the_entry_that_has_such_a_cell(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded, same, nobodys = paths(1, 2, 3)
    put(store, recorded, "a")
    put(store, same)
    put(store, nobodys)
    monkeypatch.setattr(Paths, "version", Paths.version + 1)
    new = paths(2)
    put(store, new[0], "a")
    stock = take_stock(planned("a", new), store)
    assert (stock.entries["a"].done, stock.entries["a"].stale, stock.unowned) == (1, 2, 1)
    put(store, *paths(4), "a")
    monkeypatch.setattr(Paths, "version", Paths.version - 1)  # what a later version made is left to it
    stock = take_stock(planned("a", paths(1)), store)
    assert (stock.entries["a"].stale, stock.unowned) == (0, 0)


def test_a_result_from_another_kind_of_device_is_not_stale(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(Variance(), Settings(device="cpu"))
    again_as(put(store, cell, "a"), "0123456789abcdef", device="cuda")
    put(store, changed(cell, seed=1), "a")
    stock = take_stock(planned("a", [cell]), store).entries["a"]
    assert (stock.done, stock.elsewhere, stock.stale) == (1, 1, 1)

    def absent(_: str) -> str:
        raise MissingError("no such device here")

    monkeypatch.setattr(cell_module, "resolve_device", absent)
    on_gpu = [Cell(Variance(), Settings(device="cuda"))]
    assert take_stock(planned("a", on_gpu), store).entries["a"].states == {State.MISSING: 1}
    put(store, on_gpu[0], "a")  # read where there is no such device
    assert take_stock(planned("a", on_gpu), store).entries["a"].done == 1
    stock = take_stock(planned("a", [Cell(Variance(), Settings())]), store).entries["a"]
    assert (stock.states, list(stock.notes)) == ({State.MISSING: 1}, ["no such device here"])


def test_results_of_experiments_that_are_not_installed_are_counted(store: Store) -> None:
    for name in ("ghost/0123456789abcdef", "ghost/notes", "figures/a", ".trash/0123456789abcdef"):
        (store.root / name).mkdir(parents=True)
    assert take_stock(planned("a", paths(1)), store).unknown == {"ghost": 1}


def replace(folder: Path, old: str, new: str) -> None:
    text = (folder / "run.json").read_text()
    assert old in text
    (folder / "run.json").write_text(text.replace(old, new))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no table": lambda folder: (folder / "result.csv").unlink(),
    "cut": lambda folder: (folder / "run.json").write_bytes((folder / "run.json").read_bytes()[:-9]),
    "empty": lambda folder: (folder / "run.json").write_text(""),
    "binary": lambda folder: (folder / "run.json").write_bytes(b"\xff\x00\xfe"),
    "nested without end": lambda folder: (folder / "run.json").write_text("[" * 100_000),
    "another kind": lambda folder: (folder / "run.json").write_text("[1]"),
    "without its parts": lambda folder: (folder / "run.json").write_text('{"format": 1, "run": {}}'),
    "an earlier format": lambda folder: replace(folder, '"format": 1', '"format": 0'),
    "a format that is no number": lambda folder: replace(folder, '"format": 1', '"format": "1"'),
    "another cell's": lambda folder: replace(folder, '"id": "', '"id": "0'),
    "parameters of another kind": lambda folder: replace(folder, '"version": 1', '"version": "1"'),
    "a folder": lambda folder: ((folder / "run.json").unlink(), (folder / "run.json").mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_and_never_a_crash(store: Store, damage: Callable[[Path], object]) -> None:
    (cell,) = paths(1)
    folder = put(store, cell)
    assert read_stored(folder) is not None
    damage(folder)
    with pytest.raises(DamagedError, match=cell.id):
        read_stored(folder)
    assert take_stock(planned("a", [cell]), store).entries["a"].states == {State.DAMAGED: 1}
    assert take_stock(planned("a", paths(2)), store).entries["a"].stale == 0


def test_what_a_later_format_holds_is_not_called_damaged(store: Store) -> None:
    (cell,) = paths(1)
    folder = put(store, cell)
    replace(folder, '"format": 1', '"format": 2')
    with pytest.raises(ResexpError, match="later version") as caught:
        read_stored(folder)
    assert not isinstance(caught.value, DamagedError)


def test_both_ends_say_the_same_as_the_whole(store: Store) -> None:
    (cell,) = paths(1)
    folder = put(store, cell, "a")
    from_ends = read_stored(folder)
    document = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(document))
    assert read_stored(folder) == from_ends
    shutil.rmtree(folder)
    assert read_stored(folder) is None
