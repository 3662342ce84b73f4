"""What can be removed from the store: stale and damaged results, and what runs that were cut off left behind.

Only what resexp wrote is ever found: folders `<experiment>/<16 hex digits>` of experiments that are installed, with
nothing else in them, and the temporary names that the store and the locks use. Links are not followed, and what
somebody computes or writes now is left alone.
"""

import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from resexp.core.errors import ResexpError
from resexp.runs import registry
from resexp.runs.inventory import Claims
from resexp.runs.lock import LONG_SILENT, Lock
from resexp.runs.stored import CELL, DamagedError, Stored, experiments_in, read_failed, read_stored

FILES = {"result.csv", "run.json", "error.json"}
"""What a cell's folder holds."""
_HEX = r"[0-9a-f]{32}"
_TEMPORARY_FOLDER = re.compile(rf"\.([0-9a-f]{{16}})\.{_HEX}(\.old)?")
_LOCK = re.compile(rf"\.([0-9a-f]{{16}})\.lock(\.{_HEX})?")
_TEMPORARY_FILE = re.compile(rf"\.error\.{_HEX}")

Tell = Callable[[str], None]


class Reason(StrEnum):
    """Why something can be removed."""

    OLDER = "older version"
    DROPPED = "dropped from the file"
    DAMAGED = "damaged"
    LEFT_OVER = "left over"


@dataclass(frozen=True)
class Removable:
    """Something that can be removed. cell: the place of the cell it belongs to; size: bytes; stamp: tells a change."""

    path: Path
    reason: Reason
    detail: str
    entry: str | None
    cell: Path
    size: int
    stamp: tuple[int, int]


def removable(root: Path, claims: Claims | None = None, tell: Tell = lambda _: None) -> Iterator[Removable]:
    """What can be removed below `root`, sorted. claims: the cells of a file; tell: takes what is kept, and why."""
    if root.is_dir():
        for link in sorted(path.name for path in root.iterdir() if path.is_symlink() and path.is_dir()):
            tell(f"{root / link} is a link, and what it leads to is left alone.")
    for folder in experiments_in(root, links=False):
        if folder.name not in registry.experiments():
            continue
        with os.scandir(folder) as entries:
            folders = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        held = {name for name in folders if _LOCK.fullmatch(name) and Lock(folder / name).is_held()}
        for name in sorted(folders):
            identifier = _cell_of(name, is_folder=folders[name])
            if identifier is None or f".{identifier}.lock" in held:
                continue
            if CELL.fullmatch(name):
                yield from _in_cell(folder / name, claims, tell)
            elif f".{identifier}.lock" in folders or _is_old(folder / name):
                yield from _if_ours(folder / name, Reason.LEFT_OVER, "left by a run that was cut off", None, tell)


def _cell_of(name: str, *, is_folder: bool) -> str | None:
    """The cell that a name in an experiment's folder belongs to; None where the name is not one of ours."""
    if is_folder:
        match = _TEMPORARY_FOLDER.fullmatch(name)
        return name if CELL.fullmatch(name) else match[1] if match else None
    match = _LOCK.fullmatch(name)
    return match[1] if match else None


def _in_cell(folder: Path, claims: Claims | None, tell: Tell) -> Iterator[Removable]:
    """The cell, or temporary files in it."""
    names = os.listdir(folder)  # noqa: PTH208
    why = _why(folder, names, claims)
    if why is not None:
        yield from _if_ours(folder, *why, tell)
        return
    for name in filter(_TEMPORARY_FILE.fullmatch, names):
        if _is_old(folder / name):
            yield from _if_ours(folder / name, Reason.LEFT_OVER, "left by a run that was cut off", None, tell)


