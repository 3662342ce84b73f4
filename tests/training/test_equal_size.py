"""The width that comes closest to a budget, against a search of all widths."""

import pytest

from resexp.core.errors import UsageError
from resexp.training.equal_size import closest_width


@pytest.mark.parametrize("budget", [4, 5, 6, 7, 100, 4_999, 12_345, 40_002, 40_004])
def test_it_is_the_closest_of_all(budget: int) -> None:
    def square(width: int) -> int:
        return width**2 + 3

    best = min(range(1, 201), key=lambda width: abs(square(width) - budget))
    if budget > square(200):
        with pytest.raises(UsageError, match="from 4 to 40,003"):
            closest_width(square, budget, 200)
    else:
        assert closest_width(square, budget, 200) == best


def test_what_no_width_gives_is_refused() -> None:
    with pytest.raises(UsageError, match="No width from 1 to 10 gives 5 parameters: these nets have from 10 to 100"):
        closest_width(lambda width: 10 * width, 5, 10)
