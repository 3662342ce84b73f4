"""What each normaliser averages over, in words and in a row of cells: a cell a channel of an example, with all pixels.

Source: Wu and He 2018, figure 2; Prince 2023, figure 11.14.
"""

OVER = {
    "batch": "over the examples of the batch and over space, each channel alone",
    "ghost": "over some of the examples and over space, each channel alone",
    "renorm": "over the examples of the batch and over space, each channel alone",
    "montecarlo": "over the examples of a training batch and over space, each channel alone",
    "layer": "over channels and space, each example alone",
    "group": "over some of the channels and over space, each example alone",
    "instance": "over space, each channel of each example alone",
    "weight": "over nothing: each weight vector is divided by its own length",
    "none": "over nothing",
}
IN, OUT = "■", "·"
MOST_EXAMPLES, MOST_CHANNELS = 4, 8


def over(name: str) -> str:
    """What the normaliser averages over, in words."""
    return OVER[name]


def picture(batch: int, channels: int, examples: int, together: int) -> str:
    """The first set: `examples` of the batch and `together` of the channels; at most four examples, eight channels.

    Where there are more, as large a part of what is shown is shaded, at least one cell and never all but of a whole.
    """
    rows, columns = min(batch, MOST_EXAMPLES), min(channels, MOST_CHANNELS)
    inside, wide = part(examples, batch, rows), part(together, channels, columns)
    shaded = IN * wide + OUT * (columns - wide)
    return "  ".join(shaded if example < inside else OUT * columns for example in range(rows))


def part(some: int, whole: int, shown: int) -> int:
    """How many of the shown cells stand for `some` of the whole."""
    if some == 0:
        return 0
    if some >= whole:
        return shown
    return min(max(1, round(some / whole * shown)), max(1, shown - 1))
