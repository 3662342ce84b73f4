"""The entries of experiments.yaml, one after another; one that fails does not stop the others."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from resexp.core.errors import ResexpError
from resexp.core.lab import Progress
from resexp.runs.cell import Cell
from resexp.runs.config import Entry
from resexp.runs.execute import Execution, execute, needs_run
from resexp.runs.registry import experiment
from resexp.runs.resolve import resolve
from resexp.runs.store import Store

Planned = tuple[Entry, Cell]


@dataclass(frozen=True)
class Done:
    """What became of an entry. execution: None where nothing was measured; error: what failed, if anything."""

    entry: Entry
    seconds: float
    execution: Execution | None = None
    error: str | None = None


def plan(entries: Iterable[Entry]) -> list[Planned]:
    """The cell of each entry; all are resolved before any is run."""
    planned: list[Planned] = []
    for entry in entries:
        file = {**entry.parameters, **entry.settings}
        planned.extend((entry, cell) for cell in resolve(experiment(entry.experiment), {}, file))
    return planned


def check(planned: Sequence[Planned], store: Store | None, *, force: bool) -> None:
    """Check that each entry to be run has its device and fits; the first that does not is named and raised."""
    for entry, cell in planned:
        try:
            if needs_run(cell, store, force=force):
                cell.check()
        except ResexpError as error:
            raise type(error)(f"{entry.name}: {error}") from None


def run_entry(
    entry: Entry, cell: Cell, store: Store | None, *, force: bool, progress: Progress, tell: Callable[[str], None]
) -> Done:
    """Run the cell of an entry and say what became of it; a failure of the cell is told, not raised."""
    start = time.perf_counter()
    try:
        execution = execute(cell, store, force=force, progress=progress, tell=tell)
    except ResexpError as error:
        return Done(entry, time.perf_counter() - start, error=str(error))
    except Exception as error:  # noqa: BLE001  (a bug in one experiment must not take the night's other results along)
        return Done(entry, time.perf_counter() - start, error=f"{type(error).__name__}: {error}")
    failure = str(execution.save_error) if execution.save_error else None
    return Done(entry, time.perf_counter() - start, execution, failure)
