"""A batch: cells in, an engine that runs them, what became of each out; one that fails does not stop the others.

Cells are expanded, looked up, submitted and saved one after another in a window of a few for each worker, so a million
of them take no more memory than a hundred. Only this process writes: workers compute and hand back plain data. Each
cell is locked while it is computed, so that two runs of the same batch share the work instead of doing it twice.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from typing import Literal

from resexp.core.errors import ResexpError
from resexp.runs.cell import Cell, Outcome
from resexp.runs.engines.engine import EngineError, EngineLostError
from resexp.runs.entry import Entry, cells
from resexp.runs.execute import LOOK_AGAIN, started_again
from resexp.runs.lock import Lock
from resexp.runs.store import Failure, Store, UnstorableError
from resexp.runs.worker import Data, outcome_of, work

Planned = tuple[Entry, Cell]
State = Literal["done", "read back", "failed", "failed before", "skipped"]
COUNT_AGAIN = 2.0  # seconds in which new workers are given something to do
PER_SLOT = 2  # tasks submitted for each worker: the next one is there when it is free, and an interrupt loses few


@dataclass(frozen=True)
class Done:
    """What became of a cell.

    outcome: where there is one; failure: why there is none, or why it is not stored; task: its number, if it was run;
    seconds: of the computation alone; place: of the cell among those planned.
    """

    entry: Entry
    cell: Cell
    state: State
    seconds: float = 0.0
    outcome: Outcome | None = None
    failure: Failure | None = None
    task: int | None = None
    place: int = 0


@dataclass(frozen=True)
class Rules:
    """What to run of what is stored. force: all; retry_failed: what failed before; fail_fast: stop at a failure."""

    force: bool = False
    retry_failed: bool = False
    fail_fast: bool = False


@dataclass
class _Running:
    entry: Entry
    cell: Cell
    place: int
    lock: Lock | None
    started: float
    task: int


def plan(entries: Iterable[Entry]) -> Iterator[Planned]:
    """The cells of the entries, one after another."""
    for entry in entries:
        for cell in cells(entry):
            yield entry, cell


class Runner:
    """Runs planned cells on an executor.

    slots: how many tasks the executor runs at once, asked again and again: workers come and go; store: None keeps
    nothing and reads nothing back; tell: takes sentences for people; started: called with the number of a task and its
    cell.
    """

    def __init__(
        self,
        executor: Executor,
        slots: Callable[[], int],
        store: Store | None,
        rules: Rules,
        *,
        tell: Callable[[str], None] = lambda _: None,
        started: Callable[[int, Entry, Cell], None] = lambda *_: None,
    ) -> None:
        self._executor, self._slots = executor, slots
        self._store, self._rules, self._tell, self._started = store, rules, tell, started
        self._running: dict[Future[Data], _Running] = {}
        self._elsewhere: deque[tuple[Entry, Cell, int, Lock]] = deque()
        self._tasks = 0
        self._stopped = False

    def run(self, planned: Iterable[Planned]) -> Iterator[Done]:
        """Yield what became of each cell, as it becomes known."""
        most_elsewhere = self._window
        try:
            for place, (entry, cell) in enumerate(planned):
                if self._stopped:
                    yield Done(entry, cell, "skipped", place=place)
                    continue
                known = None if self._rules.force else self._known(entry, cell)
                if known is not None:
                    yield replace(self._count(known), place=place)
                    continue
                yield from self._begin(entry, cell, place)
                while len(self._running) >= self._window:
                    yield from self._finished()
                if len(self._elsewhere) > most_elsewhere:
                    yield from self._look_elsewhere()
                    most_elsewhere = max(self._window, 2 * len(self._elsewhere))
            while self._running or self._elsewhere:
                yield from self._finished()
                yield from self._look_elsewhere()
                if self._elsewhere and not self._running:
                    time.sleep(LOOK_AGAIN)
        finally:
            for future, running in self._running.items():
                future.cancel()
                self._release(running)

    @property
    def _window(self) -> int:
        """How many tasks may be submitted at this moment."""
        return PER_SLOT * max(1, self._slots())

    def _count(self, done: Done) -> Done:
        """Note a failure."""
        if done.failure is not None and self._rules.fail_fast:
            self._stopped = True
        return done

    def _known(self, entry: Entry, cell: Cell) -> Done | None:
        """What an earlier run says of the cell; None where it has to be computed."""
        if self._store is None:
            return None
        stored = self._store.load(cell)
        if stored is not None:
            return Done(entry, cell, "read back", 0.0, stored)
        failure = None if self._rules.retry_failed else self._store.failure(cell)
        return Done(entry, cell, "failed before", 0.0, failure=failure) if failure is not None else None

    def _begin(self, entry: Entry, cell: Cell, place: int, held: Lock | None = None) -> Iterator[Done]:
        """Submit the cell, or put it aside where another run holds it; yield it where that has finished it.

        held: its lock, where another run held it when it was last looked at.
        """
        lock = held
        try:
            if lock is None and self._store is not None:
                lock = self._store.lock(cell)
            if lock is not None and not lock.take():
                self._elsewhere.append((entry, cell, place, lock))
                return
        except ResexpError as error:  # a full disk, say: nothing is computed in vain
            failure = Failure.of(error, 0.0)
            yield self._count(Done(entry, cell, "failed", failure=failure, place=place))
            return
        known = self._known(entry, cell) if held is not None or self._is_there_now(cell) else None
        if known is None:
            self._submit(entry, cell, place, lock)
            return
        if lock is not None:
            lock.release()
        yield replace(self._count(known), place=place)

    def _is_there_now(self, cell: Cell) -> bool:
        """Whether another run has stored a result since the cell was looked up, and before it was locked."""
        return self._store is not None and not self._rules.force and self._store.has(cell)

    def _submit(self, entry: Entry, cell: Cell, place: int, lock: Lock | None) -> None:
        if lock is not None and lock.left_by is not None:
            self._tell(started_again(cell, lock))
        running = _Running(entry, cell, place, lock, time.perf_counter(), self._tasks)
        self._started(self._tasks, entry, cell)
        self._tasks += 1
        try:
            future = self._executor.submit(work, cell.data())
        except BaseException:
            self._release(running)
            raise
        self._running[future] = running

    def _finished(self) -> Iterator[Done]:
        """Wait for a task to end; save and yield what it gave."""
        if not self._running:
            return
        timeout = LOOK_AGAIN if self._elsewhere else COUNT_AGAIN
        ended, _ = wait(self._running, timeout=timeout, return_when=FIRST_COMPLETED)
        for future in ended:
            running = self._running.pop(future)
            try:
                yield replace(self._count(self._settle(future, running)), task=running.task, place=running.place)
            finally:
                self._release(running)
        if self._stopped:
            for future in list(self._running):
                if future.cancel():
                    running = self._running.pop(future)
                    self._release(running)
                    yield Done(running.entry, running.cell, "skipped", task=running.task, place=running.place)

    def _settle(self, future: Future[Data], running: _Running) -> Done:
        entry, cell, seconds = running.entry, running.cell, time.perf_counter() - running.started
        try:
            given = outcome_of(cell, future.result())
        except EngineLostError:  # no fault of the cell's
            raise
        except ResexpError as error:  # the worker died, or took too long
            given = Failure.of(error, seconds, error.output if isinstance(error, EngineError) else "")
        if isinstance(given, Failure):
            return self._failed(Done(entry, cell, "failed", seconds, failure=given))
        said = {"argv": sys.argv, "entry": entry.name, "sources": dict(cell.sources)}
        outcome = replace(given, run={**given.run, **said})
        seconds = float(given.run.get("seconds", seconds))
        if self._store is not None:
            try:
                self._store.save(outcome)
            except UnstorableError as error:
                return self._failed(Done(entry, cell, "failed", seconds, failure=Failure.of(error, seconds)))
            except ResexpError as error:
                return Done(entry, cell, "failed", seconds, outcome, Failure.of(error, seconds))
        return Done(entry, cell, "done", seconds, outcome)

    def _failed(self, done: Done) -> Done:
        if self._store is not None and done.failure is not None:
            try:
                self._store.save_failure(done.cell, done.failure, done.entry.name)
            except ResexpError as error:
                self._tell(str(error))
        return done

    def _look_elsewhere(self) -> Iterator[Done]:
        """Cells that another run held: read back what it finished, take over what it left."""
        for _ in range(len(self._elsewhere)):
            if len(self._running) >= self._window:
                return
            entry, cell, place, lock = self._elsewhere.popleft()
            if self._stopped:
                yield Done(entry, cell, "skipped", place=place)
            else:
                yield from self._begin(entry, cell, place, lock)

    def _release(self, running: _Running) -> None:
        if running.lock is not None:
            running.lock.release()
