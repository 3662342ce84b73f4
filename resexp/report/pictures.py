"""Figures of pictures: a line for each setting and net, what it was given, what is right, and what it found."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from resexp.core.experiment import Pictures
from resexp.core.result import Value
from resexp.report.strips import said_of
from resexp.runs.cell import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 2.6
"""Inches of a picture."""


def draw_pictures(figure: "Figure", outcomes: Sequence[Outcome], plot: Pictures) -> None:
    """Fill a figure with the pictures of all settings and nets; its size is set here."""
    cells = [outcome.cell for outcome in outcomes]
    lines: list[tuple[str, list[tuple[str, NDArray[np.float64]]]]] = []
    for outcome in outcomes:
        rows = [row for row in outcome.result.rows if row.get("quantity") in plot.quantities]
        for net in dict.fromkeys(row.get(plot.series) for row in rows):
            by_name: dict[str, list[dict[str, Value]]] = {name: [] for name in plot.quantities}
            for row in (row for row in rows if row.get(plot.series) == net):
                by_name[str(row["quantity"])].append(row)
            found = [(name, _picture(some, plot)) for name, some in by_name.items()]
            title = ", ".join(filter(None, (said_of([outcome.cell], cells), str(net).replace("-", " "))))
            lines.append((title, [(name, picture) for name, picture in found if picture.size]))
    columns = max(len(pictures) for _, pictures in lines)
    tall = max(picture.shape[0] / picture.shape[1] for _, pictures in lines for _, picture in pictures)
    figure.set_size_inches(SIDE * columns, (SIDE * tall + 0.25) * len(lines) + 0.4)
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for line, (title, pictures) in zip(axes, lines, strict=True):
        for axis, (name, picture) in zip(line, pictures, strict=False):
            axis.imshow(picture, cmap="gray", interpolation="nearest")
            axis.set_title(f"{title}: {name.replace('_', ' ')}", fontsize=8)
        for axis in line:
            axis.set_axis_off()


def _picture(rows: Sequence[dict[str, Value]], plot: Pictures) -> NDArray[np.float64]:
    """Means of rows in any order, (y, x) from the top left on; nan where there is none."""
    places = [(row[plot.y], row[plot.x]) for row in rows]
    if not places:
        return np.empty((0, 0))
    whole = np.array(places, dtype=np.int64)
    picture = np.full(whole.max(0) + 1, np.nan)
    picture[tuple(whole.T)] = [np.nan if row["mean"] is None else row["mean"] for row in rows]
    return picture
