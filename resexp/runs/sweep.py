"""Lists and ranges of one option: `10,20,50`, `10:50:10`, `1:64:x2`."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from resexp.core.errors import UsageError

MOST_VALUES = 10_000


def spread(option: str, text: str) -> list[str]:
    """Values that one option's text stands for, in order, duplicates removed.

    `a,b,c` is a list; `start:stop`, `start:stop:step` and `start:stop:xfactor` are ranges that include their stop.
    Raises UsageError for a range that is none or that never ends.
    """
    values: dict[str, None] = {}
    for part in text.split(","):
        if not part.strip():
            raise UsageError(f"{option} {text}: a list such as 10,20,50 has no empty places.")
        for value in _range(option, part.strip()) if ":" in part else [part.strip()]:
            values[value] = None
            if len(values) > MOST_VALUES:
                raise UsageError(f"{option} {text}: more than {MOST_VALUES} values; use a larger step.")
    return list(values)


def _range(option: str, text: str) -> Iterator[str]:
    parts = text.split(":")
    multiply = len(parts) == 3 and parts[2].startswith("x")
    try:
        start, stop = Decimal(parts[0]), Decimal(parts[1])
        step = Decimal(parts[2].removeprefix("x")) if len(parts) == 3 else Decimal(1)
    except (InvalidOperation, IndexError):
        step = Decimal("NaN")
    bad = len(parts) > 3 or not all(x.is_finite() for x in ((start, stop, step) if step.is_finite() else (step,)))
    if bad or step <= (1 if multiply else 0) or (multiply and start <= 0) or stop < start:
        raise UsageError(f"{option} {text}: a range is start:stop, start:stop:step or start:stop:xfactor, going up.")
    value = start
    while value <= stop:
        yield format(value.normalize(), "f") if value else "0"
        value = value * step if multiply else value + step
