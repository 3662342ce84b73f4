"""Sides of the maps in a U-Net of depth d, in closed form. Exact.

Each level takes two 3 x 3 convolutions, down and up again. Without padding each takes 2 pixels off a side, so a side b
at the bottom, after its convolutions, gives

    n = 2^d b + 8 2^d - 4   in,     2^d (b - 4) + 4   out,     n - out = 12 2^d - 8

b is a whole number, so n = -4 mod 2^d; and the output has a pixel if b >= 4 from depth 2 on, 3 at depth 1.
Convolutions that pad keep the side, and n = 0 mod 2^d.

Source: Ronneberger et al. 2015, figure 1; Prince 2023, figure 11.10 and problem 11.12.
"""


def border(depth: int, *, padded: bool) -> int:
    """Pixels by which a side of the output is shorter than that of the input."""
    return 0 if padded else (12 << depth) - 8


def smallest(depth: int, *, padded: bool) -> int:
    """Smallest side of an input that fits."""
    if padded:
        return 1 << depth
    bottom = 4 if depth > 1 else 3
    return (bottom + 8 << depth) - 4


def fits(side: int, depth: int, *, padded: bool) -> bool:
    """Whether every side that is halved is even and the output has a pixel."""
    return side >= smallest(depth, padded=padded) and (side + (0 if padded else 4)) % (1 << depth) == 0


def neighbours(side: int, depth: int, *, padded: bool) -> tuple[int | None, int]:
    """The nearest sides below and above that fit; None where there is none below."""
    step, offset, least = 1 << depth, 0 if padded else -4, smallest(depth, padded=padded)
    below = side - 1 - (side - 1 - offset) % step
    return (below if below >= least else None), max(side + step - (side - offset) % step, least)
