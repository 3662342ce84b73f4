"""What a terminal shows of a long table."""

import itertools

from resexp.core.experiment import Plot
from resexp.core.result import Result, Value
from resexp.report.digest import SHOWN_ROWS, WHOLE_TABLE, chosen_rows, series


def rows(count: int, *quantities: str) -> list[dict[str, Value]]:
    return [{"block": k, "quantity": q, "mean": 2.0**k, "theory": 2.0**k} for k in range(count) for q in quantities]


def test_a_short_table_is_shown_whole_quantity_by_quantity() -> None:
    shown = chosen_rows(Result(("block", "quantity"), rows(WHOLE_TABLE // 2, "a", "b")), ("block",))
    assert [row["quantity"] for row in shown] == ["a"] * (WHOLE_TABLE // 2) + ["b"] * (WHOLE_TABLE // 2)


def test_of_a_long_one_the_ends_and_even_steps_between() -> None:
    shown = [row["block"] for row in chosen_rows(Result(("block",), rows(1001, "a")), ("block",))]
    assert len(shown) == SHOWN_ROWS
    assert (shown[0], shown[1], shown[-1]) == (0, 1, 1000)
    numbers = [block for block in shown if isinstance(block, int)]
    steps = [b - a for a, b in itertools.pairwise(numbers[1:])]
    assert max(steps) - min(steps) <= 1


def test_all_quantities_are_shown_at_the_same_places() -> None:
    shown = chosen_rows(Result(("block",), rows(100, "a", "b", "c", "d")), ("block",))
    places = {q: [row["block"] for row in shown if row["quantity"] == q] for q in "abcd"}
    assert len({tuple(blocks) for blocks in places.values()}) == 1
    assert len(places["a"]) == 4


def test_the_chart_takes_the_first_quantity_on_a_logarithmic_axis() -> None:
    label, measured, theory = series(Result(("block",), rows(5, "a", "b")), Plot(x="block", log_y=True))
    assert label == "log10 a"
    assert len(measured) == len(theory) == 5
    assert measured == theory
    assert measured[1][1] == 0.30102999566398120
