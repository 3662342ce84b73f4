"""Tables that fit the width of the terminal: no number is cut, and columns that have no room are named."""

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from resexp.core.result import Value
from resexp.report.text import short
from resexp_cli.console.styles import VERDICTS

EXPENDABLE = (("theory_kind",), ("stderr",), ("median",), ("ci_low", "ci_high"))
"""Columns that a narrow terminal leaves out, the first ones first."""

NARROWEST = {
    "quantity": 16,
    "question": 16,
    "setting": 16,
    "verdicts": 18,
    "figure or problem": 17,
    "statement": 20,
    "experiments": 14,
    "quantities": 12,
}
"""Columns whose lines may be broken, and how narrow they may become before others are cut."""


def table(columns: Sequence[str], rows: Collection[Mapping[str, Value]]) -> Table:
    """A table of these columns; numbers stand right and are never broken, words stand left."""
    built = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
    for column in columns:
        words = any(isinstance(row.get(column), str) for row in rows)
        breaks = column in NARROWEST
        built.add_column(
            Text(column.replace("_", " ")),
            justify="left" if words else "right",
            overflow="fold" if breaks else "ellipsis",
            no_wrap=not breaks,
            min_width=min(NARROWEST.get(column, 0), max((len(str(row.get(column))) for row in rows), default=0))
            or None,
        )
    for row in rows:
        built.add_row(*(_cell(column, row.get(column)) for column in columns))
    return built


def _cell(column: str, value: Value) -> Text:
    if column == "verdict" and isinstance(value, str):
        return Text(value, style=VERDICTS.get(value, ""))
    text = value if isinstance(value, str) else short(value)
    return Text(text.replace("_", " ") if column == "quantity" else text)


def has_room(out: Console, built: Table) -> bool:
    """Whether the table fits this width with no line broken."""
    return out.measure(built, options=out.options.update(max_width=10_000)).maximum <= out.width


def fitting(out: Console, columns: Sequence[str], rows: Collection[Mapping[str, Value]]) -> tuple[Table, list[str]]:
    """A table of those columns that this width has room for, and the names of the others."""
    left_out: list[str] = []
    # A column of names breaks its lines before the interval is given up, and the rightmost before the leftmost.
    breaks = "quantity" in columns
    last = [(column,) for column in reversed(columns[1:])]
    for names in ((), *(EXPENDABLE[:-1] if breaks else (*EXPENDABLE, *last))):
        left_out += [name for name in names if name in columns and name not in left_out]
        built = table([column for column in columns if column not in left_out], rows)
        if has_room(out, built):
            break
    return built, [column for column in columns if column in left_out]


def print_grouped(out: Console, columns: Sequence[str], rows: Sequence[Mapping[str, Value]]) -> list[str]:
    """Rows with each quantity under a heading of its own; returns the columns there was no room for."""
    columns = [c for c in columns if c != "draws" and any(row.get(c) is not None for row in rows)]
    if not columns:
        return []
    built, left_out = fitting(out, columns, rows)
    lines = iter(out.render_lines(built, pad=False))
    out.print(SegmentLines([next(lines)], new_lines=True), end="")
    for quantity, group in groupby(rows, lambda row: row.get("quantity")):
        if quantity is not None:
            out.print(Text(str(quantity).replace("_", " "), style="italic"))
        out.print(SegmentLines([next(lines) for _ in group], new_lines=True), end="")
    return left_out


def without(left_out: Sequence[str]) -> str:
    """What to say of columns there was no room for."""
    return f"; no room for {', '.join(left_out).replace('_', ' ')}" if left_out else ""
