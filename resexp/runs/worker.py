"""What a worker does: a cell comes as plain data, its outcome or its failure goes back as plain data.

Plain data (str, int, float, None, lists, dicts) crosses processes, machines and versions; nothing else does.
"""

import importlib
import time
from dataclasses import asdict
from typing import Any

from resexp.core.lab import Progress
from resexp.core.result import FamilyResult, Result
from resexp.runs.cell import Cell, Outcome, run_cell
from resexp.runs.engines.child import begun, report
from resexp.runs.store import Failure

Data = dict[str, Any]


def work(task: Data, progress: Progress = report) -> Data:
    """Run the cell that `task` is (`Cell.data`); return `{"result": ..., "run": ...}` or `{"failure": ...}`."""
    start = time.perf_counter()
    try:
        cell = Cell.from_data(task)
        if type(cell.experiment).random:  # seconds in a process that is new, and no part of the cell
            importlib.import_module("torch")
            begun()
            start = time.perf_counter()
        outcome = run_cell(cell, progress)
        return {"result": asdict(outcome.result), "run": dict(outcome.run)}
    except Exception as error:  # noqa: BLE001  (a bug in one experiment must not take the night's other results along)
        return {"failure": asdict(Failure.of(error, time.perf_counter() - start))}


def outcome_of(cell: Cell, data: Data) -> Outcome | Failure:
    """What `work` returned, as objects again."""
    if "failure" in data:
        return Failure(**data["failure"])
    told = data["result"]
    families = [FamilyResult(**family) for family in told["families"]]
    result = Result(tuple(told["columns"]), told["rows"], told["headline"], families, told["notes"])
    return Outcome(cell, result, data["run"])
