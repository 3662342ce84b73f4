"""From what was said to cells: flag before environment before file before default, and who said what."""

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, get_origin

from resexp.core.errors import UsageError
from resexp.core.experiment import Experiment
from resexp.runs.cell import Cell
from resexp.runs.settings import Settings
from resexp.runs.sweep import MOST_VALUES, listed, spread, takes_range

NEVER_SWEPT = ("device", "memory", "threads")
"""Settings that the numbers do not depend on, so that no column could tell their values apart."""


def environment_variable(experiment: type[Experiment], option: str) -> str:
    """Name of the environment variable that sets an option: RESEXP_<EXPERIMENT>_<OPTION>."""
    return f"RESEXP_{experiment.name()}_{option}".upper().replace("-", "_")


def is_list(experiment: type[Experiment], name: str) -> bool:
    """Whether a parameter takes a list as its value, so that commas do not sweep it."""
    field = experiment.model_fields.get(name)
    return field is not None and get_origin(field.annotation) is tuple


def resolve(
    experiment: type[Experiment],
    flags: Mapping[str, Any],
    file: Mapping[str, Any] | None = None,
    *,
    quick: bool = False,
    environment: Mapping[str, str] | None = None,
) -> list[Cell]:
    """Cells of one command: the product of the values of every swept option, the last option fastest.

    flags, file: option -> value, text or plain data; quick: use the experiment's small setting for what nobody
    set; environment: the process's own by default.
    Raises UsageError that names every wrong value.
    """
    environment = os.environ if environment is None else environment
    said: dict[str, Any] = {}
    sources: dict[str, str] = {}
    variables: list[str] = []
    for name in (*experiment.model_fields, *Settings.model_fields):
        variable = environment_variable(experiment, name)
        for source, values, key in (
            ("flag", flags, name),
            ("environment", environment, variable),
            ("file", file or {}, name),
            ("quick", experiment.quick if quick else {}, name),
        ):
            if key in values:
                said[name], sources[name] = values[key], source
                if source == "environment":
                    variables.append(variable)
                break
        else:
            sources[name] = "default"
    try:
        return _cells(experiment, said, sources)
    except UsageError as error:
        if not variables:
            raise
        raise UsageError(f"{error}\nFrom the environment: {', '.join(variables)}.") from None


def _cells(experiment: type[Experiment], said: Mapping[str, Any], sources: Mapping[str, str]) -> list[Cell]:
    choices = {name: _choices(experiment, name, value) for name, value in said.items()}
    count = math.prod(map(len, choices.values()))
    if count > MOST_VALUES:
        swept = ", ".join(f"--{name.replace('_', '-')}" for name, values in choices.items() if len(values) > 1)
        raise UsageError(f"{swept}: {count:,} settings together, and {MOST_VALUES:,} are the most; use larger steps.")
    cells: dict[str, Cell] = {}
    for combination in itertools.product(*choices.values()):
        values = dict(zip(choices, combination, strict=True))
        settings = {name: value for name, value in values.items() if name in Settings.model_fields}
        parameters = {name: value for name, value in values.items() if name in experiment.model_fields}
        cell = Cell(experiment.parse(parameters), Settings.parse(settings), sources)
        cells.setdefault(str(describe(cell)), cell)
    return list(cells.values())


def _choices(experiment: type[Experiment], name: str, value: Any) -> list[Any]:
    """Values that one option stands for; text may be a list or a range, plain data stands for itself."""
    if not isinstance(value, str):
        return [value]
    option = f"--{name.replace('_', '-')}"
    if is_list(experiment, name):
        return [tuple(listed(option, value))]
    return list(choices(experiment, name, option, value))


def choices(experiment: type[Experiment], name: str, option: str, text: str) -> list[str]:
    """Texts that the text of one option stands for: a list, or a range where values are numbers."""
    if name in NEVER_SWEPT or name in experiment.runs_code:  # names of nets have commas and colons of their own
        return [text]
    field = experiment.model_fields.get(name) or Settings.model_fields[name]
    if takes_range(field.annotation):
        return spread(option, text)
    return list(dict.fromkeys(listed(option, text)))


def swept(cells: Sequence[Cell]) -> list[str]:
    """Names of the parameters and settings that differ between cells, in the order of their declaration."""
    described = [describe(cell) for cell in cells]
    return [name for name in described[0] if len({str(d[name]) for d in described}) > 1] if described else []


def describe(cell: Cell) -> dict[str, Any]:
    """Parameters and the settings that matter for the numbers, as plain data."""
    settings = {"seed": cell.settings.seed, "dtype": cell.settings.dtype} if type(cell.experiment).random else {}
    return {**cell.experiment.model_dump(mode="json"), **settings}
