"""Removing: all that is stale, damaged or left over, and nothing else, whoever else is at work."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from resexp.core.errors import ResexpError
from resexp.runs import lock as lock_module
from resexp.runs.cleaning import Reason, Removable, removable, remove
from resexp.runs.inventory import Claims
from resexp.runs.lock import Lock
from resexp.runs.store import Failure, Store

from .stored_cells import again_as, age, paths, planned, put, tree

HEX = "0" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def found(store: Store, claims: Claims | None = None) -> dict[str, Removable]:
    return {str(one.path.relative_to(store.root)): one for one in removable(store.root, claims)}


def test_all_of_it_and_nothing_else_is_removed(store: Store, tmp_path: Path) -> None:
    kept, dropped, older, damaged, damaged_now, with_notes, failed, running, other = paths(*range(1, 10))
    for cell in (kept, dropped, older, running):
        put(store, cell, "a")
    put(store, other, "another file's")
    again_as(store.folder(older), "0123456789abcdef", version=0)
    again_as(store.folder(older), "0123456789abcde1", version=0, entry=None)
    shutil.rmtree(store.folder(older))
    for cell in (damaged, damaged_now):
        (put(store, cell, "a") / "run.json").write_text("{")
    age(store.folder(damaged))
    (put(store, with_notes, "a") / "notes.txt").write_text("mine")
    store.save_failure(failed, Failure("ValueError", "no"))
    held = store.lock(running)
    assert held.take()
    at = store.root / "paths"
    (at / "fedcba9876543210").mkdir()
    age(at / "fedcba9876543210")
    for name in (f".{kept.id}.{HEX}", f".{kept.id}.{HEX}.old", f".{running.id}.{HEX}"):
        (at / name).mkdir()
        (at / name / "result.csv").write_text("a")
        age(at / name)
    (at / f".{failed.id}.{HEX}").mkdir()  # being written
    (at / f".{kept.id}.lock").write_text("torn")
    age(at / f".{kept.id}.lock")
    (at / failed.id / f".error.{HEX}").write_text("")
    age(at / failed.id / f".error.{HEX}")
    for name in ("paths/notes", "paths/0123456789ABCDEF", "ghost/0123456789abcde2", "figures"):
        (store.root / name).mkdir(parents=True)
        age(store.root / name)
    (at / "0123456789abcde3").touch()
    elsewhere = again_as(store.folder(kept), "0123456789abcde4", version=0)
    outside = tmp_path / "outside"
    outside.mkdir()
    elsewhere.rename(outside / elsewhere.name)
    (at / elsewhere.name).symlink_to(outside / elsewhere.name)
    (store.root / "parameters").symlink_to(outside)
    before, told = set(tree(tmp_path)), list[str]()

    claims = Claims(planned("a", [kept, running]))
    listed = list(removable(store.root, claims, told.append))
    gone = {
        f"paths/{dropped.id}": Reason.DROPPED,
        "paths/0123456789abcdef": Reason.OLDER,
        "paths/0123456789abcde1": Reason.OLDER,
        f"paths/{damaged.id}": Reason.DAMAGED,
        "paths/fedcba9876543210": Reason.LEFT_OVER,
        f"paths/.{kept.id}.{HEX}": Reason.LEFT_OVER,
        f"paths/.{kept.id}.{HEX}.old": Reason.LEFT_OVER,
        f"paths/.{kept.id}.lock": Reason.LEFT_OVER,
        f"paths/{failed.id}/.error.{HEX}": Reason.LEFT_OVER,
    }
    assert {str(one.path.relative_to(store.root)): one.reason for one in listed} == gone
    assert [one.size for one in listed if one.reason is Reason.LEFT_OVER] == [1, 1, 4, 0, 0]
    assert any("notes.txt" in sentence for sentence in told)
    assert any("parameters is a link" in sentence for sentence in told)
    assert set(tree(tmp_path)) == before
    for one in listed:
        remove(one)
    removed = {name for name in before if any(f"/{name}/".startswith(f"/results/{path}/") for path in gone)}
    assert set(tree(tmp_path)) == before - removed
    assert not found(store, claims)
    held.release()


def test_without_a_file_no_sweep_is_judged(store: Store) -> None:
    for cell in paths(1, 2):
        put(store, cell, "a")
    assert not found(store)
    assert not found(store, Claims(planned("b", paths(1))))
    assert len(found(store, Claims(planned("a", paths(1))))) == 1


def recomputed(store: Store) -> None:
    put(store, *paths(1), "a")


def taken(store: Store) -> None:
    assert store.lock(*paths(1)).take()


@pytest.mark.parametrize(("meanwhile", "sentence"), [(recomputed, "has changed"), (taken, "in use by process")])
def test_what_happened_since_the_listing_counts(
    store: Store, meanwhile: Callable[[Store], None], sentence: str
) -> None:
    put(store, *paths(1), "a")
    (one,) = found(store, Claims(planned("a", paths(2)))).values()
    meanwhile(store)
    with pytest.raises(ResexpError, match=sentence):
        remove(one)
    assert store.has(*paths(1))
    store.lock(*paths(1)).path.unlink(missing_ok=True)


def test_what_is_stored_while_the_lock_is_taken_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, *paths(1), "a")
    (one,) = found(store, Claims(planned("a", paths(2)))).values()
    take = Lock.take

    def late(lock: Lock) -> bool:
        recomputed(store)
        return take(lock)

    monkeypatch.setattr(Lock, "take", late)
    with pytest.raises(ResexpError, match="has changed"):
        remove(one)
    assert store.has(*paths(1))
    assert not store.lock(*paths(1)).path.exists()


def test_a_lock_from_elsewhere_is_dead_after_long_silence_only(store: Store) -> None:
    (cell,) = paths(1)
    put(store, cell, "a")
    lock = store.lock(cell)
    assert lock.take()
    lock_module._heart.forget(lock.path)
    lock.path.write_text(lock.path.read_text().replace('"machine": "', '"machine": "another'))
    claims = Claims(planned("a", paths(2)))
    assert lock.is_held()
    assert not found(store, claims)
    age(lock.path)
    assert not Lock(lock.path).is_held()
    assert set(found(store, claims)) == {f"paths/{cell.id}", f"paths/.{cell.id}.lock"}
    for one in found(store, claims).values():
        remove(one)
    assert list((store.root / "paths").iterdir()) == []


def test_a_cell_goes_in_one_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, *paths(1), "a")
    (one,) = found(store, Claims(planned("a", paths(2)))).values()

    def fails(path: Path) -> None:
        assert not one.path.exists()
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", fails)
        with pytest.raises(ResexpError, match="Input/output error"):
            remove(one)
    (left,) = (store.root / "paths").iterdir()
    age(left)
    (again,) = found(store).values()
    remove(again)
    assert list((store.root / "paths").iterdir()) == []
