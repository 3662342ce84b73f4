"""What the environment and the command line say over the entries of a file: `--set depth=50`, `--set depth=1:64:x2`.

A value replaces what the file sets or sweeps, a list or a range sweeps in its place. Flags come before the
environment, and the environment before the file.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from resexp.core.errors import UsageError, nearest
from resexp.core.experiment import Experiment
from resexp.runs import registry
from resexp.runs.complaints import about
from resexp.runs.entry import MOST_CELLS, Axis, Entry, consecutive, too_many, wrong_combinations
from resexp.runs.resolve import choices, environment_variable, is_list
from resexp.runs.settings import Settings
from resexp.runs.sweep import listed
from resexp.runs.yaml_source import Problems, parse, scalar, shortened
from resexp.runs.yaml_values import kind

SEEDS = "seeds"
MOST_TRIED = 1_000
"""Combinations of values of an entry that are tried here; the rest are when they become cells."""


def override(
    entries: Sequence[Entry], assignments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> tuple[Entry, ...]:
    """The entries with what the environment and assignments such as `depth=50` say of them; the last one counts.

    An assignment is for the entries whose experiment has that parameter; `seeds=32` is one too.
    environment: the process's own by default. Raises UsageError that names every wrong value.
    """
    environment = os.environ if environment is None else environment
    told: dict[str, str] = {}
    flags = _flags(entries, assignments, told)
    overridden = [_overridden(entry, flags, environment, told) for entry in entries]
    if told:
        raise UsageError("\n".join(told.values()))
    return tuple(overridden)


def _flags(entries: Sequence[Entry], assignments: Sequence[str], told: dict[str, str]) -> dict[str, str]:
    """Name and text of each assignment that some entry takes."""
    experiments = {registry.experiment(entry.experiment) for entry in entries}
    known = {name: None for experiment in experiments for name in _names(experiment)}
    flags: dict[str, str] = {}
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        name = key.strip().replace("-", "_")
        if not sign:
            told[assignment] = f"--set {shortened(assignment)}: has no value; write it as in --set depth=50."
        elif name not in known:
            what = f"is not a parameter of any selected entry{nearest(name, known)}"
            told[assignment] = f"--set {shortened(assignment)}: '{shortened(key)}' {what}."
        else:
            flags[name] = text
    return flags


def _names(experiment: type[Experiment]) -> dict[str, None]:
    """What can be said of an experiment; the number of seeds last, which begin with the seed."""
    return dict.fromkeys((*experiment.model_fields, *Settings.model_fields, *([SEEDS] if experiment.random else [])))


def _overridden(entry: Entry, flags: Mapping[str, str], environment: Mapping[str, str], told: dict[str, str]) -> Entry:
    """The entry with the values it takes; what is wrong with them is told."""
    experiment = registry.experiment(entry.experiment)
    names = _names(experiment)
    said: list[str] = []
    wrong = False
    for name in names:
        variable = environment_variable(experiment, name)
        if name in flags:
            text, source, label = flags[name], "flag", f"--set {name}"
        elif variable in environment:
            text, source, label = environment[variable], "environment", variable
        else:
            continue
        label = f"{label}={shortened(text)}"
        said.append(label)
        change = _seeded if name == SEEDS and SEEDS not in experiment.model_fields else _with
        try:
            entry = change(entry, experiment, name, text, source)
        except UsageError as error:
            _tell(told, label, entry, str(error))
            wrong = True
    if said and not wrong:
        found = [too_many(entry)] if entry.count > MOST_CELLS else wrong_combinations(entry, MOST_TRIED)
        for sentence in found:
            _tell(told, ", ".join(said), entry, sentence)
    return entry


def _tell(told: dict[str, str], label: str, entry: Entry, sentence: str) -> None:
    """Note what is wrong on one line, for the first entry of which it is true."""
    sentence = " ".join(sentence.split())
    told.setdefault(f"{label}: {sentence}", shortened(f"{label}: In the entry '{entry.name}': {sentence}", 600))


def _with(entry: Entry, experiment: type[Experiment], name: str, text: str, source: str) -> Entry:
    """The entry with what the text says of one parameter or setting; several values sweep it."""
    values = _values(experiment, name, text)
    said = {**entry.said, name: source}
    if len(values) > 1 and not experiment.random and name not in experiment.model_fields:
        return entry  # the numbers do not depend on it, so that the cells would be the same
    if name == "seed" and len(values) > 1:
        return replace(entry, seeds=tuple(values), said=said)
    axes = _axes(entry.axes, name, values)
    if len(values) > 1:
        return replace(entry, axes=axes, said=said)
    if name in experiment.model_fields:
        return replace(entry, parameters={**entry.parameters, name: values[0]}, axes=axes, said=said)
    seeds = () if name == "seed" else entry.seeds
    return replace(entry, settings={**entry.settings, name: values[0]}, axes=axes, seeds=seeds, said=said)


def _seeded(entry: Entry, experiment: type[Experiment], _: str, text: str, source: str) -> Entry:
    """The entry with that many seeds, or with those of a list or range."""
    said = {**entry.said, "seed": source}
    if not re.fullmatch(r"\s*[0-9]{1,18}\s*", text):
        return replace(entry, seeds=tuple(_values(experiment, "seed", text)), said=said)
    return replace(entry, seeds=consecutive(int(entry.settings.get("seed", 0)), int(text)), said=said)


def _axes(axes: Sequence[Axis], name: str, values: Sequence[Any]) -> tuple[Axis, ...]:
    """The axes with this parameter swept over these values, if they are several, and over no others."""
    new = [Axis((name,), tuple((value,) for value in values))] if len(values) > 1 else []
    changed: list[Axis] = []
    for axis in axes:
        if name not in axis.names:
            changed.append(axis)
        elif len(axis.names) == 1:
            changed += new
            new = []
        else:  # those it was paired with stay paired
            at = axis.names.index(name)
            steps = dict.fromkeys((*step[:at], *step[at + 1 :]) for step in axis.steps)
            changed.append(Axis((*axis.names[:at], *axis.names[at + 1 :]), tuple(steps)))
    return (*changed, *new)


def _values(experiment: type[Experiment], name: str, text: str) -> list[Any]:
    """The values that the text stands for, one or several. Raises UsageError for a wrong one."""
    model: type[BaseModel] = experiment if name in experiment.model_fields else Settings
    if text.lstrip().startswith("["):
        items = _flow(name, text)
        one = is_list(experiment, name) and not any(isinstance(item, tuple) for item in items)
        pairs = [(item, item) for item in ([items] if one else items)]
    elif is_list(experiment, name):
        texts = tuple(listed(name, text))
        pairs = [(tuple(map(_scalar, texts)), texts)]
    else:
        pairs = [(_scalar(part), part) for part in choices(experiment, name, name, text)]
    return list(dict.fromkeys(_taken(model, name, value, written) for value, written in pairs))


def _taken(model: type[BaseModel], name: str, value: Any, written: Any) -> Any:
    """The value as a file would have it, or the text where that is what the model takes, as in `label=10`."""
    found = about(model, name, value)
    if not found:
        return value
    if not about(model, name, written, strict=False):
        return written
    raise UsageError(found[0].sentence)


def _scalar(text: str) -> Any:
    try:
        return scalar(text)
    except ValueError:  # too large, say; the model says what is wrong with the text
        return text


def _flow(name: str, text: str) -> tuple[Any, ...]:
    """Items of a list such as [a, b]. Raises UsageError where it is none, or empty."""
    problems = Problems(Path(name))
    node = parse(text, problems)
    problems.raise_any()
    items = node.data() if node is not None else None
    if not isinstance(items, tuple) or not items:
        raise UsageError(f"{name} must be a list such as [a, b], not {kind(node) if node else 'empty'}.")
    return items
