"""An example for each parameter: a command that sets it to something else than its default, and that is taken."""

import shlex
import types
from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from resexp.core.errors import UsageError
from resexp.core.experiment import Experiment, is_positional
from resexp.runs.resolve import resolve
from resexp_cli.experiments import Output
from resexp_cli.experiments import command as command_of

Settings = dict[str, Any]
OUTPUT = {*(field.name for field in fields(Output)), "quick", "settings_file"}
WRITTEN_BY_HAND = Path(__file__).parent.parent / "examples.yaml"


def command(experiment: type[Experiment], name: str) -> str | None:
    """A command that sets the parameter, None where none is known: examples.yaml then wants one.

    A declared example that sets it comes first, then a value near the default, alone or beside a declared example.
    """
    by_hand = _by_hand()["commands"].get(experiment.name(), {}).get(name)
    if by_hand is not None:
        return str(by_hand)
    for words, said in _candidates(experiment, name):
        if _is_taken(experiment, said):
            return shlex.join(["resexp", experiment.name(), *words])
    return None


def of_verb(name: str) -> dict[str, str]:
    """Commands that show the options of a verb which its help has no example of, each with what it does."""
    return dict(_by_hand()["verbs"].get(name, {}))


def _is_taken(experiment: type[Experiment], said: Settings) -> bool:
    try:
        resolve(experiment, said, environment={})
    except UsageError:
        return False
    return True


@lru_cache(maxsize=256)
def _declared(experiment: type[Experiment]) -> list[tuple[list[str], Settings]]:
    """The words of each declared example, and what they set: parameters and common settings by name."""
    command, found = command_of(experiment), []
    for example in experiment.examples:
        words = shlex.split(example)[1:]
        said = command.make_context(experiment.name(), list(words)).params
        known = {key: value for key, value in said.items() if key not in OUTPUT and value not in (None, ())}
        found.append((words, known))
    return found


def _candidates(experiment: type[Experiment], name: str) -> Iterator[tuple[list[str], Settings]]:
    declared = _declared(experiment)
    yield from (each for each in declared if name in each[1])
    field = experiment.model_fields[name]
    option = [] if is_positional(field) else [f"--{name.replace('_', '-')}"]
    near: list[tuple[list[str], Any]] = []
    if field.annotation is bool:
        near.append(([f"--no-{option[0][2:]}"] if field.default else option, not field.default))
    else:
        by_hand = _by_hand()["values"].get(name)
        found = [by_hand] if by_hand is not None else list(_values(field.annotation, field.default))
        several = isinstance(field.default, tuple)
        default = ",".join(map(str, field.default)) if several else field.default
        values = [*found, default]  # the default itself, where nothing else is taken
        near += [([*option, str(value)], str(value)) for value in values if value is not None]
    for words, said in [([], {}), *declared]:
        for more, value in near:
            if value != "":
                yield [*words, *more], {**said, name: value}


@lru_cache(maxsize=1)
def _by_hand() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(WRITTEN_BY_HAND.read_text(encoding="utf-8"))
    return found


def _values(annotation: Any, default: Any) -> Iterator[Any]:
    """Values of the type other than the default: another choice, or a number near it; text has none."""
    if get_origin(annotation) in {Union, types.UnionType}:
        for part in get_args(annotation):
            yield from _values(part, default)
    if get_origin(annotation) is tuple:
        one = list(_values(get_args(annotation)[0], default[0] if default else None))
        yield from one
        yield from (f"{default[0]},{other}" for other in one if default)
    if get_origin(annotation) is Literal:
        yield from (choice for choice in get_args(annotation) if choice != default)
    if annotation is int:
        start = default or 1
        yield from (2 * start, start + 1, start - 1, start + 6, start + 2, 4, 100)
    if annotation is float:
        start = default or 0.1
        yield from (start / 2, 2 * start, 0.5, 1.0)
