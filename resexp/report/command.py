"""The command that computes given cells: what a reader types to see the same numbers."""

import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from resexp.core.experiment import is_positional
from resexp.report.text import plain
from resexp.runs.cell import Cell
from resexp.runs.resolve import describe, swept
from resexp.runs.settings import Settings

FEWEST = 4
"""Values of a range."""


def command_of(cells: Sequence[Cell]) -> str:
    """One `resexp ...` line for the cells of a sweep: what is not at its default, and what is swept as a list.

    The line stands for all combinations of what is swept, as the command line has it.
    """
    kind = type(cells[0].experiment)
    fields = {**kind.model_fields, **Settings.model_fields}
    described = [describe(cell) for cell in cells]
    different = swept(cells)
    arguments, options = [], []
    for name in described[0]:
        values = list(dict.fromkeys(_spelled(one[name]) for one in described if one[name] is not None))
        default = fields[name].get_default()
        if not values or (name not in different and described[0][name] == _as_data(default)):
            continue
        text = as_range(values) or ",".join(values)
        if is_positional(fields[name]):
            arguments += [*described[0][name]] if isinstance(described[0][name], list) else [text]
        elif fields[name].annotation is bool and len(values) == 1:
            options.append(f"--{'' if text == 'true' else 'no-'}{name.replace('_', '-')}")
        else:
            options += [f"--{name.replace('_', '-')}", text]
    return shlex.join(["resexp", cells[0].name, *map(str, arguments), *options])


def as_range(values: Sequence[str]) -> str | None:
    """`first:last:step` where so many integers are evenly spaced that a list would be longer."""
    if len(values) < FEWEST or not all(value.lstrip("-").isdigit() for value in values):
        return None
    numbers = sorted(map(int, values))
    steps = {after - before for before, after in pairwise(numbers)}
    return f"{numbers[0]}:{numbers[-1]}:{steps.pop()}" if len(steps) == 1 else None


def _spelled(value: Any) -> str:
    return str(plain(value))


def _as_data(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
