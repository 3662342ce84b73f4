"""What a terminal shows of a long table: about ten well-chosen rows, and the series of the small chart."""

import math
from collections.abc import Sequence

from resexp.core.experiment import Plot
from resexp.core.result import Result, Value

SHOWN_ROWS = 10
WHOLE_TABLE = 24
"""A table of so many rows is shown as it is."""


def chosen_rows(result: Result, axes: Sequence[str], count: int = SHOWN_ROWS) -> list[dict[str, Value]]:
    """Rows at the first, second, last and evenly spaced places of the first axis; for each quantity the same.

    Rows of single networks, such as the points of a surface, are left to the CSV where there are others.
    """
    rows = [row for row in result.rows if row.get("draws") != 1] or result.rows
    if len(rows) <= WHOLE_TABLE:
        return by_quantity(rows)
    places = list(dict.fromkeys(row.get(axes[0]) for row in rows))
    quantities = list(dict.fromkeys(row.get("quantity") for row in rows))
    each = count if len(quantities) <= 1 else max(4, count // len(quantities))
    kept = set(_spread(places, each))
    return by_quantity([row for row in rows if row.get(axes[0]) in kept])


def by_quantity(rows: Sequence[dict[str, Value]]) -> list[dict[str, Value]]:
    """The rows, those of one quantity together."""
    quantities = dict.fromkeys(row.get("quantity") for row in rows)
    return [row for quantity in quantities for row in rows if row.get("quantity") == quantity]


def _spread(places: list[Value], count: int) -> list[Value]:
    """`count` places: the first two, the last, and evenly in between."""
    if len(places) <= count:
        return places
    steps = count - 2
    picks = {0, 1, *(round(1 + (len(places) - 2) * i / steps) for i in range(1, steps + 1))}
    return [places[i] for i in sorted(picks)]


def series(result: Result, plot: Plot) -> tuple[str, list[tuple[float, float]], list[tuple[float, float]]]:
    """Label, measured points and theory points of the chart; y is the base-10 logarithm on a logarithmic axis."""
    first = result.rows[0].get("quantity") if result.rows else None
    rows = [row for row in result.rows if row.get("quantity") == f"log2_{first}"]  # there if float64 cannot hold it
    first = f"log2_{first}" if rows else first
    rows = rows or [row for row in result.rows if row.get("quantity") == first]
    label = str(first or plot.y).replace("_", " ")
    logarithmic = (
        plot.log_y
        and not label.startswith("log2")
        and all(isinstance(v := row.get(plot.y), int | float) and v > 0 for row in rows)
    )

    def points(column: str) -> list[tuple[float, float]]:
        found = []
        for row in rows:
            x, y = row.get(plot.x), row.get(column)
            if isinstance(x, int | float) and isinstance(y, int | float) and (not logarithmic or y > 0):
                found.append((float(x), math.log10(y) if logarithmic else float(y)))
        return found

    return (f"log10 {label}" if logarithmic else label), points(plot.y), points("theory")
