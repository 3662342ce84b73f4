"""Run a cell, or read it back where it is stored already; a finished result is never lost to a full disk."""

from dataclasses import dataclass
from pathlib import Path

from resexp.core.errors import ResexpError
from resexp.core.lab import Progress, no_progress
from resexp.runs.cell import Cell, Outcome, run_cell
from resexp.runs.store import Store


@dataclass(frozen=True)
class Execution:
    """An outcome, where it is stored (None where it is not), and why saving failed if it did."""

    outcome: Outcome
    folder: Path | None
    save_error: ResexpError | None = None


def needs_run(cell: Cell, store: Store | None, *, force: bool = False) -> bool:
    """Whether the cell has to be run, as far as can be told without reading what is stored."""
    return force or store is None or not store.has(cell)


def execute(cell: Cell, store: Store | None, *, force: bool = False, progress: Progress = no_progress) -> Execution:
    """Read the cell back from the store, or run it and save it. store: None keeps nothing; force: run it again."""
    stored = store.load(cell) if store is not None and not force else None
    if store is None:
        return Execution(run_cell(cell, progress), None)
    if stored is not None:
        return Execution(stored, store.folder(cell))
    outcome = run_cell(cell, progress)
    try:
        return Execution(outcome, store.save(outcome))
    except ResexpError as error:
        return Execution(outcome, None, error)
