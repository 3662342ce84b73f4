"""Commands that compute given cells: what a reader types to see the same numbers."""

import json
import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from resexp.core.errors import UsageError
from resexp.core.experiment import is_positional
from resexp.report.text import plain
from resexp.runs.cell import Cell
from resexp.runs.resolve import describe, is_list, resolve, swept
from resexp.runs.settings import Settings

FEWEST = 4
"""Values of a range."""
MOST_LINES = 12
"""Commands of one run that are told; of more, the last line says how many."""


def commands_of(cells: Sequence[Cell]) -> list[str]:
    """One `resexp ...` line where the cells are all combinations of what differs between them, else one for each.

    Each line is read as the command line reads it, and must stand for these cells and no others.
    """
    whole = _command(cells)
    if whole is not None:
        return [whole]
    lines = [line for cell in cells[:MOST_LINES] for line in [_command([cell])] if line is not None]
    more = len(cells) - len(lines)
    return [*lines, f"# and {more} more"] if more else lines


def _command(cells: Sequence[Cell]) -> str | None:
    """One line for the cells; None where no line stands for them."""
    kind = type(cells[0].experiment)
    fields = {**kind.model_fields, **Settings.model_fields}
    described = [describe(cell) for cell in cells]
    different = swept(cells)
    arguments, options, flags = list[str](), list[str](), dict[str, Any]()
    for name, first in described[0].items():
        if name not in different and first == _as_data(fields[name].get_default()):
            continue
        values = [one[name] for one in described] if name in different else [first]
        if None in values or (name in different and (is_list(kind, name) or fields[name].annotation is bool)):
            return None
        text = _listed(list(dict.fromkeys(_spelled(value) for value in values)))
        if is_positional(fields[name]):
            arguments += first if isinstance(first, list) else [text]
            flags[name] = tuple(first) if isinstance(first, list) else text
        elif fields[name].annotation is bool:
            options.append(f"--{'' if first else 'no-'}{_option(name)}")
            flags[name] = first
        else:
            options += [f"--{_option(name)}", text]
            flags[name] = text
    return shlex.join(["resexp", cells[0].name, *map(str, arguments), *options]) if _stand_for(flags, cells) else None


def _stand_for(flags: dict[str, Any], cells: Sequence[Cell]) -> bool:
    """Whether the command line reads these options as these cells."""
    try:
        read = resolve(type(cells[0].experiment), flags, environment={})
    except UsageError:
        return False
    return _identities(read) == _identities(cells)


def _identities(cells: Sequence[Cell]) -> list[str]:
    return sorted(json.dumps(describe(cell), sort_keys=True) for cell in cells)


def _listed(values: Sequence[str]) -> str:
    """A list, or `first:last:step` where so many integers are evenly spaced that a list would be longer."""
    if len(values) >= FEWEST and all(value.lstrip("-").isdigit() for value in values):
        numbers = sorted(map(int, values))
        steps = {after - before for before, after in pairwise(numbers)}
        if len(steps) == 1:
            return f"{numbers[0]}:{numbers[-1]}:{steps.pop()}"
    return ",".join(values)


def _option(name: str) -> str:
    return name.replace("_", "-")


def _spelled(value: Any) -> str:
    return str(plain(value))


def _as_data(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
