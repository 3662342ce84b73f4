"""The small chart of the terminal."""

import math

from resexp.report.chart import chart


def test_a_rising_line_rises_and_fills_the_corners() -> None:
    points = [(float(x), 3.0 * x) for x in range(50)]
    drawn = chart(points, [], width=20, height=5)
    assert drawn is not None
    assert (drawn.x, drawn.y) == ((0.0, 49.0), (0.0, 147.0))
    assert [len(line) for line in drawn.lines] == [20] * 5
    left = [min(k for k, (_, series) in enumerate(line) if series) for line in drawn.lines]
    assert left == sorted(left, reverse=True)
    assert drawn.lines[-1][0][1] == drawn.lines[0][-1][1] == "measured"


def test_theory_can_be_told_from_the_measurement_without_colours() -> None:
    measured, theory = [(0.0, 0.0), (1.0, 0.0)], [(0.0, 1.0), (1.0, 1.0)]
    drawn = chart(measured, theory, width=10, height=4)
    assert drawn is not None
    assert {characters for characters, _ in drawn.lines[0]} == {"·"}
    assert "·" not in {characters for characters, _ in drawn.lines[-1]}
    same = chart(theory, theory, width=10, height=4)
    assert same is not None
    assert {series for line in same.lines for _, series in line} == {"", "both", "theory"}


def test_what_is_not_finite_is_left_out_and_nothing_is_drawn_of_a_point() -> None:
    assert chart([(0.0, 1.0)], []) is None
    assert chart([(0.0, 1.0), (1.0, math.inf)], [(2.0, math.nan)]) is None
    drawn = chart([(0.0, 1.0), (1.0, math.inf), (2.0, 3.0)], [])
    assert drawn is not None
    assert drawn.y == (1.0, 3.0)
