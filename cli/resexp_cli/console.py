"""What people see: tables, progress, verdict colours. The only file that imports rich.

stdout carries the result and nothing else; progress, notes and paths go to stderr.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from resexp.core.ensemble import Ensemble
from resexp.core.experiment import Experiment, Plot
from resexp.core.result import Result, Value
from resexp.report.chart import chart
from resexp.report.digest import by_quantity, chosen_rows, series
from resexp.report.text import headlines, last_rows, plain, short
from resexp.runs.cell import Outcome
from resexp.runs.resolve import describe
from resexp_cli.progress import PlainProgress

VERDICT_STYLES = {
    "agree": "green",
    "growth agrees": "green",
    "disagree": "bold red",
    "underpowered": "yellow",
    "not judged": "dim",
    "no theory": "dim",
}
CHART_STYLES = {"measured": "cyan", "theory": "magenta", "both": "bold", "": ""}
PROGRESS_AFTER_SECONDS = 1.0
MOST_NOTES = 5
WIDTH_OF_FILES = 200
EXPENDABLE = (("theory_kind",), ("stderr",), ("median",), ("ci_low", "ci_high"))
"""Columns that a narrow terminal leaves out, the first ones first."""


class Terminal:
    """stdout for the result, stderr for everything else. quiet: only errors go to stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        # FORCE_COLOR makes rich take a pipe for a terminal; what is printed must not change with it.
        self.interactive = _is_terminal(sys.stdout)
        fixed = "COLUMNS" in os.environ or self.interactive
        self.out = Console(file=sys.stdout, highlight=False, width=None if fixed else WIDTH_OF_FILES)
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

    def text(self, text: str) -> None:
        """A line of the result."""
        self.out.print(Text(text))

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """A bar with rate and time left, on a terminal once the work has taken a second; elsewhere plain lines."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        bar = Progress(*columns, console=self.err, transient=True, disable=self.quiet or not _is_terminal(sys.stderr))
        started = time.perf_counter()
        task = bar.add_task(label, total=None, rate="")
        shown = False
        lines = self._plain_progress()

        def step(done: int, total: int) -> None:
            nonlocal shown
            if lines is not None:
                lines.step(done / max(1, total), label)
                return
            elapsed = time.perf_counter() - started
            if not shown and elapsed > PROGRESS_AFTER_SECONDS and done < total:
                bar.start()
                shown = True
            if shown:
                bar.update(task, completed=done, total=total, rate=f"{done / elapsed:.3g} steps/s")

        try:
            yield step
        finally:
            if shown:
                bar.stop()

    @contextmanager
    def batch(self, total: int) -> "Iterator[Bars]":
        """One bar for a batch of cells and a line for each running one; plain lines where stderr is no terminal."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
        )
        bar = Progress(*columns, console=self.err, transient=True, disable=self.quiet or not _is_terminal(sys.stderr))
        with bar:
            yield Bars(bar, total, self._plain_progress())

    def _plain_progress(self) -> PlainProgress | None:
        """What takes the place of a bar where there is no terminal for one."""
        return None if _is_terminal(sys.stderr) else PlainProgress(self.note)

    def table(self, outcomes: Sequence[Outcome]) -> None:
        """The table of one outcome, or the headline figures of several side by side."""
        if len(outcomes) == 1:
            self._one(outcomes[0])
            return
        figures = by_quantity(headlines(outcomes) or last_rows(outcomes))
        self._grouped([c for c in figures[0] if c != "quantity"] if figures else [], figures)
        self._verdicts(outcomes)
        notes = list(dict.fromkeys(note for outcome in outcomes for note in outcome.result.notes))
        for note in notes[:MOST_NOTES]:
            self.out.print(Text(note, style="dim"))
        more = f", {len(notes) - MOST_NOTES} more notes" if len(notes) > MOST_NOTES else ""
        self.out.print(f"{len(outcomes)} settings{more}; every row: --format csv", style="dim")

    def _verdicts(self, outcomes: Sequence[Outcome]) -> None:
        """How often each quantity agreed, over the settings of a sweep."""
        counts: dict[str, Counter[str]] = {}
        for outcome in outcomes:
            for family in outcome.result.families:
                counts.setdefault(family.quantity, Counter())[family.verdict] += 1
        self.out.print()
        for quantity, count in counts.items():
            line = Text(f"{quantity.replace('_', ' ')}: ")
            for number, (verdict, times) in enumerate(count.most_common()):
                line.append(", " if number else "").append(f"{times} {verdict}", style=VERDICT_STYLES.get(verdict, ""))
            self.out.print(line)

    def _one(self, outcome: Outcome) -> None:
        cell, result = outcome.cell, outcome.result
        experiment = type(cell.experiment)
        self.out.print(Text(f"{cell.name}: ", style="bold").append(experiment.summary(), style="not bold"))
        settings = ", ".join(f"{k.replace('_', ' ')} {plain(v)}" for k, v in describe(cell).items() if v is not None)
        self.out.print(Text(settings, style="dim"))
        self.out.print()
        self._rows(result, experiment.axes, _grown(cell.experiment))
        if experiment.plot is not None and result.rows:
            self._chart(result, experiment.plot)
        if result.headline:
            self.out.print()
            self._figures(result.headline)
        told = {figure["quantity"] for figure in result.headline}
        families = [family for family in result.families if family.quantity not in told]
        if families or result.notes:
            self.out.print()
        for family in families:
            line = Text(f"{family.quantity.replace('_', ' ')}: ")
            line.append(family.verdict, style=VERDICT_STYLES.get(family.verdict, ""))
            self.out.print(line.append(f", {family.sentence}"))
        for note in result.notes:
            self.out.print(Text(note, style="dim"))

    def _rows(self, result: Result, axes: Sequence[str], grown: Collection[str]) -> None:
        """About ten rows of the result. grown: quantities judged by their growth from row to row."""
        rows = [_of_growth(row) if row.get("quantity") in grown else row for row in chosen_rows(result, axes)]
        left_out = self._grouped([c for c in result.columns if c != "quantity"], rows)
        if len(rows) < len(result.rows) or left_out:
            without = f"; no room for {', '.join(left_out).replace('_', ' ')}" if left_out else ""
            self.out.print(f"{len(rows)} of {len(result.rows)} rows{without}; everything: --format csv", style="dim")

    def _grouped(self, columns: Sequence[str], rows: Sequence[Mapping[str, Value]]) -> list[str]:
        """Rows with each quantity under a heading of its own; returns the columns there was no room for."""
        columns = [c for c in columns if c != "draws" and any(row.get(c) is not None for row in rows)]
        if not columns:
            return []
        table, left_out = self._fitting(columns, rows)
        lines = iter(self.out.render_lines(table, pad=False))
        self.out.print(SegmentLines([next(lines)], new_lines=True), end="")
        for quantity, group in groupby(rows, lambda row: row.get("quantity")):
            if quantity is not None:
                self.out.print(Text(str(quantity).replace("_", " "), style="italic"))
            self.out.print(SegmentLines([next(lines) for _ in group], new_lines=True), end="")
        return left_out

    def _figures(self, figures: Sequence[Mapping[str, Value]]) -> None:
        """Headline figures, one a line."""
        columns = [c for c in figures[0] if c != "draws" and any(f.get(c) is not None for f in figures)]
        self.out.print(self._fitting(columns, figures)[0])

    def _fitting(self, columns: Sequence[str], rows: Sequence[Mapping[str, Value]]) -> tuple[Table, list[str]]:
        """A table of those columns that this width has room for, and the names of the others."""
        left_out: list[str] = []
        # A column of names breaks its lines before the interval is given up, and the rightmost before the leftmost.
        breaks = "quantity" in columns
        last = [(column,) for column in reversed(columns[1:])]
        for names in ((), *(EXPENDABLE[:-1] if breaks else (*EXPENDABLE, *last))):
            left_out += [name for name in names if name in columns and name not in left_out]
            table = _table([column for column in columns if column not in left_out], rows)
            if self._room_for(table):
                break
        return table, [column for column in columns if column in left_out]

    def _room_for(self, table: Table) -> bool:
        """Whether the table fits this width with no line broken."""
        return self.out.measure(table, options=self.out.options.update(max_width=10_000)).maximum <= self.out.width

    def _chart(self, result: Result, plot: Plot) -> None:
        label, measured, theory = series(result, plot)
        margin = 10
        drawn = chart(measured, theory, width=max(10, min(72, self.out.width - margin - 3)))
        if drawn is None:
            return
        self.out.print()
        legend = Text(f"{label} over {plot.x}: ")
        legend.append("measured ⠂", style=CHART_STYLES["measured"])
        if theory:
            legend.append(", ").append("theory ·", style=CHART_STYLES["theory"])
            legend.append(", ").append("both ⠂", style=CHART_STYLES["both"])
        self.out.print(legend)
        labels = {0: short(drawn.y[1]), len(drawn.lines) - 1: short(drawn.y[0])}
        for number, line in enumerate(drawn.lines):
            text = Text(f"{labels.get(number, ''):>{margin}} │")
            for characters, name in line:
                text.append(characters, style=CHART_STYLES[name])
            self.out.print(text)
        width = len(drawn.lines[0])
        left, right = (short(x) for x in drawn.x)
        self.out.print(Text(f"{'':{margin}} └{'─' * width}"))
        self.out.print(Text(f"{'':{margin}}  {left}{right:>{max(1, width - len(left))}}"))

    def mapping(self, title: str, values: Mapping[str, Any]) -> None:
        """Names and values in two columns."""
        table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, value in values.items():
            table.add_row(Text(name), Text(str(value)))
        self.out.print(table)

    def listing(self, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        """A plain table."""
        self.out.print(_table(columns, [dict(zip(columns, row, strict=True)) for row in rows]))

    def pooled(self, rows: Sequence[Mapping[str, Value]], most: int) -> None:
        """Figures of several seeds, at most so many of them on a terminal."""
        shown = rows[:most] if self.interactive else rows
        columns = list(dict.fromkeys(name for row in rows for name in row if name != "draws"))
        columns = [c for c in columns if any(row.get(c) is not None for row in rows)]
        self.out.print()
        if self._room_for(_table(columns, shown)):
            self.out.print(_table(columns, shown))
            left_out = []
        else:
            headed = by_quantity([{**row, "quantity": f"{row['entry']}: {row['quantity']}"} for row in shown])
            left_out = self._grouped([c for c in columns if c not in {"entry", "quantity"}], headed)
        if len(shown) < len(rows) or left_out:
            without = f"; no room for {', '.join(left_out).replace('_', ' ')}" if left_out else ""
            self.out.print(f"{len(shown)} of {len(rows)} figures{without}", style="dim")


class Bars:
    """The bar of a batch and the lines of its running cells. plain: what is told where there is no terminal."""

    def __init__(self, bar: Progress, total: int, plain: PlainProgress | None = None) -> None:
        self._bar, self._total, self._finished, self._plain = bar, total, 0, plain
        self._whole = bar.add_task("batch", total=total, count=f"0 of {total} cells")
        self._lines: dict[int, TaskID] = {}

    def start(self, number: int, label: str) -> None:
        """A cell was handed to the workers; its line appears with its first sign of progress."""
        self._lines[number] = self._bar.add_task(escape(label), total=None, count="", visible=False)

    def step(self, number: int, done: int, total: int) -> None:
        """A running cell has got so far."""
        line = self._lines.get(number)
        if line is not None:
            self._bar.update(line, completed=done, total=total, visible=True)
            self._say()

    def end(self, number: int) -> None:
        """A cell is over."""
        line = self._lines.pop(number, None)
        if line is not None:
            self._bar.remove_task(line)

    def done(self) -> None:
        """One more cell has its state."""
        self._finished += 1
        self._bar.update(self._whole, completed=self._finished, count=f"{self._finished} of {self._total} cells")
        self._say()

    def _say(self) -> None:
        """A plain line, if it is time for one."""
        if self._plain is not None:
            running = sum(task.completed / task.total for task in self._bar.tasks[1:] if task.total)
            share = (self._finished + running) / max(1, self._total)
            self._plain.step(min(1.0, share), f"{self._finished} of {self._total} cells")


def _grown(experiment: Experiment) -> set[str]:
    """Quantities that are judged by their growth, with their logarithms."""
    quantities = experiment.quantities_here() if isinstance(experiment, Ensemble) else ()
    names = [q.name for q in quantities if q.judged in {"log increments", "increments"}]
    return {*names, *(f"log2_{name}" for name in names)}


def _of_growth(row: dict[str, Value]) -> dict[str, Value]:
    """The row with a verdict that says what it is about: its level may be far from a limit whose growth agrees."""
    level = row.get("verdict") != "agree" or row.get("theory_kind") == "exact"
    return row if level else {**row, "verdict": "growth agrees"}


def _is_terminal(stream: Any) -> bool:
    return stream is not None and bool(stream.isatty())


def _table(columns: Sequence[str], rows: Collection[Mapping[str, Value]]) -> Table:
    """A table of these columns; numbers stand right and are never broken, words stand left."""
    table = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
    for column in columns:
        words = any(isinstance(row.get(column), str) for row in rows)
        breaks = column in {"quantity", "question", "setting", "verdicts"}
        table.add_column(
            Text(column.replace("_", " ")),
            justify="left" if words else "right",
            overflow="fold" if breaks else "ellipsis",
            no_wrap=not breaks,
        )
    for row in rows:
        table.add_row(*(_cell(column, row.get(column)) for column in columns))
    return table


def _cell(column: str, value: Value) -> Text:
    if column == "verdict" and isinstance(value, str):
        return Text(value, style=VERDICT_STYLES.get(value, ""))
    text = value if isinstance(value, str) else short(value)
    return Text(text.replace("_", " ") if column == "quantity" else text)
