"""Panels of the curves that an experiment shows beside its rows: one strip under another, a strip a setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resexp.core.experiment import Curve
from resexp.report.text import plain
from resexp.runs.cell import Cell, Outcome
from resexp.runs.resolve import describe, swept

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHARED = "#444444"
LABEL_ROOM = 0.45
"""For the label above each strip, over the mean height of a strip."""


@dataclass(frozen=True)
class Strip:
    """A curve, and the settings it is of: what sets them apart from the others, and their colour."""

    curve: Curve
    label: str
    colour: str


def curve_panels(outcomes: Sequence[Outcome]) -> dict[str, list[Strip]]:
    """Strips of each panel, computed in each cell's own lab. A curve that several settings share is one strip."""
    panels: dict[str, dict[Curve, list[int]]] = {}
    for number, outcome in enumerate(outcomes):
        for curve in outcome.cell.experiment.curves(outcome.cell.lab()):
            panels.setdefault(curve.panel, {}).setdefault(curve, []).append(number)
    cells = [outcome.cell for outcome in outcomes]
    return {
        panel: [
            Strip(
                curve,
                said_of([cells[number] for number in numbers], cells),
                COLOURS[numbers[0] % len(COLOURS)] if len(numbers) == 1 else SHARED,
            )
            for curve, numbers in curves.items()
        ]
        for panel, curves in panels.items()
    }


def said_of(some: Sequence[Cell], cells: Sequence[Cell]) -> str:
    """What sets some of the cells of a sweep apart from all of them, such as `scheme plain/residual, depth 10`."""

    def values(name: str, of: Sequence[Cell]) -> list[str]:
        return list(dict.fromkeys(str(plain(describe(cell)[name])) for cell in of))

    apart = {name: values(name, some) for name in swept(cells) if len(values(name, some)) < len(values(name, cells))}
    return ", ".join(f"{name} {'/'.join(of_some)}" for name, of_some in apart.items())


def draw_strips(axis: "Axes", panel: str, strips: Sequence[Strip]) -> None:
    """Draw the curves of a panel, each about a zero of its own if there are several."""
    labels = {strip.curve.label for strip in strips}
    axis.set_title(f"{panel}: {labels.pop()}" if len(labels) == 1 else panel, fontsize=9)
    several = len(strips) > 1
    room = LABEL_ROOM * sum(high - low for low, high in map(_extent, strips)) / len(strips)
    top = 0.0
    for strip in strips:
        curve, (low, high) = strip.curve, _extent(strip)
        zero = top - room - high if several else 0.0
        axis.axhline(zero, color="#000000", linewidth=0.5, alpha=0.4)
        axis.plot(curve.x, [zero + y for y in curve.y], color=strip.colour, linewidth=0.9)
        if several:
            axis.text(min(curve.x), top - 0.2 * room, strip.label, color=strip.colour, fontsize=7, va="top")
        top = zero + low
    if several:
        axis.set_yticks([])
        axis.set_ylim(top - 0.25 * room, 0.0)
    axis.set_xlabel(strips[0].curve.x_label)
    axis.set_ylabel(strips[0].curve.y_label)
    axis.grid(alpha=0.25, linewidth=0.5)


def _extent(strip: Strip) -> tuple[float, float]:
    """Lowest and highest value, zero among them: its line belongs to the strip."""
    return min(0.0, *strip.curve.y), max(0.0, *strip.curve.y)
