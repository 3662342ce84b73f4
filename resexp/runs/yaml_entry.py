"""One entry of experiments.yaml: its keys, its values against the declaration of its experiment, its sweep."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from pydantic import BaseModel

from resexp.core.errors import UsageError
from resexp.core.experiment import Experiment
from resexp.runs import registry
from resexp.runs.complaints import complaints, shown
from resexp.runs.entry import MOST_CELLS, Entry, too_many, wrong_combinations
from resexp.runs.settings import Settings
from resexp.runs.yaml_source import Located, Member, Members, Position, Problems
from resexp.runs.yaml_sweep import Reading, SweepReader, refuse_code
from resexp.runs.yaml_values import data, kind, mapping, place, refuse_unknown, spelled

ENTRY_KEYS = {
    "experiment": "Name of the experiment; `resexp list` shows all.",
    "set": "Parameters of the experiment, and common settings; the rest keep their defaults.",
    "sweep": "Parameters with several values, a list or a range such as 1:64:x2: a cell for each combination. "
    "Those under `zip` are paired instead, the first values with one another, then the second.",
    "seeds": "How many seeds each combination runs with, from the entry's seed on; or a list of seeds.",
    "plot": "File in the results folder to draw the rows into: .png, .svg or .pdf.",
    "check": "Whether the batch fails where a measurement disagrees with its theory.",
}
_PLAIN = r"[A-Za-z0-9](?:\.?[A-Za-z0-9_-])*"
NAME_PATTERN = rf"{_PLAIN}\.?"
"""Names of entries: they become names of files, so no separators, no leading dot, no two dots in a row."""
PLOT_PATTERN = rf"(?:{_PLAIN}/)*{_PLAIN}\.(?:png|svg|pdf)"
LONGEST_PLOT = 200
MOST_TRIED_EACH = 2_000
"""Combinations of values that are tried of one entry while the file is read."""


@dataclass(frozen=True)
class Draft:
    """An entry whose file may yet turn out wrong. inherited: the defaults it takes; key: where its name stands."""

    entry: Entry
    inherited: Collection[str]
    key: Position
    problems: Problems


def read_entry(name: str, member: Member, defaults: Members, problems: Problems, reading: Reading) -> Draft | None:
    """The entry, with all that is wrong in it noted; None where it is not known what it runs."""
    if not re.fullmatch(NAME_PATTERN, name):
        sentence = "names use letters, digits, '.', '_' and '-', begin with a letter or digit, and have no '..'"
        problems.add(member.key, f"The name {shown(name)} cannot name results: {sentence}.", follows=False)
    fields = mapping(member.node, f"The entry '{name}'", problems, empty_allowed=False)
    refuse_unknown(fields, ENTRY_KEYS, "a key of an entry", problems)
    plot, check = _plot(fields.get("plot"), problems), _check(fields.get("check"), problems)
    explicit = spelled(fields["set"].node, "`set`", problems) if "set" in fields else {}
    if "experiment" not in fields:
        if isinstance(member.node.value, dict):
            sentence = f"The entry '{name}' needs the key `experiment:`, an experiment's name."
            problems.add(member.key, sentence, follows=False)
        return None
    experiment, cls = _experiment(fields["experiment"].node, problems)
    if cls is None:
        return None
    known = {**Settings.model_fields, **cls.model_fields}
    refuse_unknown(explicit, known, f"a parameter of {experiment} or a common setting", problems)

    sweep = SweepReader(cls, explicit, problems, reading)
    axes = sweep.axes(fields["sweep"].node) if "sweep" in fields else ()
    inherited = {key for key in defaults if key in known and key not in sweep.places}
    values = {key: m for key, m in (defaults | explicit).items() if key in known and key in explicit.keys() | inherited}
    parameters = {key: m for key, m in values.items() if key in cls.model_fields}
    settings = {key: m for key, m in values.items() if key not in cls.model_fields}
    refuse_code(cls, parameters, problems, reading)
    sound = _explain(name, cls, parameters, inherited, problems)
    sound = _explain(name, Settings, settings, inherited, problems) and sound
    start = settings["seed"].node.value if "seed" in settings else 0
    seeds = sweep.seeds(fields["seeds"], start if isinstance(start, int) else 0) if "seeds" in fields else ()

    file, line = problems.path, member.key.line
    entry = Entry(name, experiment, data(parameters), data(settings), axes, seeds, plot, check, file, line)
    anchor = next((fields[key].key for key in ("sweep", "set") if key in fields), member.key)
    if entry.count > MOST_CELLS:
        problems.add(anchor, too_many(entry))
    elif sound and sweep.sound:
        most = max(2, min(MOST_TRIED_EACH, reading.tried))
        reading.tried -= min(most, entry.combined)
        for sentence in wrong_combinations(entry, most):
            problems.add(anchor, sentence, follows=False)
    return Draft(entry, inherited, member.key, problems)


def _explain(
    name: str, model: type[BaseModel], members: Members, inherited: Collection[str], problems: Problems
) -> bool:
    """Note what is wrong with single values; whether nothing was."""
    found = [(c.where, c.sentence) for c in complaints(model, data(members)) if c.where is not None]
    for where, sentence in found:
        key = str(where[0])
        prefix = f"In the entry '{name}': " if key in inherited else ""
        problems.add(place(members[key].node, where[1:]), prefix + sentence)
    return not found


def _experiment(node: Located, problems: Problems) -> tuple[str, type[Experiment] | None]:
    if not isinstance(node.value, str):
        problems.add(node.position, f"`experiment` must be an experiment's name, not {kind(node)}.")
        return "", None
    try:
        return node.value, registry.experiment(node.value)
    except UsageError as error:
        problems.add(node.position, str(error))
        return node.value, None


def _plot(member: Member | None, problems: Problems) -> str | None:
    if member is None:
        return None
    value = member.node.value
    if isinstance(value, str) and len(value) <= LONGEST_PLOT and re.fullmatch(PLOT_PATTERN, value):
        return value
    found = shown(value) if isinstance(value, str) else kind(member.node)
    sentence = "must be a plain file name inside the results folder that ends in .png, .svg or .pdf"
    problems.add(member.node.position, f"`plot` {sentence}, not {found}.")
    return None


def _check(member: Member | None, problems: Problems) -> bool:
    if member is None:
        return False
    if not isinstance(member.node.value, bool):
        problems.add(member.node.position, f"`check` must be true or false, not {kind(member.node)}.")
    return member.node.value is True
