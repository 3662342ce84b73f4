"""Progress: a bar for a command; for a batch one and a line for each running cell; plain lines without a terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import (
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from resexp_cli.console.styles import BAR, TRACK
from resexp_cli.progress import PlainProgress

BAR_WIDTH = 24
PROGRESS_AFTER_SECONDS = 1.0


class Bar:
    """A thick line for what is done and a thin one for the rest, told apart without colours too. share: 0 to 1."""

    def __init__(self, share: float) -> None:
        self._done = round(BAR_WIDTH * min(1.0, max(0.0, share)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        thick, thin = ("#", "-") if options.ascii_only else ("━", "─")
        yield Text(thick * self._done, style=BAR).append(thin * (BAR_WIDTH - self._done), style=TRACK)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Its width."""
        return Measurement(BAR_WIDTH, BAR_WIDTH)


class BarColumn(ProgressColumn):
    """The column of the bars."""

    def render(self, task: Task) -> Bar:
        """The bar of a task."""
        return Bar(task.completed / task.total if task.total else 0.0)


class Single:
    """A bar that appears once the work has taken a second. plain: what is told in its place."""

    def __init__(self, bar: Progress, task: TaskID, label: str, plain: PlainProgress | None) -> None:
        self._bar, self._task, self._label, self._plain = bar, task, label, plain
        self._begun, self._started, self._words = time.perf_counter(), False, ""

    def __call__(self, done: int, total: int) -> None:
        """The work has got so far."""
        if self._plain is not None:
            self._plain.step(done / max(1, total), self._label)
            return
        elapsed = time.perf_counter() - self._begun
        if not self._started and elapsed > PROGRESS_AFTER_SECONDS and done < total:
            self._bar.start()
            self._started = True
        if self._started:
            words = self._words or f"{done / elapsed:.3g} steps/s"
            self._bar.update(self._task, completed=done, total=total, words=words)

    def say(self, words: str) -> None:
        """What stands beside the bar from the next step on, in place of the number of steps a second."""
        self._words = words

    def stop(self) -> None:
        """Take the bar away."""
        if self._started:
            self._bar.stop()


@contextmanager
def single(console: Console, label: str, *, shown: bool, plain: PlainProgress | None) -> Iterator[Single]:
    """A bar with what is said of the work, time taken and time left; plain: what is told in its place."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True, disable=not shown)
    one = Single(bar, bar.add_task(label, total=None, words=""), label, plain)
    try:
        yield one
    finally:
        one.stop()


@contextmanager
def several(console: Console, total: int, *, shown: bool, plain: PlainProgress | None) -> "Iterator[Bars]":
    """The bars of a batch of so many cells."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        yield Bars(bar, total, plain)


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
