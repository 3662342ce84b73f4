"""Figures of surfaces: contours, a 3-D view, and contours with the path of a training, a line of panels for each net.

Heights are shared by all panels, on a logarithmic scale where all are positive; rows of cells that computed bands of
one grid are put together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from resexp.core.experiment import Surface
from resexp.core.result import Value
from resexp.report.strips import said_of
from resexp.runs.cell import Outcome
from resexp.runs.resolve import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Line = Mapping[str, Value]
SIDE = 3.6
"""Inches of a panel."""
LEVELS = 18
HIGHEST = 1e3
"""Heights beyond so many times the median one are drawn as that: a cliff would hide everything else."""


@dataclass(frozen=True)
class Grid:
    """z (rows, columns) at x (columns,) and y (rows,); path: (points, 2) in order, or nothing."""

    title: str
    x: Array
    y: Array
    z: Array
    path: Array


def draw_surfaces(figure: "Figure", outcomes: Sequence[Outcome], plot: Surface) -> None:
    """Fill a figure with the surfaces of all settings and nets; its size is set here."""
    lines = [grids for some in _settings(outcomes, plot) for grids in _nets(some, outcomes, plot)]
    columns = max(len(_panels(grids)) for grids in lines)
    figure.set_size_inches(SIDE * columns, (SIDE - 0.2) * len(lines) + 0.4)
    heights = np.concatenate([grid.z[np.isfinite(grid.z)] for grids in lines for grid in grids])
    logarithmic = bool(heights.size) and heights.min() > 0
    top = min(heights.max(), HIGHEST * np.median(heights)) if heights.size else 1.0
    low = float(heights.min()) if heights.size else 0.0
    levels = np.geomspace(low, top, LEVELS) if logarithmic else np.linspace(low, top, LEVELS)
    levels = np.unique(levels) if levels[0] < levels[-1] else np.array([low, low + 1.0])
    for line, grids in enumerate(lines):
        for column, (grid, is_3d) in enumerate(_panels(grids)):
            place = line * columns + column + 1
            axis = figure.add_subplot(len(lines), columns, place, projection="3d" if is_3d else None)
            (_draw_3d if is_3d else _draw_contours)(axis, grid, levels, plot, logarithmic)


def _panels(grids: Sequence[Grid]) -> list[tuple[Grid, bool]]:
    """What is drawn of the grids of one net: each as contours, that without a path in 3-D as well."""
    return [(grid, is_3d) for grid in grids for is_3d in ((False,) if len(grid.path) else (False, True))]


def _settings(outcomes: Sequence[Outcome], plot: Surface) -> Iterator[list[Outcome]]:
    """The outcomes that are parts of one grid, together."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        said = {name: value for name, value in describe(outcome.cell).items() if name != plot.part}
        groups.setdefault(str(said), []).append(outcome)
    yield from groups.values()


def _nets(some: Sequence[Outcome], all_of_them: Sequence[Outcome], plot: Surface) -> Iterator[list[Grid]]:
    """The grids of each net of one setting: the first seed's first plane of each kind."""
    rows = [row for outcome in some for row in outcome.result.rows]
    cells = [outcome.cell for outcome in all_of_them]
    label = said_of([outcome.cell for outcome in some], cells) if len(_distinct(cells, plot)) > 1 else ""
    for net in dict.fromkeys(str(row["net"]) for row in rows if row["quantity"] == plot.quantity):
        of_net = [row for row in rows if row.get("net") == net]
        planes = dict.fromkeys(row["plane"] for row in of_net if row["quantity"] == plot.quantity)
        path = _path([row for row in of_net if row["quantity"] == plot.path])
        grids = []
        for plane in planes:
            points = [row for row in of_net if row["quantity"] == plot.quantity and row["plane"] == plane]
            first = (points[0].get("seed"), points[0].get("pair"))
            points = [row for row in points if (row.get("seed"), row.get("pair")) == first]
            title = ", ".join(filter(None, (net, str(plane), label)))
            grids.append(_grid(title, points, path if plane == "trajectory" else np.empty((0, 2)), plot))
        yield grids


def _distinct(cells: Sequence[object], plot: Surface) -> set[str]:
    return {str({n: v for n, v in describe(cell).items() if n != plot.part}) for cell in cells}  # type: ignore[arg-type]


def _grid(title: str, points: Sequence[Line], path: Array, plot: Surface) -> Grid:
    """Points in any order as a grid; nan where there is no number."""
    x, y = (sorted({_number(row, name) for row in points}) for name in (plot.x, plot.y))
    column, line = ({value: k for k, value in enumerate(of)} for of in (x, y))
    z = np.full((len(y), len(x)), np.nan)
    for row in points:
        z[line[_number(row, plot.y)], column[_number(row, plot.x)]] = _number(row, "mean")
    return Grid(title, np.array(x), np.array(y), z, path)


def _path(rows: Sequence[Line]) -> Array:
    """Places in the order of the epochs, each once."""
    places = {_number(row, "epoch"): (_number(row, "x"), _number(row, "y")) for row in rows}
    return np.array([places[epoch] for epoch in sorted(places)]).reshape(-1, 2)


def _number(row: Line, column: str) -> float:
    value = row.get(column)
    return np.nan if value is None or isinstance(value, str) else float(value)


def _draw_contours(axis: "Axes", grid: Grid, levels: Array, plot: Surface, logarithmic: bool) -> None:
    from matplotlib.colors import LogNorm, Normalize

    norm = LogNorm(levels[0], levels[-1]) if logarithmic else Normalize(levels[0], levels[-1])
    if min(grid.z.shape) > 1:
        z = np.clip(grid.z, levels[0], levels[-1])
        axis.contourf(grid.x, grid.y, z, levels=levels, norm=norm, cmap="viridis", alpha=0.85)
        drawn = axis.contour(grid.x, grid.y, z, levels=levels, norm=norm, colors="black", linewidths=0.4)
        axis.clabel(drawn, levels[::3].tolist(), fmt=_short, fontsize=6)
    if len(grid.path):
        axis.plot(*grid.path.T, color="#D55E00", linewidth=1.2, marker=".", markersize=3)
        axis.plot(*grid.path[-1], color="#D55E00", marker="*", markersize=9)
    axis.set_title(grid.title, fontsize=9)
    axis.set_xlabel(plot.x)
    axis.set_ylabel(plot.y)


def _short(height: float) -> str:
    return f"{height:,.0f}" if height >= 10 else f"{height:.2g}"


def _draw_3d(axis: "Axes", grid: Grid, levels: Array, plot: Surface, logarithmic: bool) -> None:
    """Heights as logarithms where those are drawn: a 3-D axis has no logarithmic scale."""
    z = np.clip(grid.z, levels[0], levels[-1])
    low, high = levels[0], levels[-1]
    if logarithmic:
        z, low, high = np.log10(z), np.log10(low), np.log10(high)
    x, y = np.meshgrid(grid.x, grid.y)
    if min(z.shape) > 1:
        axis.plot_surface(  # type: ignore[attr-defined]
            x, y, z, cmap="viridis", vmin=low, vmax=high, linewidth=0.1, edgecolor="#00000040", rstride=1, cstride=1
        )
    axis.set_zlim(low, high)  # type: ignore[attr-defined]
    axis.set_title(f"{'log10 ' if logarithmic else ''}{plot.quantity.replace('_', ' ')}", fontsize=9)
    axis.tick_params(labelsize=6)
    axis.set_xlabel(plot.x)
    axis.set_ylabel(plot.y)
