"""Lists and ranges of one option."""

from fractions import Fraction
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resexp.core.errors import UsageError
from resexp.runs.sweep import spread, takes_range


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("50", "50"),
        ("10,20, 50,10", "10 20 50"),
        ("10:50:10", "10 20 30 40 50"),
        ("1:4", "1 2 3 4"),
        ("1:64:x2", "1 2 4 8 16 32 64"),
        ("1:10:4,100", "1 5 9 100"),
        ("0:0.3:0.1", "0 0.1 0.2 0.3"),
        ("-1:1", "-1 0 1"),
        ("1e2:3e2:1e2", "100 200 300"),
        ("7:7", "7"),
        ("1:20:x1.5", "1 1.5 2.25 3.375 5.0625 7.59375 11.390625 17.0859375"),
        ("plain,residual", "plain residual"),
    ],
)
def test_stands_for(text: str, values: str) -> None:
    assert spread("--depth", text) == values.split()


@pytest.mark.parametrize(
    "text",
    [
        "1:2:1e-40",
        "1:1e300:x1.00000000000000000000000000000000001",
        "",
        " ",
        ",",
        "1,,2",
        "5:1",
        "1:5:0",
        "1:5:-1",
        "1:5:x1",
        "0:5:x2",
        "1:2:3:4",
        "a:b",
        "1:",
        ":",
        "1:nan",
        "1:inf",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="--depth"):
        spread("--depth", text)


@pytest.mark.parametrize(
    ("annotation", "takes"),
    [
        *((int, True), (float, True), (int | None, True), (Annotated[float, "scale"] | None, True)),
        *((bool, False), (str, False), (tuple[int, ...], False), (Literal[1, 2], False), (Literal["a"] | None, False)),
    ],
)
def test_numbers_take_ranges(annotation: Any, takes: bool) -> None:
    assert takes_range(annotation) is takes


@given(st.integers(-1000, 1000), st.integers(0, 50), st.fractions("0.001", 10, max_denominator=1000))
def test_a_range_goes_from_start_in_equal_steps_and_never_past_stop(start: int, count: int, step: Fraction) -> None:
    exact = Fraction(f"{float(step):.3f}")
    stop = start + count * exact
    values = [Fraction(value) for value in spread("--x", f"{start}:{float(stop):.3f}:{float(exact):.3f}")]
    assert values == [start + number * exact for number in range(count + 1)]


@given(st.text(max_size=20))
def test_any_text_is_spread_or_refused(text: str) -> None:
    try:
        assert spread("--x", text)
    except UsageError as error:
        assert "--x" in str(error)  # noqa: PT017
