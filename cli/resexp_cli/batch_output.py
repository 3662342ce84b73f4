"""What `run` prints: what would run, and the summary that a batch ends with, for people or for programs."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from resexp_cli.batch_summary import Summary
from resexp_cli.verdicts import chance

if TYPE_CHECKING:
    from resexp.core.result import Value
    from resexp.runs.cell import Cell
    from resexp.runs.entry import Entry
    from resexp.runs.store import Store
    from resexp_cli.console import Terminal

MOST_LISTED = 40
PLAN = ("entry", "experiment", "id", "state", "setting")


def setting_of(entry: "Entry", cell: "Cell") -> str:
    """What tells the cell from others of its entry: the values of what is swept, and its seed if there are several."""
    from resexp.report.text import plain
    from resexp.runs.resolve import describe

    swept = describe(cell)
    names = [*(name for name in entry.sweeps if name in swept), *(["seed"] if len(entry.seeds) > 1 else [])]
    return ", ".join(f"{name.replace('_', ' ')} {plain(swept[name])}" for name in names)


def print_plan(terminal: "Terminal", entries: "Sequence[Entry]", store: "Store | None", form: str) -> None:
    """What would run: each cell for a program or of a small batch, counts of a large one."""
    from resexp.runs import batch

    if form != "table":
        from resexp.report.sinks import Csv, Json

        sink = Csv(sys.stdout) if form == "csv" else Json(sys.stdout)
        sink.start(PLAN)
        for entry, cell in batch.plan(entries):
            sink.cell([entry.name, cell.name, cell.id])
            sink.row([_state(store, cell), setting_of(entry, cell)])
        sink.end()
        return
    if sum(entry.count for entry in entries) <= MOST_LISTED:
        rows = [(e.name, setting_of(e, c), _state(store, c), f"{c.name}/{c.id}") for e, c in batch.plan(entries)]
        terminal.listing(("entry", "setting", "state", "stored as"), rows)
        return
    counts = []
    for entry in entries:
        stored = sum(store.has(cell) for _, cell in batch.plan([entry])) if store is not None else 0
        counts.append((entry.name, entry.experiment, entry.count, stored, entry.count - stored))
    terminal.listing(("entry", "experiment", "cells", "stored", "to run"), counts)


def _state(store: "Store | None", cell: "Cell") -> str:
    return "stored" if store is not None and store.has(cell) else "to run"


def print_summary(terminal: "Terminal", summary: Summary, total: int, form: str) -> None:
    """What a batch ends with, the figures of pooled seeds below; a program gets them in JSON only.

    form: table, json, csv, or none for warnings alone.
    """
    seen = [state for state in summary.states.values() if state.states]
    pooled = [row for state in seen for place in sorted(state.pooled) for row in state.pooled[place]]
    pooled = [row for row in pooled if row["mean"] is not None or row["theory"] is not None]
    if form == "table":
        rows = [(s.entry.name, s.entry.experiment, s.state, f"{s.seconds:.1f} s", _counts(s.verdicts)) for s in seen]
        if rows:
            terminal.listing(("entry", "experiment", "state", "cell time", "verdicts"), rows)
        if pooled:
            terminal.pooled(pooled, MOST_LISTED)
    elif form != "none":
        _print_for_programs(summary.rows(), pooled, form)
    told = chance(summary.judged)
    if told is not None:
        terminal.warn(told)
    left = total - sum(state.cells - state.states["skipped"] for state in seen)
    if left:
        rest = "; finished ones are kept, and the same command runs the rest" if summary.kept else ""
        terminal.warn(f"{left} of {total} cells were not run{rest}.")


def _print_for_programs(rows: "list[dict[str, Value]]", pooled: "list[dict[str, Value]]", form: str) -> None:
    if form == "json":
        click.echo(json.dumps({"entries": rows, "pooled": pooled}, indent=1))
        return
    from resexp.core.tabular import to_csv

    click.echo(to_csv(list(rows[0]), rows), nl=False)


def _counts(verdicts: Counter[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
