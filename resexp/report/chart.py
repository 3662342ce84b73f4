"""A small chart for the terminal in braille dots: what was measured, and where theory runs."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # [row][column] of a braille character


@dataclass(frozen=True)
class Chart:
    """Lines of (characters, series), series one of `measured`, `theory`, `both` or empty; x and y at the edges."""

    lines: list[list[tuple[str, str]]]
    x: tuple[float, float]
    y: tuple[float, float]


def chart(
    measured: Sequence[tuple[float, float]],
    theory: Sequence[tuple[float, float]],
    *,
    width: int = 60,
    height: int = 8,
) -> Chart | None:
    """Draw both series, points (x, y), on the same axes; None where there are not two places to draw.

    Theory alone is drawn as `·`, so that it can be told from the measurement without colours.
    """
    points = [p for p in (*measured, *theory) if math.isfinite(p[0]) and math.isfinite(p[1])]
    if len(points) < 2:
        return None
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    if left == right:
        return None
    low, high = min(y for _, y in points), max(y for _, y in points)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a constant runs through the middle
        low, high = low - 1.0, high + 1.0

    def dots(series: Sequence[tuple[float, float]]) -> dict[tuple[int, int], int]:
        cells: dict[tuple[int, int], int] = {}
        for x, y in series:
            if not (math.isfinite(x) and math.isfinite(y)):
                continue
            column = round((x - left) / (right - left or 1.0) * (2 * width - 1))
            row = round((high - y) / (high - low) * (4 * height - 1))
            cell = (row // 4, column // 2)
            cells[cell] = cells.get(cell, 0) | _DOTS[row % 4][column % 2]
        return cells

    of_measured, of_theory = dots(measured), dots(_dense(theory, 2 * width))
    lines = []
    for row in range(height):
        line = []
        for column in range(width):
            seen, said = of_measured.get((row, column), 0), of_theory.get((row, column), 0)
            series = "both" if seen and said else "measured" if seen else "theory" if said else ""
            line.append((chr(0x2800 | seen) if seen else "·" if said else " ", series))
        lines.append(line)
    return Chart(lines, (left, right), (low, high))


def _dense(points: Sequence[tuple[float, float]], count: int) -> list[tuple[float, float]]:
    """The points with straight lines between them, `count` a gap at most."""
    dense = list(points[:1])
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        steps = max(1, count // max(1, len(points) - 1))
        dense.extend((x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(1, steps + 1))
    return dense
