"""The statements of the chapter, read and checked: which runs show each, and what of them is to be read off."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from resexp.core.errors import UsageError, nearest
from resexp.runs.config import load
from resexp.runs.entry import Entry
from resexp.runs.registry import experiment

FOLDER = Path(str(files("resexp.chapter")))
KINDS = ("figure", "equation", "problem", "section", "notes")


class Statement(BaseModel):
    """One statement. of: what of the chapter says it; runs: entries, and headline figures to show, all where none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: tuple[str, ...]
    title: str
    says: str
    runs: Mapping[str, tuple[str, ...]]
    limit: str = ""

    @field_validator("runs", mode="before")
    @classmethod
    def _names_are_runs_too(cls, value: object) -> object:
        if not isinstance(value, list):
            return value
        return {k: v for item in value for k, v in (item.items() if isinstance(item, dict) else [(item, ())])}

    @property
    def anchor(self) -> str:
        """Its name in links and on the command line."""
        return self.of[0]

    @property
    def label(self) -> str:
        """What of the chapter says it, for people: `Figure 11.9, problem 11.11`."""
        found: dict[str, list[str]] = {}
        for name in self.of:
            kind, _, number = name.partition("-")
            found.setdefault(kind, []).append(number.rstrip("abcd") if kind == "section" else number)
        parts = [_named(kind, numbers) for kind, numbers in found.items()]
        text = ", ".join(part for part in parts if part)
        return text[:1].upper() + text[1:]


class Group(BaseModel):
    """Statements under one heading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    heading: str
    statements: tuple[Statement, ...]


class Chapter(BaseModel):
    """All statements. full: parameters of entries at publication settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    groups: tuple[Group, ...]
    full: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls) -> Self:
        """The chapter that comes with the program."""
        return cls.model_validate(yaml.safe_load((FOLDER / "statements.yaml").read_text(encoding="utf-8")))

    @model_validator(mode="after")
    def _runs_are_entries(self) -> Self:
        names = {name for statement in self.statements for name in statement.runs}
        for wrong in sorted(names.symmetric_difference(self.entries)):
            raise ValueError(f"'{wrong}' is not in both chapter.yaml and statements.yaml{nearest(wrong, self.entries)}")
        for wrong in sorted(set(self.full) - set(self.entries)):
            raise ValueError(f"full: no entry '{wrong}'{nearest(wrong, self.entries)}")
        return self

    @property
    def statements(self) -> list[Statement]:
        """All statements, in the order of the chapter."""
        return [statement for group in self.groups for statement in group.statements]

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The runs of chapter.yaml by name."""
        return {entry.name: entry for entry in load(FOLDER / "chapter.yaml").entries}

    def at_full(self, name: str) -> Entry:
        """An entry at publication settings."""
        entry = self.entries[name]
        return replace(entry, parameters={**entry.parameters, **self.full.get(name, {})})

    def only(self, wanted: Iterable[str]) -> list[Statement]:
        """Statements of figures, equations, problems, entries or experiments; all where nothing is wanted.

        Raises UsageError where a name is none of these.
        """
        chosen: dict[str, Statement] = {}
        wanted = list(wanted)
        for name in wanted:
            found = [s for s in self.statements if _speaks_of(s, name, self.entries)]
            if not found:
                known = [*(one for s in self.statements for one in s.of), *self.entries]
                hint = f"{nearest(name, known)}; resexp chapter --list shows all"
                raise UsageError(f"--only {name}: no statement of the chapter{hint}.")
            chosen |= {s.anchor: s for s in found}
        return [s for s in self.statements if s.anchor in chosen] if wanted else self.statements

    def planned(self, statements: Sequence[Statement], *, full: bool) -> list[Entry]:
        """The runs of these statements, each once."""
        names = dict.fromkeys(name for statement in statements for name in statement.runs)
        entries = [self.at_full(name) if full else self.entries[name] for name in names]
        for entry in entries:
            experiment(entry.experiment).parse(dict(entry.parameters))
        return entries


def titles() -> list[tuple[str, str]]:
    """Names of statements and their titles, read without the runs and quickly."""
    groups = yaml.safe_load((FOLDER / "statements.yaml").read_text(encoding="utf-8"))["groups"]
    return [(name, one["title"]) for group in groups for one in group["statements"] for name in one["of"]]


def _speaks_of(statement: Statement, name: str, entries: Mapping[str, Entry]) -> bool:
    """A name may be short of its last letter, `figure-11.6` is 11.6a, 11.6b and 11.6c; * and ? are wild."""
    known = [*statement.of, *(one.rstrip("abcd") for one in statement.of), *statement.runs]
    known += [entries[run].experiment for run in statement.runs]
    return any(fnmatchcase(one, name) for one in known)


def _named(kind: str, numbers: Sequence[str]) -> str:
    """`figures 11.1 and 11.2`; consecutive numbers as `11.1 to 11.3`."""
    if kind == "notes":
        return "notes"
    if len(numbers) == 1:
        return f"{kind} {numbers[0]}"
    between = " to " if len(numbers) > 2 else " and "
    return f"{kind}s {numbers[0]}{between}{numbers[-1]}"
