"""The entries of experiments.yaml, one after another; one that fails does not stop the others."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from resexp.core.errors import ResexpError
from resexp.core.lab import Progress
from resexp.runs.cell import Cell
from resexp.runs.config import Entry
from resexp.runs.execute import Execution, execute
from resexp.runs.registry import experiment
from resexp.runs.resolve import resolve
from resexp.runs.store import Store


@dataclass(frozen=True)
class Done:
    """What became of an entry. execution: None where it failed, and then `error` says why."""

    entry: Entry
    seconds: float
    execution: Execution | None = None
    error: str | None = None


def cells(entries: Iterable[Entry]) -> list[tuple[Entry, Cell]]:
    """The cell of each entry; all are resolved, and so checked, before any is run."""
    resolved: list[tuple[Entry, Cell]] = []
    for entry in entries:
        file = {**entry.parameters, **entry.settings}
        resolved.extend((entry, cell) for cell in resolve(experiment(entry.experiment), {}, file))
    return resolved


def run_entry(entry: Entry, cell: Cell, store: Store | None, *, force: bool, progress: Progress) -> Done:
    """Run the cell of an entry and say what became of it; a failure of the cell is told, not raised."""
    start = time.perf_counter()
    try:
        execution = execute(cell, store, force=force, progress=progress)
    except (ResexpError, MemoryError, ArithmeticError, RuntimeError, ValueError) as error:
        return Done(entry, time.perf_counter() - start, error=str(error) or type(error).__name__)
    failure = str(execution.save_error) if execution.save_error else None
    return Done(entry, time.perf_counter() - start, execution, failure)
