"""The two streams: stdout carries the result and nothing else; progress, notes and paths go to stderr."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from resexp.core.result import Value
from resexp.report.digest import by_quantity
from resexp.runs.cell import Outcome
from resexp_cli.console import bars
from resexp_cli.console.outcomes import print_one, print_several
from resexp_cli.console.styles import ERROR, FAINT, PROGRESS, WARNING
from resexp_cli.console.tables import has_room, print_grouped, table, without
from resexp_cli.progress import PlainProgress

WIDTH_OF_FILES = 200


class Terminal:
    """stdout for the result, stderr for everything else. quiet: only errors go to stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        # FORCE_COLOR makes rich take a pipe for a terminal; what is printed must not change with it.
        self.interactive = _is_terminal(sys.stdout)
        fixed = "COLUMNS" in os.environ or self.interactive
        self.out = Console(file=sys.stdout, highlight=False, emoji=False, width=None if fixed else WIDTH_OF_FILES)
        self.err = Console(file=sys.stderr, highlight=False, emoji=False, soft_wrap=True, theme=Theme(PROGRESS))

    def note(self, text: str) -> None:
        """A line on stderr that scripts may ignore."""
        if not self.quiet:
            self.err.print(Text(text, style=FAINT))

    def warn(self, text: str) -> None:
        """A line on stderr that people should read."""
        if not self.quiet:
            self.err.print(Text(text, style=WARNING))

    def error(self, text: str) -> None:
        """An error on stderr, always shown."""
        self.err.print(f"[{ERROR}]Error:[/] {escape(text)}")

    def text(self, text: str) -> None:
        """A line of the result."""
        self.out.print(Text(text))

    def progress(self, label: str) -> AbstractContextManager[bars.Single]:
        """A bar, on a terminal once the work has taken a second; elsewhere plain lines."""
        return bars.single(self.err, label, shown=self._has_bars, plain=self._plain_progress())

    def batch(self, total: int) -> AbstractContextManager[bars.Bars]:
        """One bar for a batch of cells and a line for each running one; plain lines where stderr is no terminal."""
        return bars.several(self.err, total, shown=self._has_bars, plain=self._plain_progress())

    @property
    def _has_bars(self) -> bool:
        return not self.quiet and _is_terminal(sys.stderr)

    def _plain_progress(self) -> PlainProgress | None:
        """What takes the place of a bar where there is no terminal for one."""
        return None if _is_terminal(sys.stderr) else PlainProgress(self.note)

    def table(self, outcomes: Sequence[Outcome]) -> None:
        """The table of one outcome, or the headline figures of several side by side."""
        if len(outcomes) == 1:
            print_one(self.out, outcomes[0])
        else:
            print_several(self.out, outcomes)

    def mapping(self, title: str, values: Mapping[str, Any]) -> None:
        """Names and values in two columns."""
        built = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, value in values.items():
            built.add_row(Text(name), Text(str(value)))
        self.out.print(built)

    def listing(self, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        """A plain table."""
        self.out.print(table(columns, [dict(zip(columns, row, strict=True)) for row in rows]))

    def pooled(self, rows: Sequence[Mapping[str, Value]], most: int) -> None:
        """Figures of several seeds, at most so many of them on a terminal."""
        shown = rows[:most] if self.interactive else rows
        columns = list(dict.fromkeys(name for row in rows for name in row if name != "draws"))
        columns = [c for c in columns if any(row.get(c) is not None for row in rows)]
        self.out.print()
        built = table(columns, shown)
        left_out: list[str] = []
        if has_room(self.out, built):
            self.out.print(built)
        else:
            headed = by_quantity([{**row, "quantity": f"{row['entry']}: {row['quantity']}"} for row in shown])
            left_out = print_grouped(self.out, [c for c in columns if c not in {"entry", "quantity"}], headed)
        if len(shown) < len(rows) or left_out:
            self.out.print(f"{len(shown)} of {len(rows)} figures{without(left_out)}", style=FAINT)


def _is_terminal(stream: Any) -> bool:
    return stream is not None and bool(stream.isatty())
