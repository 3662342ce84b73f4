"""Figures: a panel a quantity, theory as a line, measurement as points with the band of its interval.

Before them the panels of curves that an experiment shows beside its rows, one strip a setting.
"""

import re
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import islice
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from resexp.core.errors import MissingError, ResexpError, UsageError
from resexp.core.experiment import Experiment, Pictures, Plot, Surface
from resexp.core.result import Value
from resexp.report.strips import COLOURS, curve_panels, draw_strips, said_of
from resexp.report.text import plain
from resexp.runs.cell import Outcome
from resexp.runs.resolve import describe, swept

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
UNIT = re.compile(r", (nats|pixels|bytes|seconds)\b")
"""Units as the meaning of a quantity tells them; most are pure numbers."""
MARKERS = (".", "^", "s", "x", "D", "+", "v")
"""With each colour once more: seven times seven settings are told apart."""
MARKER_SIZE = 3.5
MOST_INSIDE = 10
"""Entries of a legend that has its place inside each panel; a longer one stands beside all of them."""
LINE, COLUMN = 0.16, 1.8
"""Inches that an entry of the legend beside the panels takes."""
MOST_COLUMNS = 3
LETTERS = 9
"""Of a title on an inch."""


def check_plot(outcome_type: type[Experiment], path: Path) -> None:
    """Raise UsageError or MissingError where a figure could not be drawn into this file."""
    if path.suffix not in FORMATS:
        raise UsageError(f"--plot {path}: the name must end in {', '.join(FORMATS)}.")
    check_drawable(outcome_type)


