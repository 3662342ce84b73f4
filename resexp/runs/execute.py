"""Run a cell, or read it back where it is stored already; a finished result is never lost to a full disk."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resexp.core.errors import ResexpError
from resexp.core.lab import Progress, Say, no_progress, say_nothing
from resexp.runs.cell import Cell, Outcome, run_cell
from resexp.runs.lock import Lock
from resexp.runs.store import Store

LOOK_AGAIN = 0.2  # seconds between two looks at another's lock


@dataclass(frozen=True)
class Execution:
    """An outcome, where it is stored (None where it is not), and why saving failed if it did."""

    outcome: Outcome
    folder: Path | None
    save_error: ResexpError | None = None


def needs_run(cell: Cell, store: Store | None, *, force: bool = False) -> bool:
    """Whether the cell has to be run, as far as can be told without reading what is stored."""
    return force or store is None or not store.has(cell)


def execute(
    cell: Cell,
    store: Store | None,
    *,
    force: bool = False,
    progress: Progress = no_progress,
    say: Say = say_nothing,
    tell: Callable[[str], None] = lambda _: None,
) -> Execution:
    """Read the cell back from the store, or run it and save it.

    store: None keeps nothing; force: run it again; say: takes words on where it stands;
    tell: takes sentences, such as that another run holds the cell.
    """
    if store is None:
        return Execution(run_cell(cell, progress, say), None)
    stored = None if force else store.load(cell)
    if stored is not None:
        return Execution(stored, store.folder(cell))
    lock = store.lock(cell)
    try:
        waited = _wait_for(lock, tell)
        if lock.left_by is not None:
            tell(started_again(cell, lock))
        stored = store.load(cell) if waited else None  # the other run has computed it
        if stored is not None:
            return Execution(stored, store.folder(cell))
        outcome = run_cell(cell, progress, say)
        try:
            return Execution(outcome, store.save(outcome))
        except ResexpError as error:
            return Execution(outcome, None, error)
    finally:
        lock.release()


def started_again(cell: Cell, lock: Lock) -> str:
    """What to say of a run that ended without a result."""
    goes_on = (
        "it goes on from its last checkpoint, if it had come so far."
        if cell.experiment.resumes
        else ("it is computed again from the start.")
    )
    return (
        f"An earlier run of {cell.name} {cell.id} ({lock.left_by}) ended before it was finished. It left no result: "
        f"{goes_on}"
    )


def _wait_for(lock: Lock, tell: Callable[[str], None]) -> bool:
    """Take the lock, when its holder gives it back or dies; whether that took waiting."""
    waited = False
    while not lock.take():
        if not waited:
            tell(f"Waiting: the same setting is being computed by {lock.holder() or 'another run'}.")
        waited = True
        time.sleep(LOOK_AGAIN)
    return waited
