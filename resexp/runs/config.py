"""Reading and validating experiments.yaml: which experiments a batch runs, and with which parameters.

    include: base.yaml        another file, or a list of them: their entries come first
    defaults:                 parameters and settings for every entry of this file that knows them
    experiments:
      paths-of-54-layers:     the entry's name, which names its results
        experiment: paths
        set: {max-length: 17, threads: 2}
        sweep: {blocks: [18, 54]}
        plot: paths.svg
        check: true

Every problem of all files is told at once, each with its file, line and column. Nothing is run or imported here
beyond the declarations, so a wrong file costs nothing.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from resexp.core.errors import UsageError, nearest
from resexp.core.experiment import Experiment
from resexp.runs import registry
from resexp.runs.complaints import about, complaints, shown
from resexp.runs.entry import Entry as Entry
from resexp.runs.entry import cells as cells
from resexp.runs.override import override as override
from resexp.runs.settings import Settings
from resexp.runs.yaml_entry import Draft, read_entry
from resexp.runs.yaml_source import Located, Member, Members, Position, Problems, parse, read
from resexp.runs.yaml_sweep import Reading, refuse_code
from resexp.runs.yaml_values import data, kind, mapping, place, refuse_unknown, spelled

TOP_KEYS = {
    "include": "Another file of experiments, or a list of them, relative to this one; their entries come first.",
    "defaults": "Parameters and common settings for every entry of this file that knows them.",
    "experiments": "What the batch runs: the name of an entry, which names its results, and its settings.",
}
DEEPEST_INCLUDE = 8
"""Files, each included by the one before it."""
MOST_FILES = 32
LARGEST_BATCH = 2_000_000
"""Characters of all files together."""

START = Position(1, 1)


@dataclass(frozen=True)
class Batch:
    """The entries of a file and of those it includes, in their order."""

    path: Path
    entries: tuple[Entry, ...]


def load(path: Path, *, trust: bool = False) -> Batch:
    """Read and validate the file; raise one UsageError that names every problem with file, line and column.

    trust: entries may name code to be run (`Experiment.runs_code`).
    """
    files = _Files(Reading(trust))
    files.read(path, os.path.realpath(path) if "\0" not in str(path) else "")
    lines = [line for told in files.told for line in (told.lines() if isinstance(told, Problems) else [str(told)])]
    if lines:
        raise UsageError("\n".join(lines))
    return Batch(path, tuple(draft.entry for draft in files.drafts))


def load_settings(path: Path, experiment: type[Experiment], *, trust: bool = False) -> dict[str, Any]:
    """Options of one experiment from a file that is a plain mapping; errors name line and column."""
    problems = Problems(path)
    root = parse(read(path), problems)
    problems.raise_any()
    if root is None:
        raise UsageError(f"{path}: The file is empty; it needs lines such as `depth: 50`.")
    members = spelled(root, "The file", problems)
    known = {**Settings.model_fields, **experiment.model_fields}
    refuse_unknown(members, known, f"a parameter of {experiment.name()} or a common setting", problems)
    refuse_code(experiment, members, problems, Reading(trust))
    for model in (experiment, Settings):
        own = {key: member for key, member in members.items() if key in model.model_fields}
        for where, sentence in complaints(model, data(own)):
            problems.add(place(own[str(where[0])].node, where[1:]) if where else START, sentence)
    problems.raise_any()
    return data(members)


def select(batch: Batch, only: str | None) -> tuple[Entry, ...]:
    """Entries whose name matches the glob, all where it is None; UsageError where none matches."""
    chosen = tuple(entry for entry in batch.entries if only is None or fnmatchcase(entry.name, only))
    if not chosen and only is not None:
        hint = nearest(only, [entry.name for entry in batch.entries])
        raise UsageError(f"No entry of {batch.path} matches '{only}'{hint}.")
    return chosen


class _Files:
    """The file of a batch and those it includes, each read once; told: what is wrong in them, in this order."""

    def __init__(self, reading: Reading) -> None:
        self.told: list[Problems | UsageError] = []
        self.drafts: list[Draft] = []
        self._reading = reading
        self._names: dict[str, tuple[Path, Position]] = {}
        self._plots: dict[str, str] = {}
        self._seen: set[str] = set()
        self._open: list[str] = []  # the file at hand and those that include it
        self._characters = 0

    def read(self, path: Path, real: str) -> None:
        """Read a file and those it includes, real: its one name on this machine."""
        problems = Problems(path)
        self.told.append(problems)
        self._seen.add(real)
        self._open.append(real)
        try:
            text = read(path)
            self._characters += len(text)
            root = parse(text, problems)
        except UsageError as error:
            self.told.append(error)
        else:
            self._document(root, problems)
        self._open.pop()

    def _document(self, root: Located | None, problems: Problems) -> None:
        if root is None:
            problems.add(START, "The file is empty; it needs the key `experiments:`.")
            return
        top = mapping(root, "The file", problems, empty_allowed=False)
        refuse_unknown(top, TOP_KEYS, "a key of the file", problems)
        if "include" in top:
            self._include(top["include"].node, problems)
        defaults = spelled(top["defaults"].node, "`defaults`", problems) if "defaults" in top else {}
        drafts: list[Draft] = []
        if "experiments" in top:
            drafts = self._entries(top["experiments"], defaults, problems)
        elif "include" not in top:
            problems.add(START, "The key `experiments:` is missing; it names what to run.")
        self.drafts.extend(drafts)
        _check_defaults(defaults, drafts, problems)

    def _include(self, node: Located, problems: Problems) -> None:
        items = node.value if isinstance(node.value, tuple) else (node,)
        if not items:
            problems.add(node.position, "`include` names no file; leave it out.")
        for item in items:
            if not isinstance(item.value, str):
                problems.add(item.position, f"`include` must be a file name or a list of them, not {kind(item)}.")
                continue
            path = problems.path.parent / item.value
            wrong = _not_a_file(path) or self._beyond(os.path.realpath(path))
            if wrong:
                problems.add(item.position, f"{shown(item.value)}: {wrong}")
            elif os.path.realpath(path) not in self._seen:
                self.read(path, os.path.realpath(path))

    def _beyond(self, real: str) -> str | None:
        """What speaks against reading this file too, if it has not been read."""
        if real in self._open:
            return "includes this file, itself or through others."
        if real in self._seen:
            return None
        if len(self._open) >= DEEPEST_INCLUDE:
            return f"files include one another more than {DEEPEST_INCLUDE} deep here."
        if len(self._seen) >= MOST_FILES:
            return f"more than {MOST_FILES} files are included up to here."
        if self._characters > LARGEST_BATCH:
            return f"the files up to here have more than {LARGEST_BATCH:,} characters."
        return None

    def _entries(self, member: Member, defaults: Members, problems: Problems) -> list[Draft]:
        entries = mapping(member.node, "`experiments`", problems)
        if not entries and isinstance(member.node.value, dict | None):
            problems.add(member.key, "`experiments` has no entries; add one.")
        drafts = []
        for name, entry in entries.items():
            path, first = self._names.setdefault(name, (problems.path, entry.key))
            if path != problems.path:
                sentence = f"'{name}' stands twice: here and at {path}:{first.line}:{first.column}; rename one."
                problems.add(entry.key, sentence, follows=False)
            draft = read_entry(name, entry, defaults, problems, self._reading)
            if draft is not None:
                drafts.append(draft)
                self._refuse_shared_plot(draft.entry, entry.key, problems)
        return drafts

    def _refuse_shared_plot(self, entry: Entry, position: Position, problems: Problems) -> None:
        if entry.plot is None:
            return
        owner = self._plots.setdefault(entry.plot, entry.name)
        if owner != entry.name:
            sentence = f"'{entry.name}' and '{owner}' both plot into '{entry.plot}'; rename one."
            problems.add(position, sentence, follows=False)


def _not_a_file(path: Path) -> str | None:
    """What is wrong with the name of a file to include; a pipe or a device could be read for ever."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "there is no such file."
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"cannot be read: {reason}."
    if stat.S_ISDIR(mode):
        return "this is a folder; name the YAML file in it."
    return None if stat.S_ISREG(mode) else "this is no regular file."


def _check_defaults(defaults: Members, drafts: Sequence[Draft], problems: Problems) -> None:
    """Refuse a default that no experiment knows, or that no entry takes and no experiment would take."""
    models: list[type[BaseModel]] = [Settings, *registry.experiments().values()]
    known = {key: None for model in models for key in model.model_fields}
    refuse_unknown(defaults, known, "a parameter of any experiment or a common setting", problems)
    taken = {key for draft in drafts for key in draft.inherited}
    for key, member in defaults.items():
        if key in taken or key not in known:
            continue
        value = member.node.data()
        found = [about(model, key, value) for model in models if key in model.model_fields]
        if all(found):
            where, sentence = found[0][0]
            problems.add(place(member.node, (where or ())[1:]), sentence)