def check_drawable(experiment: type[Experiment]) -> None:
    """Raise UsageError where results of the experiment have no figure, MissingError where nothing here can draw."""
    if experiment.plot is None and not experiment.sketched:
        raise UsageError(f"--plot: {experiment.name()} has nothing to draw.")
    try:
        import matplotlib as _  # noqa: F401
    except ImportError:
        raise MissingError("--plot needs matplotlib: pip install 'resexp[plots]'.") from None


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw the outcomes of one experiment into a file. Raises ResexpError where it cannot be written."""
    save(figure_of(outcomes), path)


def figure_of(outcomes: Sequence[Outcome], *, widest: int = 3) -> "Figure":
    """The figure of the outcomes of one experiment, at most so many panels wide.

    Raises UsageError where there is nothing to draw.
    """
    from matplotlib.figure import Figure

    experiment = outcomes[0].cell.experiment
    plot = type(experiment).plot
    with style():
        figure = Figure(layout="constrained")
        middle = 0.5
        if experiment.sketched:
            _draw_sketches(figure, outcomes)
        elif plot is None:
            raise UsageError(f"{outcomes[0].cell.name} has nothing to draw.")
        elif isinstance(plot, Surface):
            from resexp.report.surface import draw_surfaces

            draw_surfaces(figure, outcomes, plot)
        elif isinstance(plot, Pictures):
            from resexp.report.pictures import draw_pictures

            draw_pictures(figure, outcomes, plot)
        else:
            middle = _draw_panels(figure, outcomes, plot, widest)
        figure.suptitle(fill(_title(outcomes), max(30, int(LETTERS * figure.get_figwidth()))), x=middle)
    return figure


def style() -> AbstractContextManager[None]:
    """One style for all figures: text stays text in SVG, and the same figure is the same bytes."""
    import matplotlib as mpl
    from cycler import cycler

    colours = cycler(color=COLOURS)
    return mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "resexp", "font.size": 9, "axes.prop_cycle": colours}
    )


def _draw_panels(figure: "Figure", outcomes: Sequence[Outcome], plot: Plot, widest: int) -> float:
    """A panel a quantity; where the middle of the panels is, as a share of the figure's width."""
    strips, panels = curve_panels(outcomes), _panels(outcomes)
    count = len(strips) + len(panels)
    columns = min(widest, 3 if count == 3 else min(2, count))
    lines = -(-count // columns)
    height = max([3.3, *(0.6 + 0.6 * len(panel) for panel in strips.values())])
    figure.set_size_inches(4.6 * columns, height * lines)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, name in zip(axes, strips, strict=False):
        draw_strips(axis, name, strips[name])
    for axis, panel in zip(axes[len(strips) :], panels, strict=False):
        _draw_panel(axis, outcomes, plot, panel)
    for axis in axes[count:]:
        axis.set_axis_off()
    return _draw_legends(figure, axes) / 2


def _draw_sketches(figure: "Figure", outcomes: Sequence[Outcome]) -> None:
    """One sketch under another, a setting each."""
    cells = [outcome.cell for outcome in outcomes]
    widths, heights = zip(*(cell.experiment.sketch_size() for cell in cells), strict=True)
    figure.set_size_inches(max(widths), sum(heights))
    axes = figure.subplots(len(cells), squeeze=False, height_ratios=heights).ravel()
    for axis, cell in zip(axes, cells, strict=True):
        cell.experiment.sketch(axis)
        axis.set_title(said_of([cell], cells), fontsize=9)


def save(figure: "Figure", path: Path) -> None:
    """Write beside and rename, so that a full disk leaves an earlier figure whole. Raises ResexpError."""
    beside = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        with style():
            figure.savefig(beside, dpi=160, metadata=metadata)
        beside.rename(path)
    except OSError as error:
        raise ResexpError(f"The figure could not be written to {path}: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _rows_of(outcomes: Sequence[Outcome]) -> list[dict[str, Value]]:
    return [row for outcome in outcomes for row in outcome.result.rows]


def _panels(outcomes: Sequence[Outcome]) -> list[str | None]:
    """Quantities to draw; None for a table without quantities."""
    rows = _rows_of(outcomes)
    if not rows or "quantity" not in rows[0]:
        return [None]
    return list(dict.fromkeys(str(row["quantity"]) for row in rows))


def _draw_panel(axis: "Axes", outcomes: Sequence[Outcome], plot: Plot, quantity: str | None) -> None:
    from matplotlib.ticker import MaxNLocator

    cells = [outcome.cell for outcome in outcomes]
    positive, kinds = True, dict[str, None]()
    measured = plot.y.replace("_", " ") if quantity is None else "measured"
    first: Mapping[str, Value] = next(iter(_rows_of(outcomes)), {})
    weights = [name for name in first if name.startswith("weight_")] if quantity is None else []
    curves = _curves(outcomes, plot.series)
    for index, (outcome, value) in enumerate(curves):
        rows = [row for row in outcome.result.rows if quantity is None or row["quantity"] == quantity]
        rows = [row for row in rows if not plot.series or row[plot.series] == value]
        rows = [row for row in rows if _number(row, plot.x) is not None and _number(row, plot.y) is not None]
        if not rows:
            continue
        x, y = _column(rows, plot.x), _column(rows, plot.y)
        positive = positive and min(y) > 0
        number = index * (1 + len(weights))
        colour, marker = look(number)
        said = ", ".join(part for part in (said_of([outcome.cell], cells), str(value or "")) if part)
        label = said or measured
        axis.plot(x, y, color=colour, marker=marker, markersize=MARKER_SIZE, lw=0.6, label=label)
        if quantity is not None:
            kinds |= _draw_interval_and_theory(axis, rows, plot.x, colour)
        else:
            _draw_weights(axis, rows, plot.x, weights, number + 1, said)
    if kinds:
        axis.plot([], [], "--", color="#444444", lw=1, label=f"theory ({', '.join(kinds)})")
    with warnings.catch_warnings():  # a curve of one value takes matplotlib's own margin, which is no news
        warnings.filterwarnings("ignore", "Attempting to set identical")
        axis.set_yscale("log" if plot.log_y and positive else "linear")
        axis.autoscale_view()
    axis.set_xlabel(plot.x)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylabel(with_unit(outcomes[0], quantity) if quantity else plot.y.replace("_", " "))
    axis.grid(alpha=0.25, linewidth=0.5)


def with_unit(outcome: Outcome, quantity: str) -> str:
    """Name of a quantity for an axis, with the unit that its meaning tells, if it has one."""
    declared = getattr(outcome.cell.experiment, "quantities", ())
    meaning = next((one.meaning for one in declared if one.name == quantity), "")
    unit = UNIT.search(meaning)
    return quantity.replace("_", " ") + (f" ({unit.group(1)})" if unit else "")


def _curves(outcomes: Sequence[Outcome], series: str) -> list[tuple[Outcome, Value]]:
    """Each curve of a panel: an outcome, or one value of its column `series`; in every panel in the same order."""
    if not series:
        return [(outcome, None) for outcome in outcomes]
    return [(o, value) for o in outcomes for value in dict.fromkeys(row.get(series) for row in o.result.rows)]


def _draw_legends(figure: "Figure", axes: Iterable["Axes"]) -> float:
    """A legend in each panel, or where that would hide the curves one for all, cut short where it is endless.

    Returns the share of the figure's width that the panels have.
    """
    from matplotlib.lines import Line2D

    told = {axis: list(zip(*axis.get_legend_handles_labels(), strict=True)) for axis in axes}
    entries = {label: handle for pairs in told.values() for handle, label in pairs}
    if len(entries) <= MOST_INSIDE:
        for axis in (axis for axis, pairs in told.items() if pairs):
            axis.legend(fontsize=7, frameon=False).set_in_layout(False)
        return 1.0
    lines = int(figure.get_figheight() / LINE) - 2
    columns = min(MOST_COLUMNS, -(-len(entries) // lines))
    beyond = len(entries) - columns * lines
    if beyond > 0:
        entries = dict(islice(entries.items(), columns * lines - 1))
        entries[f"and {beyond + 1} more"] = Line2D([], [], linewidth=0)
    width = figure.get_figwidth()
    figure.set_figwidth(width + columns * COLUMN)
    figure.legend(entries.values(), entries.keys(), loc="outside right upper", ncols=columns, fontsize=7, frameon=False)
    return width / figure.get_figwidth()


def look(number: int) -> tuple[str, str]:
    """Colour and marker of a curve, told apart from those of the 48 before it."""
    return COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]


def _draw_interval_and_theory(
    axis: "Axes", rows: Sequence[Mapping[str, Value]], x: str, colour: str
) -> dict[str, None]:
    """Draw them in the colour of their cell; return the kinds of theory, for the legend."""
    banded = [row for row in rows if _number(row, "ci_low") is not None and _number(row, "ci_high") is not None]
    if banded:
        axis.fill_between(
            _column(banded, x), _column(banded, "ci_low"), _column(banded, "ci_high"), color=colour, alpha=0.2, lw=0
        )
    said = [row for row in rows if _number(row, "theory") is not None]
    if said:
        axis.plot(_column(said, x), _column(said, "theory"), "--", color="#444444", lw=1.2)
        axis.plot(_column(said, x), _column(said, "theory"), "--", color=colour, lw=0.8)
    return dict.fromkeys(str(row["theory_kind"]) for row in said)


def _draw_weights(
    axis: "Axes", rows: Sequence[Mapping[str, Value]], x: str, names: Sequence[str], first: int, said: str
) -> None:
    """Weights of a table, as the curves of those numbers. said: of their setting, if there are several."""
    for number, name in enumerate(names, start=first):
        colour, marker = look(number)
        label = ", ".join([name.replace("_", " "), *([said] if said else [])])
        marker = "" if marker == MARKERS[0] else marker
        y = _column(rows, name)
        axis.plot(_column(rows, x), y, color=colour, marker=marker, markersize=MARKER_SIZE, lw=1, label=label)


def _number(row: Mapping[str, Value], column: str) -> float | None:
    value = row.get(column)
    return None if value is None or isinstance(value, str) else float(value)


def _column(rows: Sequence[Mapping[str, Value]], column: str) -> list[float]:
    return [number for row in rows if (number := _number(row, column)) is not None]


def _title(outcomes: Sequence[Outcome]) -> str:
    """Name and the parameters that were set by somebody."""
    cell, names = outcomes[0].cell, swept([outcome.cell for outcome in outcomes])
    fields = type(cell.experiment).model_fields
    set_ones = {n: v for n, v in describe(cell).items() if n in fields and fields[n].default != v and n not in names}
    said = [f"{name.replace('_', ' ')} {plain(value)}" for name, value in set_ones.items() if value is not None]
    return ", ".join([cell.name, *said])
