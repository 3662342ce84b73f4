"""The keys `sweep:` and `seeds:` of an entry, with values that are right each by itself.

A sweep, as in {depth: 1:64:x2, scheme: [plain, residual]}, takes the product of all; under its key `zip`, parameters
are paired position by position, as in {zip: {width: [64, 128], draws: [512, 256]}}, and a list has several such groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from resexp.core.errors import UsageError
from resexp.core.experiment import Experiment
from resexp.runs.complaints import about, shown
from resexp.runs.entry import Axis, consecutive
from resexp.runs.resolve import NEVER_SWEPT, is_list
from resexp.runs.settings import Settings
from resexp.runs.sweep import spread, takes_range
from resexp.runs.yaml_source import Located, Member, Members, Position, Problems, scalar
from resexp.runs.yaml_values import kind, place, refuse_unknown, spelled

ZIP = "zip"
SWEPT_SETTINGS = ("dtype",)
"""Common settings that a sweep may name; `seed` has a key of its own."""
MOST_RANGED = 100_000
"""Values that all ranges of a batch may stand for."""
MOST_TRIED = 10_000
"""Combinations of values that are tried while a batch is read; the rest are when they become cells."""

Values = list[tuple[Any, Position]]


@dataclass
class Reading:
    """What the files of a batch share while they are read: whether they may name code, and what is left of bounds."""

    trust: bool = False
    ranged: int = MOST_RANGED
    tried: int = MOST_TRIED


@dataclass
class SweepReader:
    """Reads what one entry sweeps. explicit: its `set`; sound: nothing was wrong so far."""

    experiment: type[Experiment]
    explicit: Members
    problems: Problems
    reading: Reading
    sound: bool = True

    def __post_init__(self) -> None:
        self.places = {name: ("`set`", member.key) for name, member in self.explicit.items()}

    def axes(self, node: Located) -> tuple[Axis, ...]:
        """The axes of a sweep, in the order of the file."""
        axes: list[Axis] = []
        members = spelled(node, "`sweep`", self.problems)
        for name, member in members.items():
            if name == ZIP:
                groups = member.node.value if isinstance(member.node.value, tuple) else (member.node,)
                axes.extend(axis for group in groups for axis in self._zipped(group))
                continue
            columns = self._columns({name: member}, "`sweep`")
            axes.extend(self._axis({name: values}) for name, values in columns.items())
        return tuple(axes)

    def seeds(self, member: Member, start: int) -> Sequence[int]:
        """The seeds of each combination; a number of them begins at `start`."""
        node = member.node
        if not self.experiment.random:
            name = self.experiment.name()
            self._note(member.key, f"{name} has no random numbers, so that seeds change nothing; leave `seeds` out.")
        elif isinstance(node.value, tuple):
            if "seed" in self.places:
                self._note(member.key, f"`seeds` lists the seeds, and 'seed' {self._stands('seed')}; keep one.")
            values = self._values("seed", node)
            return tuple(seed for (seed,) in self._axis({"seed": values}).steps) if values else ()
        elif not isinstance(node.value, int) or isinstance(node.value, bool):
            self._note(node.position, f"`seeds` must be a whole number or a list of seeds, not {kind(node)}.")
        else:
            try:
                return consecutive(start, node.value)
            except UsageError as error:
                self._note(node.position, str(error))
        return ()

    def _zipped(self, node: Located) -> list[Axis]:
        """The axis of one group of paired parameters, if it is right and not empty."""
        members = spelled(node, "`zip`", self.problems)
        columns = self._columns(members, "`zip`")
        if len(columns) < len(members) or not columns:
            return []
        first = next(iter(columns))
        for name, values in columns.items():
            if len(values) != len(columns[first]):
                counts = f"{first} has {len(columns[first])} and {name} {len(values)}"
                self._note(members[name].node.position, f"`zip` pairs value with value, but {counts}.")
                return []
        return [self._axis(columns)]

    def _columns(self, members: Members, where: str) -> dict[str, Values]:
        """The values of each parameter, without those that are wrong."""
        columns: dict[str, Values] = {}
        for name, member in members.items():
            if not self._may_be_swept(name, member, where):
                self.sound = False
                continue
            if name in self.places:
                self._note(member.key, f"'{name}' {self._stands(name)} and in {where}; keep one.")
                continue
            self.places[name] = (where, member.key)
            refuse_code(self.experiment, {name: member}, self.problems, self.reading)
            values = self._values(name, member.node)
            if values:
                columns[name] = values
        return columns

    def _may_be_swept(self, name: str, member: Member, where: str) -> bool:
        settings = SWEPT_SETTINGS if self.experiment.random else ()
        known = [*self.experiment.model_fields, *settings, *([ZIP] if where == "`sweep`" else [])]
        if name in known and name != ZIP:
            return True
        if name == "seed":
            self._note(member.key, "'seed' is swept by the key `seeds:` of the entry, a number or a list.")
        elif name in NEVER_SWEPT or name in Settings.model_fields:
            sentence = f"'{name}' cannot be swept, because the numbers do not depend on it; give one value in `set`."
            self._note(member.key, sentence)
        else:
            what = f"a parameter of {self.experiment.name()} that can be swept"
            refuse_unknown({name: member}, known, what, self.problems)
        return False

    def _values(self, name: str, node: Located) -> Values | None:
        """Values of a list or range, each right by itself and with its place; None where something is wrong."""
        model: type[BaseModel] = self.experiment if name in self.experiment.model_fields else Settings
        if isinstance(node.value, tuple):
            items = [(item.data(), item) for item in node.value]
        elif isinstance(node.value, str) and name != "seed" and takes_range(model.model_fields[name].annotation):
            items = [(value, node) for value in self._range(name, node, node.value)]
        else:
            form = "a list of lists, as in [[a, b], [c]]" if is_list(self.experiment, name) else "a list, as in [a, b]"
            more = ", or a range, as in 1:64:x2" if takes_range(model.model_fields[name].annotation) else ""
            self._note(node.position, f"`{name}` must be {form}{more}, not {kind(node)}.")
            return None
        if not items and isinstance(node.value, tuple):
            self._note(node.position, f"`{name}` has no values here; give at least one.")
        wrong = not items
        for value, item in items:
            for complaint in about(model, name, value):
                self._note(place(item, (complaint.where or ())[1:]), complaint.sentence)
                wrong = True
            if wrong and item is node:
                break
        return None if wrong else [(value, item.position) for value, item in items]

    def _range(self, name: str, node: Located, text: str) -> list[Any]:
        if self.reading.ranged <= 0:
            self._note(node.position, f"All ranges up to here have more than {MOST_RANGED:,} values; use larger steps.")
            return []
        try:
            values = [scalar(value) for value in spread(name, text)]
        except UsageError as error:
            self._note(node.position, str(error))
            return []
        except ValueError as error:
            self._note(node.position, f"{name} {shown(text)}: a value {error}.")
            return []
        self.reading.ranged -= len(values)
        return values

    def _axis(self, columns: dict[str, Values]) -> Axis:
        """The axis of these columns of equal length, none of whose steps may come twice."""
        steps: dict[tuple[Any, ...], None] = {}
        for row in zip(*columns.values(), strict=True):
            step = tuple(value for value, _ in row)
            if step in steps:
                told = ", ".join(f"{name} {shown(value)}" for name, value in zip(columns, step, strict=True))
                self._note(row[0][1], f"{told} stands twice.")
            steps[step] = None
        return Axis(tuple(columns), tuple(steps))

    def _stands(self, name: str) -> str:
        where, position = self.places[name]
        return f"stands in {where} (line {position.line}, column {position.column})"

    def _note(self, position: Position, sentence: str) -> None:
        self.problems.add(position, sentence)
        self.sound = False


def refuse_code(experiment: type[Experiment], members: Members, problems: Problems, reading: Reading) -> None:
    """Note each parameter that names code to be run, unless the files are trusted."""
    names: frozenset[str] = getattr(experiment, "runs_code", frozenset())
    for name, member in members.items():
        if name in names and not reading.trust:
            sentence = f"'{name}' names code that {experiment.name()} runs; use --trust if you trust this file."
            problems.add(member.key, sentence, follows=False)
