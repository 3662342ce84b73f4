"""What the store holds of a batch: cells that are done, failed, running, damaged or missing, and stale results.

Nothing is run and nothing written.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from resexp.core.errors import MissingError, ResexpError
from resexp.runs import registry
from resexp.runs.batch import Planned
from resexp.runs.cell import Cell
from resexp.runs.lock import Lock
from resexp.runs.resolve import describe
from resexp.runs.store import Failure, Store
from resexp.runs.stored import CELL, Stored, experiments_in, key_of, read_failed, read_stored

FEW = 20
"""Failures of an entry that are told one by one."""


class State(StrEnum):
    """What is known of a cell."""

    DONE = "done"
    FAILED = "failed"
    RUNNING = "running"
    DAMAGED = "damaged"
    MISSING = "missing"


class Claims:
    """The entries of a file and what their cells are, whatever the version of the experiment and the device."""

    def __init__(self, planned: Iterable[Planned] = ()) -> None:
        self._entries: set[tuple[str, str]] = set()
        self._owners: dict[int, str] = {}
        self.add(planned)

    def add(self, planned: Iterable[Planned]) -> None:
        """Add cells."""
        for entry, cell in planned:
            self.add_cell(entry.name, cell, describe(cell))

    def add_cell(self, entry: str, cell: Cell, described: Mapping[str, Any]) -> None:
        """Add one cell of an entry. described: what `describe` says of it."""
        self._entries.add((entry, cell.name))
        self._owners.setdefault(key_of(cell.name, described), entry)

    def owner(self, key: int) -> str | None:
        """The entry that has a cell of that key."""
        return self._owners.get(key)

    def know(self, stored: Stored) -> bool:
        """Whether it was computed for one of these entries."""
        return (stored.entry, stored.experiment) in self._entries

    def disown(self, stored: Stored) -> bool:
        """Whether it was computed for one of these entries as the file had it, and is the cell of none any more."""
        return self.know(stored) and not stored.is_beyond_files and self.owner(stored.key) is None


@dataclass(frozen=True)
class FailedCell:
    """A cell that failed: its folder, what tells it from others of its entry, and how it failed."""

    folder: Path
    settings: Mapping[str, Any]
    failure: Failure | None


@dataclass
class EntryStock:
    """What is there of one entry.

    failures: the first few; stale: results of an older version, or that are none of its cells any more;
    elsewhere: results of its cells from another kind of device; notes: what kept cells from being looked up.
    """

    name: str
    experiment: str
    states: Counter[State] = field(default_factory=Counter)
    failures: list[FailedCell] = field(default_factory=list)
    stale: int = 0
    elsewhere: int = 0
    notes: dict[str, None] = field(default_factory=dict)
    _first: Mapping[str, Any] | None = None
    _varied: set[str] = field(default_factory=set)

    @property
    def cells(self) -> int:
        """Number of its cells."""
        return self.states.total()

    @property
    def done(self) -> int:
        """Number of cells that have a result."""
        return self.states[State.DONE]

    @property
    def failed(self) -> int:
        """Number of cells that failed."""
        return self.states[State.FAILED]

    def vary(self, described: Mapping[str, Any]) -> None:
        """Note what differs between the cells."""
        first = self._first = self._first or described
        if described != first:
            self._varied |= {name for name in described if described[name] != first[name]}

    def told_apart(self) -> list[FailedCell]:
        """The first few failures, each with the settings that differ between cells of the entry."""
        return [
            FailedCell(f.folder, {n: v for n, v in f.settings.items() if n in self._varied}, f.failure)
            for f in self.failures
        ]


@dataclass
class Stock:
    """What is there of a batch, by the name of its entries.

    unowned: results of older versions that no entry is known for; unknown: numbers of results of experiments that are
    not installed.
    """

    entries: dict[str, EntryStock] = field(default_factory=dict)
    unowned: int = 0
    unknown: dict[str, int] = field(default_factory=dict)


class _Listing:
    """The folder of an experiment, listed once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.claimed: set[str] = set()

    @cached_property
    def names(self) -> Collection[str]:
        """Names of all that is in it."""
        return frozenset(os.listdir(self.folder)) if self.folder.is_dir() else frozenset()  # noqa: PTH208

    def state(self, identifier: str) -> State:
        """What is known of the cell."""
        self.claimed.add(identifier)
        is_there, folder = identifier in self.names, self.folder / identifier
        damaged = False
        if is_there:
            try:
                if read_stored(folder) is not None:
                    return State.DONE
            except ResexpError:
                damaged = True
        lock = f".{identifier}.lock"
        if lock in self.names and Lock(self.folder / lock).is_held():
            return State.RUNNING
        if is_there and (folder / "error.json").is_file():
            return State.FAILED
        return State.DAMAGED if damaged else State.MISSING

    def others(self) -> Iterator[Stored]:
        """Results and failures that were not asked for, and can be read."""
        for name in self.names:
            if name not in self.claimed and CELL.fullmatch(name):
                try:
                    stored = read_stored(self.folder / name) or read_failed(self.folder / name)
                except ResexpError:
                    continue
                if stored is not None:
                    yield stored


def take_stock(planned: Iterable[Planned], store: Store, others: Callable[[], Iterable[Planned]] = lambda: ()) -> Stock:
    """Look up every planned cell in the store, and what else of their entries is there.

    others: further cells of the same file, which a result may belong to; asked for only where it matters.
    """
    stock, claims = Stock(), Claims()
    listings: dict[str, _Listing] = {}
    for entry, cell in planned:
        one = stock.entries.setdefault(entry.name, EntryStock(entry.name, cell.name))
        described = describe(cell)
        claims.add_cell(entry.name, cell, described)
        one.vary(described)
        try:
            identifier = cell.id
        except MissingError as error:
            one.states[State.MISSING] += 1
            one.notes[str(error)] = None
            continue
        state = listings.setdefault(cell.name, _Listing(store.root / cell.name)).state(identifier)
        one.states[state] += 1
        if state is State.FAILED and len(one.failures) < FEW:
            one.failures.append(FailedCell(store.folder(cell), described, store.failure(cell)))
    disowned = [one for listing in listings.values() for one in _unclaimed(listing, stock, claims)]
    if disowned:
        claims.add(others())
    for name, key in disowned:
        stock.entries[name].stale += claims.owner(key) is None
    stock.unknown = _unknown(store.root)
    return stock


def _unclaimed(listing: _Listing, stock: Stock, claims: Claims) -> Iterator[tuple[str, int]]:
    """Count what is no cell's; yield entry and key of what its entry has no such cell for."""
    for stored in listing.others():
        same = claims.owner(stored.key)
        owner = stored.entry if claims.know(stored) else same
        if stored.outdated and owner is None:
            stock.unowned += 1
        elif stored.outdated:
            stock.entries[str(owner)].stale += 1
        elif same is not None:
            stock.entries[same].elsewhere += stored.digest is not None
        elif claims.disown(stored):
            yield str(owner), stored.key


def _unknown(root: Path) -> dict[str, int]:
    """How many results there are of each experiment that is not installed."""
    found = {}
    for folder in experiments_in(root):
        if folder.name not in registry.experiments():
            count = sum(CELL.fullmatch(name) is not None for name in os.listdir(folder))  # noqa: PTH208
            if count:
                found[folder.name] = count
    return found
