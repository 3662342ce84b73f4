"""Lists and ranges of one option: `10,20,50`, `10:50:10`, `1:64:x2`."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from resexp.core.errors import UsageError

MOST_VALUES = 10_000
LARGEST_EXPONENT = 300


def spread(option: str, text: str) -> list[str]:
    """Values that one option's text stands for, in order, duplicates removed.

    `a,b,c` is a list; `start:stop`, `start:stop:step` and `start:stop:xfactor` are ranges that include their stop.
    Raises UsageError for a range that is none or that never ends.
    """
    values: dict[str, None] = {}
    for part in listed(option, text):
        for value in _range(option, part) if ":" in part else [part]:
            values[value] = None
            if len(values) > MOST_VALUES:
                raise UsageError(f"{option} {text}: more than {MOST_VALUES:,} values; use a larger step.")
    return list(values)


def listed(option: str, text: str) -> list[str]:
    """Items of a list such as `a,b,c`. Raises UsageError for an empty one."""
    items = [item.strip() for item in text.split(",")]
    if not text.strip():
        raise UsageError(f"{option} has no value.")
    if not all(items):
        raise UsageError(f"{option} {text}: a list such as a,b,c has no empty places.")
    return items


def takes_range(annotation: Any) -> bool:
    """Whether values of that type are numbers, so that a range can stand for them."""
    if get_origin(annotation) is Annotated:
        return takes_range(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return any(map(takes_range, get_args(annotation)))
    return annotation in (int, float)


def _range(option: str, text: str) -> Iterator[str]:
    parts = text.split(":")
    multiply = len(parts) == 3 and parts[2].startswith("x")
    try:
        start, stop = Decimal(parts[0]), Decimal(parts[1])
        step = Decimal(parts[2].removeprefix("x")) if len(parts) == 3 else Decimal(1)
    except (InvalidOperation, IndexError):
        step = Decimal("NaN")
    numbers = (start, stop, step) if step.is_finite() else (step,)
    # 1e999999999 would be written out in full, digit by digit
    bad = len(parts) > 3 or not all(x.is_finite() and abs(x.adjusted()) <= LARGEST_EXPONENT for x in numbers)
    if bad or step <= (1 if multiply else 0) or (multiply and start <= 0) or stop < start:
        raise UsageError(f"{option} {text}: a range is start:stop, start:stop:step or start:stop:xfactor, going up.")
    value = start
    while value <= stop:
        yield format(value.normalize(), "f") if value else "0"
        following = value * step if multiply else value + step
        if following == value:
            raise UsageError(f"{option} {text}: the step is lost beside {value}; use a larger one.")
        value = following
