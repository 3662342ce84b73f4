"""What people see: tables, progress, verdict colours. The only file that imports rich.

stdout carries the result and nothing else; progress, notes and paths go to stderr.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from resexp.core.result import Result, Value
from resexp.report.chart import chart
from resexp.report.digest import chosen_rows, series
from resexp.report.text import headlines, plain, short
from resexp.runs.cell import Outcome
from resexp.runs.resolve import describe

VERDICT_STYLES = {
    "agree": "green",
    "disagree": "bold red",
    "underpowered": "yellow",
    "not judged": "dim",
    "no theory": "dim",
}
PROGRESS_AFTER_SECONDS = 1.0
FULL_TABLES = 3


class Terminal:
    """stdout for the result, stderr for everything else. quiet: only errors go to stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.out = Console(file=sys.stdout, highlight=False, soft_wrap=False)
        self.err = Console(file=sys.stderr, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line on stderr that scripts may ignore."""
        if not self.quiet:
            self.err.print(f"[dim]{escape(text)}[/dim]")

    def warn(self, text: str) -> None:
        """A line on stderr that people should read."""
        if not self.quiet:
            self.err.print(f"[yellow]{escape(text)}[/yellow]")

    def error(self, text: str) -> None:
        """An error on stderr, always shown."""
        self.err.print(f"[bold red]Error:[/bold red] {escape(text)}")

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """A bar with rate and time left, shown on a terminal once the work has taken a second."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        bar = Progress(*columns, console=self.err, transient=True, disable=self.quiet or not self.err.is_terminal)
        started = time.perf_counter()
        task = bar.add_task(label, total=None, rate="")
        shown = False

        def step(done: int, total: int) -> None:
            nonlocal shown
            elapsed = time.perf_counter() - started
            if not shown and elapsed > PROGRESS_AFTER_SECONDS and done < total:
                bar.start()
                shown = True
            if shown:
                bar.update(task, completed=done, total=total, rate=f"{done / elapsed:.3g}/s")

        try:
            yield step
        finally:
            if shown:
                bar.stop()

    def table(self, outcomes: Sequence[Outcome]) -> None:
        """Tables of a few outcomes, or the headline figures of many."""
        if len(outcomes) <= FULL_TABLES:
            for outcome in outcomes:
                self._one(outcome)
            return
        self.out.print(_headline_table(headlines(outcomes)))
        self.out.print(f"{len(outcomes)} settings; every row: --format csv", style="dim")

    def _one(self, outcome: Outcome) -> None:
        cell, result = outcome.cell, outcome.result
        experiment = type(cell.experiment)
        self.out.print(Text(cell.name, style="bold"), Text(experiment.summary()))
        settings = ", ".join(f"{k} {plain(v)}" for k, v in describe(cell).items() if v is not None)
        self.out.print(Text(settings, style="dim"))
        self.out.print(self._rows(result, experiment.axes))
        if experiment.plot is not None and result.rows:
            self._chart(result, outcome)
        if result.headline:
            self.out.print(_headline_table(result.headline))
        for family in result.families:
            line = Text(f"{family.quantity.replace('_', ' ')}: ")
            line.append(family.verdict, style=VERDICT_STYLES.get(family.verdict, ""))
            self.out.print(line.append(f", {family.sentence}" if len(family.sentence) < 200 else ""))
        for note in result.notes:
            self.out.print(Text(note, style="dim"))

    def _rows(self, result: Result, axes: Sequence[str]) -> Table:
        """About ten rows of the result, each quantity a section."""
        rows = chosen_rows(result, axes)
        columns = [c for c in result.columns if c != "draws" and any(row.get(c) is not None for row in rows)]
        if self.out.width < 100:
            columns = [c for c in columns if c not in {"stderr", "theory_kind"}]
        table = _table(columns)
        previous = rows[0].get("quantity") if rows else None
        for row in rows:
            if row.get("quantity") != previous:
                table.add_section()
                previous = row.get("quantity")
            table.add_row(*(_cell(c, row.get(c)) for c in columns))
        if len(rows) < len(result.rows):
            table.caption = f"{len(rows)} of {len(result.rows)} rows; all: --format csv"
        return table

    def _chart(self, result: Result, outcome: Outcome) -> None:
        plot = type(outcome.cell.experiment).plot
        if plot is None:
            return
        label, measured, theory = series(result, plot)
        lines = chart(measured, theory, width=min(72, self.out.width - 4))
        if not lines:
            return
        legend = Text(f"{label} over {plot.x}: ")
        legend.append("measured", style="cyan")
        if theory:
            legend.append(", ").append("theory", style="magenta").append(", ").append("both", style="bold")
        self.out.print(legend)
        styles = {"measured": "cyan", "theory": "magenta", "both": "bold", "": ""}
        for line in lines:
            text = Text("  ")
            for characters, name in line:
                text.append(characters, style=styles[name])
            self.out.print(text)

    def mapping(self, title: str, values: Mapping[str, Any]) -> None:
        """Names and values in two columns."""
        table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, value in values.items():
            table.add_row(Text(name), Text(str(value)))
        self.out.print(table)

    def listing(self, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        """A plain table."""
        table = _table(columns)
        for row in rows:
            table.add_row(*(_cell(c, value) for c, value in zip(columns, row, strict=True)))
        self.out.print(table)


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", caption_justify="left", padding=(0, 1))
    for column in columns:
        numeric = column not in {"quantity", "theory_kind", "verdict", "layer", "kind", "entry", "name", "question"}
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    return table


def _cell(column: str, value: Value) -> Text:
    if column == "verdict" and isinstance(value, str):
        return Text(value, style=VERDICT_STYLES.get(value, ""))
    text = str(value) if isinstance(value, str) else short(value)
    return Text(text.replace("_", " ") if column == "quantity" else text)


def _headline_table(figures: Sequence[Mapping[str, Value]]) -> Table:
    columns = [c for c in figures[0] if c not in {"stderr", "draws"} and any(f.get(c) is not None for f in figures)]
    table = _table(columns)
    for figure in figures:
        table.add_row(*(_cell(c, figure.get(c)) for c in columns))
    return table
