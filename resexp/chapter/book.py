"""The chapter as a page and as data, made of stored results alone."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from resexp import __version__
from resexp.chapter.statements import Chapter, Statement
from resexp.core.errors import ResexpError
from resexp.report.command import commands_of
from resexp.report.page.content import Page, Run, Section, run_of, worst
from resexp.report.selection import outcome_in
from resexp.report.text import headlines
from resexp.runs.cell import Outcome, git_commit
from resexp.runs.entry import Entry, cells
from resexp.runs.store import Store

INTRODUCTION = """\
Figures, equations and problems of chapter 11, "Residual networks", of *Understanding Deep Learning* (Prince 2023), as
something that was run: the statement in our own words, the command that repeats it, what was measured with its 95 %
interval over random networks, what theory says, and a verdict. Where a statement is only a limit, it says so.
"""
VERDICTS = """\
*Agree*: measurement and theory differ by less than a declared margin. *Disagree*: by more, beyond chance.
*Underpowered*: too few networks to tell. *Not judged*: shown beside theory for comparison. *Reference*, as a kind of
theory, is what others saw on other data.
"""


@dataclass(frozen=True)
class Kept:
    """What the store has of an entry, and why it is not complete, if it is not."""

    entry: Entry
    outcomes: Sequence[Outcome]
    reason: str = ""


def kept(entries: Iterable[Entry], store: Store) -> dict[str, Kept]:
    """What the store has of each entry, read once for the page and the data."""
    return {entry.name: _read(entry, store) for entry in entries}


def _read(entry: Entry, store: Store) -> Kept:
    outcomes, reason = [], ""
    for cell in cells(entry):
        try:
            found = store.load(cell)
            failure = store.failure(cell) if found is None else None
            if found is None and (store.folder(cell) / "run.json").exists():
                outcome_in(store.folder(cell))  # says what is wrong with it
        except ResexpError as error:  # a device that is not here, or a result that is damaged
            found, failure = None, None
            reason = str(error)
        if found is not None:
            outcomes.append(found)
        else:
            reason = str(failure) if failure is not None else reason or "not run yet."
    return Kept(entry, outcomes, reason)


def page_of(chapter: Chapter, statements: Sequence[Statement], found: Mapping[str, Kept], *, full: bool) -> Page:
    """The page of these statements. Raises MissingError where a page cannot be made here."""
    shown = {name: figures for statement in reversed(statements) for name, figures in statement.runs.items()}
    runs = {name: run_of(one.outcomes, name, shown=shown[name]) for name, one in found.items() if one.outcomes}
    missing = {name: one.reason for name, one in found.items() if one.reason}
    wanted = {statement.anchor for statement in statements}
    groups: dict[str, list[Section]] = {}
    seen: set[str] = set()
    for group in chapter.groups:
        for statement in (s for s in group.statements if s.anchor in wanted):
            groups.setdefault(group.heading, []).append(_section(statement, runs, missing, seen))
            seen |= statement.runs.keys()
    return Page(
        title="Residual networks: the chapter, measured",
        introduction=f"{INTRODUCTION}\n{VERDICTS}",
        groups=groups,
        facts={
            "made by": f"resexp {__version__}" + (f", commit {commit}" if (commit := git_commit()) else ""),
            "settings": "publication (--full)" if full else "laptop",
            "statements": f"{len(statements)} of {len(chapter.statements)}",
            "complete runs": f"{len(found.keys() - missing)} of {len(found)}",
        },
    )


def _section(
    statement: Statement, runs: Mapping[str, Run], missing: Mapping[str, str], seen: Collection[str]
) -> Section:
    there = {name: runs[name] for name in statement.runs if name in runs}
    return Section(
        anchor=statement.anchor,
        title=statement.title,
        label=statement.label,
        text=statement.says,
        limit=statement.limit,
        runs=[run for name, run in there.items() if name not in seen],
        shown_elsewhere=[run for name, run in there.items() if name in seen],
        missing=[(name, missing[name]) for name in statement.runs if name in missing],
    )


def data_of(statements: Sequence[Statement], found: Mapping[str, Kept], *, full: bool) -> dict[str, Any]:
    """The same for programs: each statement, its runs, their figures, verdicts and where they are stored."""
    return {
        "version": __version__,
        "full": full,
        "statements": [
            {
                "id": statement.anchor,
                "of": list(statement.of),
                "title": statement.title,
                "says": statement.says,
                "limit": statement.limit or None,
                "verdict": verdict_of([found[name] for name in statement.runs]),
                "runs": [_run_data(found[name]) for name in statement.runs],
            }
            for statement in statements
        ],
    }


def _run_data(one: Kept) -> dict[str, Any]:
    outcomes, families = one.outcomes, [family for outcome in one.outcomes for family in outcome.result.families]
    return {
        "entry": one.entry.name,
        "experiment": one.entry.experiment,
        "commands": commands_of(list(cells(one.entry))),
        "cells": [f"{outcome.cell.name}/{outcome.cell.id}" for outcome in outcomes],
        "complete": not one.reason,
        "missing": one.reason or None,
        "verdict": verdict_of([one]),
        "figures": headlines(outcomes) if outcomes else [],
        "families": [{k: v for k, v in asdict(family).items() if k != "moments"} for family in families],
        "notes": list(dict.fromkeys(note for outcome in outcomes for note in outcome.result.notes)),
    }


def verdict_of(runs: Sequence[Kept]) -> str:
    """The verdict that matters most of all families; `not run`, or `incomplete` where results are missing."""
    families = [family for run in runs for outcome in run.outcomes for family in outcome.result.families]
    if not any(run.outcomes for run in runs):
        return "not run"
    found = worst(Counter(str(family.verdict) for family in families))
    return "incomplete" if any(run.reason for run in runs) and found != "disagree" else found


def as_json(data: dict[str, Any]) -> str:
    """The data as a file. Raises ResexpError where a number has no place in JSON."""
    try:
        return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise ResexpError(f"chapter.json: {error}.") from None
