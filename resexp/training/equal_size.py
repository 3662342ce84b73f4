"""Nets of other depths with as many parameters: the width that comes closest to a budget."""

from collections.abc import Callable

from resexp.core.errors import UsageError

WIDEST = 1024


def closest_width(parameters: Callable[[int], int], budget: int, widest: int = WIDEST) -> int:
    """The width whose net has the number of parameters that is closest to the budget; of two the narrower.

    parameters: of the net of a width from 1 to `widest`, and rises with it. Raises UsageError where even width 1 has
    more than the budget, or `widest` less.
    """
    low, high = 1, widest
    if parameters(low) > budget or parameters(high) < budget:
        raise UsageError(
            f"No width from {low} to {high:,} gives {budget:,} parameters: these nets have from {parameters(low):,} to "
            f"{parameters(high):,}. Take another budget."
        )
    while high - low > 1:
        middle = (low + high) // 2
        if parameters(middle) <= budget:
            low = middle
        else:
            high = middle
    return min((low, high), key=lambda width: abs(parameters(width) - budget))