def _why(folder: Path, names: Collection[str], claims: Claims | None) -> tuple[Reason, str, str | None] | None:
    """Reason, sentence and entry where the cell can be removed."""
    try:
        stored = read_stored(folder)
        if stored is None and "result.csv" in names:
            raise DamagedError(folder, "run.json is missing")
    except DamagedError as error:  # or still being copied from elsewhere
        return (Reason.DAMAGED, f"damaged: {error.reason}", None) if _is_old(folder) else None
    except ResexpError:
        return None
    stored = stored or read_failed(folder)
    if stored is None:
        return (Reason.LEFT_OVER, "empty folder", None) if _is_old(folder) and not set(names) & FILES else None
    return _stale(stored, claims)


def _stale(stored: Stored, claims: Claims | None) -> tuple[Reason, str, str | None] | None:
    if stored.outdated is not None:
        return Reason.OLDER, stored.outdated, stored.entry
    if claims is not None and claims.disown(stored):
        return Reason.DROPPED, f"no cell of {stored.entry} any more", stored.entry
    return None


def _is_old(path: Path) -> bool:
    """Whether nobody has touched it for so long that nobody is writing it."""
    try:
        return time.time() - path.lstat().st_mtime > LONG_SILENT
    except OSError:
        return False


def _if_ours(path: Path, reason: Reason, detail: str, entry: str | None, tell: Tell) -> Iterator[Removable]:
    """The Removable, unless it is gone, or a folder that holds what resexp did not write."""
    cell = path.parent if path.name.startswith(".error.") else path
    identifier = cell.name.lstrip(".")[:16]
    try:
        size, foreign = _contents(path)
        stamp = _stamp(path)
    except OSError:
        return
    if foreign:
        tell(f"{path} is kept ({detail}): it holds {', '.join(foreign)}, which resexp did not write.")
        return
    yield Removable(path, reason, detail, entry, cell.with_name(identifier), size, stamp)


def _contents(path: Path) -> tuple[int, list[str]]:
    """Bytes, and the names of what resexp did not write."""
    if not path.is_dir():
        return path.lstat().st_size, []
    size, foreign = 0, []
    with os.scandir(path) as entries:
        for entry in entries:
            size += entry.stat(follow_symlinks=False).st_size
            if not entry.is_file(follow_symlinks=False) or (
                entry.name not in FILES and not _TEMPORARY_FILE.fullmatch(entry.name)
            ):
                foreign.append(entry.name)
    return size, sorted(foreign)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_ino, status.st_mtime_ns


def remove(one: Removable) -> None:
    """Remove it, holding the cell's lock. Raises ResexpError where it has changed, is in use, or cannot be removed."""
    lock_path = one.cell.with_name(f".{one.cell.name}.lock")
    try:
        if one.path == lock_path:
            _check_unchanged(one)
        lock = _taken(lock_path)
        try:
            if one.path != lock_path:  # which is ours now, and goes when it is given back
                _check_unchanged(one)
                _remove(one.path)
        finally:
            lock.release()
    except FileNotFoundError:
        return  # somebody was faster
    except OSError as error:
        raise ResexpError(f"{one.path} could not be removed: {error.strerror or error}.") from None


def _check_unchanged(one: Removable) -> None:
    if _stamp(one.path) != one.stamp:
        raise ResexpError(f"{one.path} has changed in the meantime, and is kept.")


def _taken(path: Path) -> Lock:
    """The lock, taken. Raises ResexpError where somebody holds it."""
    lock = Lock(path)
    if not lock.take():
        if lock.is_held():
            raise ResexpError(f"{path.parent / path.name[1:17]} is in use by {lock.holder() or 'another run'}: kept.")
        path.unlink(missing_ok=True)  # of an owner elsewhere that has been silent for long
        if not lock.take():
            raise ResexpError(f"{path.parent / path.name[1:17]} is in use: kept.")
    return lock


def _remove(path: Path) -> None:
    """Remove a file or folder; a cell goes in one step, so that nobody ever sees half of one."""
    if not path.is_dir():
        path.unlink()
        return
    aside = path
    if CELL.fullmatch(path.name):
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
        path.rename(aside)
    shutil.rmtree(aside)
