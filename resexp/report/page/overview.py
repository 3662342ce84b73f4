"""Stored results as a page: a section for each entry of a batch, or each experiment, its settings compared."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from resexp import __version__
from resexp.core.errors import ResexpError
from resexp.core.pooling import PoolingError, pool
from resexp.report.page.comparison import comparison_of
from resexp.report.page.content import Page, Section, run_of
from resexp.report.page.render import slug
from resexp.report.selection import Chosen, outcome_in
from resexp.runs.cell import Outcome
from resexp.runs.resolve import describe

INTRODUCTION = """\
Stored results: what was measured, with its 95 % interval over random networks, beside theory, and a verdict.
Columns sort when their heading is pressed.
"""


def overview(chosen: Iterable[Chosen], title: str, damaged: Callable[[ResexpError], None]) -> Page:
    """The page of stored cells; damaged: told of each that cannot be read, and is left out."""
    found: dict[str, dict[str, list[Outcome]]] = {}
    for entry, folder in chosen:
        try:
            outcome = outcome_in(Path(folder))
        except ResexpError as error:
            damaged(error)
            continue
        found.setdefault(outcome.cell.name, {}).setdefault(entry or "", []).append(outcome)
    names = _Names()
    groups = {
        experiment: [
            _section(names.new(experiment, entry), entry or experiment, outcomes) for entry, outcomes in entries.items()
        ]
        for experiment, entries in found.items()
    }
    cells = sum(len(outcomes) for entries in found.values() for outcomes in entries.values())
    return Page(title, INTRODUCTION, groups, {"made by": f"resexp {__version__}", "results": f"{cells:,}"})


def in_order(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Settings in the order of their values, those that differ in their seed alone pooled into one, where they can be.

    What is pooled keeps the facts of its first seed.
    """
    by_setting: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        setting = {**describe(outcome.cell), "seed": None, "device": outcome.run.get("device")}
        by_setting.setdefault(json.dumps(setting, sort_keys=True), []).append(outcome)
    found: list[Outcome] = []
    for some in by_setting.values():
        some.sort(key=lambda one: one.cell.settings.seed)
        try:
            whole = pool([one.result for one in some], some[0].cell.experiment.pooled_figures) if some[1:] else None
        except PoolingError:
            whole = None
        found += [replace(some[0], result=whole)] if whole is not None else some
    return sorted(found, key=_place)


def _place(outcome: Outcome) -> list[tuple[bool, float, str]]:
    """Numbers by their size, words by the alphabet."""
    values = describe(outcome.cell).values()
    return [(isinstance(v, int | float), v if isinstance(v, int | float) else 0.0, str(v)) for v in values]


def _section(name: str, title: str, outcomes: list[Outcome]) -> Section:
    settings = in_order(outcomes)
    compared = comparison_of(settings, name)
    run = run_of(settings, name, more=[compared] if compared is not None else [], made_of=outcomes)
    return Section(anchor=name, title=title, runs=[run])


class _Names:
    """Names of sections, each once: entries `a_b` and `a-b` would be the same anchor."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, experiment: str, entry: str) -> str:
        """A name for the results of an experiment that an entry made, or nobody."""
        name = plain = slug(f"{experiment}-{entry}" if entry else experiment)
        number = 1
        while name in self._taken:
            number += 1
            name = f"{plain}-{number}"
        self._taken.add(name)
        return name
