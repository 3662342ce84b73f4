"""Headline figures of a sweep against what was swept: the comparison of its settings, drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from resexp.core.result import Value
from resexp.report.figure import look, style, with_unit
from resexp.report.page.picture import PAGE_STYLE, Picture, drawn
from resexp.report.text import headlines, swept_values
from resexp.runs.cell import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 3
"""Values of a swept number from which on a curve says more than a table."""
MOST_PANELS, MOST_CURVES = 6, 8


def comparison_of(outcomes: Sequence[Outcome], name: str) -> Picture | None:
    """Headline figures over the swept number with most values, a curve for each other setting; None without one."""
    settings = swept_values([outcome.cell for outcome in outcomes])
    x = _axis(settings)
    rows = [row for row in headlines(outcomes) if isinstance(row.get("mean"), int | float)]
    if x is None or not rows:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    quantities = list(dict.fromkeys(str(row["quantity"]) for row in rows))[:MOST_PANELS]
    others = [key for key in settings[0] if key != x]
    for row in rows:
        row["curve"] = ", ".join(f"{key.replace('_', ' ')} {row[key]}" for key in others)
    curves = list(dict.fromkeys(str(row["curve"]) for row in rows))[:MOST_CURVES]
    with style(), mpl.rc_context(PAGE_STYLE):
        columns = min(2, len(quantities))
        lines = -(-len(quantities) // columns)
        figure = Figure(layout="constrained", figsize=(4.6 * columns, 3.2 * lines))
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for axis, quantity in zip(axes, quantities, strict=False):
            _draw(axis, [row for row in rows if row["quantity"] == quantity], x, curves)
            axis.set_ylabel(with_unit(outcomes[0], quantity))
        for axis in axes[len(quantities) :]:
            axis.set_axis_off()
    said = ", ".join(quantity.replace("_", " ") for quantity in quantities)
    return drawn(figure, f"{name}-compared", f"{said} against {x.replace('_', ' ')}, theory as dashed lines.")


def _axis(settings: Sequence[Mapping[str, Value]]) -> str | None:
    """The swept number with most values; seeds are no number in this."""
    counts = {
        key: len({one[key] for one in settings})
        for key in settings[0]
        if key != "seed" and all(_is_number(one[key]) for one in settings)
    }
    best = max(counts, key=counts.__getitem__, default=None)
    return best if best is not None and counts[best] >= FEWEST else None


def _draw(axis: "Axes", rows: Sequence[Mapping[str, Value]], x: str, curves: Sequence[str]) -> None:
    """A panel; a curve has the same colour in each, whether it is in all of them or not."""
    for number, said in enumerate(curves):
        curve = sorted((row for row in rows if row["curve"] == said), key=lambda row: _number(row[x]))
        if not curve:
            continue
        colour, marker = look(number)
        axis.plot(
            *_points(curve, x, "mean"), color=colour, marker=marker, markersize=3.5, lw=0.8, label=said or "measured"
        )
        at, low, high = _points(curve, x, "ci_low", "ci_high")
        axis.fill_between(at, low, high, color=colour, alpha=0.2, lw=0)
        axis.plot(*_points(curve, x, "theory"), "--", color=colour, lw=1)
    axis.set_xlabel(x.replace("_", " "))
    axis.grid(alpha=0.25, linewidth=0.5)
    axis.legend(fontsize=7, frameon=False)


def _points(rows: Sequence[Mapping[str, Value]], *columns: str) -> list[list[float]]:
    """The columns of those rows that have a number in each."""
    whole = [[_number(row[c]) for c in columns] for row in rows if all(_is_number(row.get(c)) for c in columns)]
    return [[values[k] for values in whole] for k in range(len(columns))]


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Value) -> float:
    assert isinstance(value, int | float)
    return float(value)
