"""Reading and validating experiments.yaml: which experiments a batch runs, and with which parameters.

    defaults:                 parameters and settings for every entry that knows them
    experiments:
      paths-of-54-layers:     the entry's name, which names its results
        experiment: paths
        set: {depth: 54, seed: 1}
        plot: paths.svg
        check: true

Every problem of a file is told at once, each with its line and column. Nothing is run or imported here beyond
the declarations, so a wrong file costs nothing.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from resexp.core.errors import UsageError, nearest
from resexp.core.experiment import Experiment, explain_problem
from resexp.runs import registry
from resexp.runs.settings import Settings
from resexp.runs.yaml_source import Located, Member, Members, Position, Problems, parse, read

TOP_KEYS = {
    "defaults": "Parameters and common settings for every entry that knows them.",
    "experiments": "What the batch runs: the name of an entry, which names its results, and its settings.",
}
ENTRY_KEYS = {
    "experiment": "Name of the experiment; `resexp list` shows all.",
    "set": "Parameters of the experiment, and common settings; the rest keep their defaults.",
    "plot": "File in the results folder to draw the rows into: .png, .svg or .pdf.",
    "check": "Whether the batch fails where a measurement disagrees with its theory.",
}
_PLAIN = r"[A-Za-z0-9](?:\.?[A-Za-z0-9_-])*"
NAME_PATTERN = rf"{_PLAIN}\.?"
"""Names of entries: they become names of files, so no separators, no leading dot, no two dots in a row."""
PLOT_PATTERN = rf"(?:{_PLAIN}/)*{_PLAIN}\.(?:png|svg|pdf)"
LONGEST_PLOT = 200

_OPTION = re.compile(r"(?<!\S)--(?=[a-z])")
"""Dashes of an option in a sentence made for the command line; a key of the file has none."""


@dataclass(frozen=True)
class Entry:
    """One experiment of a batch. parameters, settings: the explicit ones, defaults of the file included."""

    name: str
    experiment: str
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]
    plot: str | None
    check: bool
    line: int


@dataclass(frozen=True)
class Batch:
    """The entries of one file, in its order."""

    path: Path
    entries: tuple[Entry, ...]


def load(path: Path) -> Batch:
    """Read and validate the file; raise one UsageError that names every problem with line and column."""
    problems = Problems(path)
    root = parse(read(path), problems)
    start = Position(1, 1)
    if root is None:
        problems.add(start, "The file is empty; it needs the key `experiments:`.")
        problems.raise_any()
        return Batch(path, ())
    top = _mapping(root, "The file", problems, empty_allowed=False)
    _refuse_unknown(top, TOP_KEYS, "a key of the file", problems)
    defaults = _spelled(top["defaults"].node, "`defaults`", problems) if "defaults" in top else {}
    entries = _entries(top.get("experiments"), start, defaults, problems)
    _check_defaults(defaults, entries, problems)
    problems.raise_any()
    return Batch(path, tuple(draft.entry for draft in entries))


def load_settings(path: Path, experiment: type[Experiment]) -> dict[str, Any]:
    """Options of one experiment from a file that is a plain mapping; errors name line and column."""
    problems = Problems(path)
    root = parse(read(path), problems)
    problems.raise_any()
    if root is None:
        raise UsageError(f"{path}: The file is empty; it needs lines such as `depth: 50`.")
    members = _spelled(root, "The file", problems)
    known = {**Settings.model_fields, **experiment.model_fields}
    _refuse_unknown(members, known, f"a parameter of {experiment.name()} or a common setting", problems)
    for model in (experiment, Settings):
        own = {key: member for key, member in members.items() if key in model.model_fields}
        for where, sentence in _explain(model, own):
            problems.add(_place(own, where) if where else Position(1, 1), sentence)
    problems.raise_any()
    return _data(members)


def select(batch: Batch, only: str | None) -> tuple[Entry, ...]:
    """Entries whose name matches the glob, all where it is None; UsageError where none matches."""
    chosen = tuple(entry for entry in batch.entries if only is None or fnmatchcase(entry.name, only))
    if not chosen and only is not None:
        hint = nearest(only, [entry.name for entry in batch.entries])
        raise UsageError(f"No entry of {batch.path} matches '{only}'{hint}.")
    return chosen


@dataclass(frozen=True)
class _Draft:
    """An entry whose file may yet turn out wrong. inherited: the defaults it takes."""

    entry: Entry
    inherited: Collection[str]


def _entries(member: Member | None, start: Position, defaults: Members, problems: Problems) -> list[_Draft]:
    if member is None:
        problems.add(start, "The key `experiments:` is missing; it names what to run.")
        return []
    entries = _mapping(member.node, "`experiments`", problems)
    if not entries and isinstance(member.node.value, dict | None):
        problems.add(member.key, "`experiments` has no entries; add one.")
    drafts = [_entry(name, entry, defaults, problems) for name, entry in entries.items()]
    plots: dict[str, str] = {}
    for draft in filter(None, drafts):
        if draft.entry.plot is None:
            continue
        owner = plots.setdefault(draft.entry.plot, draft.entry.name)
        if owner != draft.entry.name:
            position = entries[draft.entry.name].key
            sentence = f"'{draft.entry.name}' and '{owner}' both plot into '{draft.entry.plot}'; rename one."
            problems.add(position, sentence, follows=False)
    return [draft for draft in drafts if draft is not None]


def _entry(name: str, member: Member, defaults: Members, problems: Problems) -> _Draft | None:
    if not re.fullmatch(NAME_PATTERN, name):
        sentence = "names use letters, digits, '.', '_' and '-', begin with a letter or digit, and have no '..'"
        problems.add(member.key, f"The name {_shown(name)} cannot name results: {sentence}.", follows=False)
    fields = _mapping(member.node, f"The entry '{name}'", problems, empty_allowed=False)
    _refuse_unknown(fields, ENTRY_KEYS, "a key of an entry", problems)
    plot, check = _plot(fields.get("plot"), problems), _check(fields.get("check"), problems)
    explicit = _spelled(fields["set"].node, "`set`", problems) if "set" in fields else {}
    if "experiment" not in fields:
        if isinstance(member.node.value, dict):
            sentence = f"The entry '{name}' needs the key `experiment:`, an experiment's name."
            problems.add(member.key, sentence, follows=False)
        return None
    experiment, cls = _experiment(fields["experiment"].node, problems)
    if cls is None:
        return None
    known = {**Settings.model_fields, **cls.model_fields}
    _refuse_unknown(explicit, known, f"a parameter of {experiment} or a common setting", problems)
    inherited = {key for key in defaults if key in known and key not in explicit}
    values = {key: m for key, m in (defaults | explicit).items() if key in known}
    parameters = {key: m for key, m in values.items() if key in cls.model_fields}
    settings = {key: m for key, m in values.items() if key not in cls.model_fields}
    anchor = fields["set"].key if "set" in fields else member.key
    for model, members in ((cls, parameters), (Settings, settings)):
        for where, sentence in _explain(model, members):
            inherits = where is not None and where[0] in inherited
            prefix = f"In the entry '{name}': " if inherits else ""
            position = _place(members, where) if where else anchor
            problems.add(position, prefix + sentence, follows=where is not None)
    entry = Entry(name, experiment, _data(parameters), _data(settings), plot, check, member.key.line)
    return _Draft(entry, inherited)


def _check_defaults(defaults: Members, drafts: Sequence[_Draft], problems: Problems) -> None:
    """Refuse a default that no experiment knows, or that no entry takes and no experiment would take."""
    models: list[type[BaseModel]] = [Settings, *registry.experiments().values()]
    known = {key: None for model in models for key in model.model_fields}
    _refuse_unknown(defaults, known, "a parameter of any experiment or a common setting", problems)
    taken = {key for draft in drafts for key in draft.inherited}
    for key, member in defaults.items():
        if key in taken or key not in known:
            continue
        alone = {key: member}
        complaints = [
            [(where, sentence) for where, sentence in _explain(model, alone) if where and where[0] == key]
            for model in models
            if key in model.model_fields
        ]
        if all(complaints):
            where, sentence = complaints[0][0]
            problems.add(_place(alone, where), sentence)


def _explain(model: type[BaseModel], members: Members) -> list[tuple[tuple[int | str, ...] | None, str]]:
    """What is wrong with the values: where in them (None: in their combination), and a sentence."""
    try:
        model.model_validate(_data(members), strict=True)
    except UsageError as error:
        return [(None, _OPTION.sub("", str(error)))]
    except ValidationError as error:
        found: list[tuple[tuple[int | str, ...] | None, str]] = []
        for details in error.errors(include_url=False):
            problem = dict(details)
            shown = _shown(problem.get("input"))
            # the nearest choice is sought for the bare word
            problem["input"] = shown.strip('"') if problem["type"] == "literal_error" else shown
            if problem["type"] in {"tuple_type", "list_type"}:
                problem["msg"] = "must be a list, as in [a, b]"
            sentence = _OPTION.sub("", explain_problem(model, "this entry", problem))
            located = bool(details["loc"]) and details["loc"][0] in members
            found.append((details["loc"] if located else None, sentence))
        return found
    return []


def _place(members: Members, where: Sequence[int | str]) -> Position:
    """Position of the value that a pydantic location points to, or of the nearest one around it."""
    node = members[str(where[0])].node
    for step in where[1:]:
        if isinstance(step, int) and isinstance(node.value, tuple) and step < len(node.value):
            node = node.value[step]
        elif isinstance(step, str) and isinstance(node.value, dict) and step in node.value:
            node = node.value[step].node
    return node.position


def _data(members: Members) -> dict[str, Any]:
    return {name: member.node.data() for name, member in members.items()}


def _mapping(node: Located, what: str, problems: Problems, *, empty_allowed: bool = True) -> Members:
    """Members of a mapping; a note in `problems` and none where it is something else."""
    if isinstance(node.value, dict):
        return node.value
    if node.value is not None or not empty_allowed:
        problems.add(node.position, f"{what} must be a mapping (lines of `key: value`), not {_kind(node)}.")
    return {}


def _spelled(node: Located, what: str, problems: Problems) -> Members:
    """Members of a mapping of parameters, hyphens in their names made underscores."""
    members: Members = {}
    for key, member in _mapping(node, what, problems).items():
        name = key.replace("-", "_")
        if name in members:
            lines = f"on line {members[name].key.line} and on line {member.key.line}"
            problems.add(member.key, f"'{name}' stands twice, spelled with '-' and with '_': {lines}.")
        members.setdefault(name, member)
    return members


def _refuse_unknown(members: Members, known: Collection[str], what: str, problems: Problems) -> None:
    for key, member in members.items():
        if key not in known:
            problems.add(member.key, f"'{key}' is not {what}{nearest(key, known)}.")


def _experiment(node: Located, problems: Problems) -> tuple[str, type[Experiment] | None]:
    if not isinstance(node.value, str):
        problems.add(node.position, f"`experiment` must be an experiment's name, not {_kind(node)}.")
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
    shown = _shown(value) if isinstance(value, str) else _kind(member.node)
    sentence = "must be a plain file name inside the results folder that ends in .png, .svg or .pdf"
    problems.add(member.node.position, f"`plot` {sentence}, not {shown}.")
    return None


def _check(member: Member | None, problems: Problems) -> bool:
    if member is None:
        return False
    if not isinstance(member.node.value, bool):
        problems.add(member.node.position, f"`check` must be true or false, not {_kind(member.node)}.")
    return member.node.value is True


def _kind(node: Located) -> str:
    if node.value is None:
        return "empty"
    names = {dict: "a mapping", tuple: "a list", bool: "true or false", str: "text"}
    name = names.get(type(node.value), "a number")
    return f"{name} ({_shown(node.value)})" if isinstance(node.value, str | int | float) else name


def _shown(value: object) -> str:
    """The value as it could stand in the file, on one line."""
    if value is None:
        return "(empty)"
    text = json.dumps(value, ensure_ascii=not str(value).isprintable(), default=str)
    return text if len(text) <= 60 else text[:57] + "..."
