"""What became of the cells of a batch, entry by entry: counts, verdicts, pooled seeds, figures."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resexp.core.errors import BatchError, ResexpError
from resexp.core.result import Value, Verdict
from resexp.report.text import plain
from resexp.runs.resolve import describe
from resexp_cli.verdicts import Judged, check_verdicts

if TYPE_CHECKING:
    from resexp.runs.batch import Done
    from resexp.runs.cell import Outcome
    from resexp.runs.entry import Entry

STATES = ("done", "read back", "failed", "failed before", "skipped")
FIGURE_FAILED, NOT_POOLED = "figure failed", "not pooled"
MOST_POOLED = 40
"""Settings of an entry whose pooled figures are listed."""
MOST_TOLD = 5
"""Settings of an entry of which is told why seeds were not pooled."""


@dataclass(frozen=True)
class Told:
    """A sentence for stderr."""

    text: str
    is_error: bool = False


@dataclass
class EntryState:
    """One entry so far.

    by_setting: place and outcome of each setting by seed, until all its seeds are there; drawn, pooled: by place, of
    what is pooled the first ones; checked: what was judged of it, if that was asked for; told, untold: settings of
    which was told why seeds were not pooled, and those beyond.
    """

    entry: "Entry"
    states: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    verdicts: Counter[str] = field(default_factory=Counter)
    by_setting: "dict[str, dict[int, tuple[int, Outcome | None]]]" = field(default_factory=dict)
    drawn: "dict[int, Outcome]" = field(default_factory=dict)
    pooled: dict[int, list[dict[str, Value]]] = field(default_factory=dict)
    checked: Judged = field(default_factory=Judged)
    told: int = 0
    untold: int = 0

    @property
    def cells(self) -> int:
        """How many have their state."""
        return self.states.total() - self.states[FIGURE_FAILED]

    @property
    def finished(self) -> bool:
        """Whether every cell has its state."""
        return self.cells == self.entry.count

    @property
    def state(self) -> str:
        """A word for a single cell, counts for many."""
        if self.entry.count == 1:
            return next(iter(self.states), "not run")
        return ", ".join(f"{count} {state}" for state, count in self.states.items())


class Summary:
    """Takes cells as they end.

    out: folder of the figures; everything_checked: as if each entry asked for a check; kept: whether results are
    stored.
    """

    def __init__(self, entries: "Sequence[Entry]", out: Path, *, everything_checked: bool, kept: bool = True) -> None:
        self.kept = kept
        self.states = {entry.name: EntryState(entry) for entry in entries}
        self.judged, self.checked = Judged(), Judged()
        self.broken: dict[str, None] = {}
        self._out, self._everything_checked = out, everything_checked

    @property
    def failed(self) -> int:
        """Cells without a result that is stored, and figures that were not drawn."""
        return sum(
            s.states["failed"] + s.states["failed before"] + s.states[FIGURE_FAILED] for s in self.states.values()
        )

    def add(self, done: "Done") -> list[Told]:
        """Count a cell; what there is to say of it."""
        state = self.states[done.entry.name]
        state.states[done.state] += 1
        state.seconds += done.seconds
        told = self._say(done, state)
        told += self._keep(done, done.outcome if done.state != "failed" else None, state)
        if state.finished and state.drawn:
            told += self._draw(state)
        if done.failure is not None:
            self.broken[done.entry.name] = None
        if state.finished and state.untold:
            told.append(Told(f"{done.entry.name}: seeds of {state.untold} more settings were not all pooled."))
        return told

    def rows(self) -> "list[dict[str, Value]]":
        """A row an entry: cells by their state, seconds of computing, settings by verdict."""
        return [
            {
                "entry": state.entry.name,
                "experiment": state.entry.experiment,
                "cells": state.entry.count,
                **{name.replace(" ", "_"): state.states[name] for name in STATES},
                "not_run": state.entry.count - state.cells,
                "figure_failed": state.states[FIGURE_FAILED],
                "seconds": round(state.seconds, 6),
                **{name.replace(" ", "_"): state.verdicts[name] for name in (*Verdict, NOT_POOLED)},
            }
            for state in self.states.values()
        ]

    def raise_failed(self) -> None:
        """Raise BatchError where a cell or a figure failed."""
        if self.broken:
            total = sum(state.entry.count for state in self.states.values())
            raise BatchError(f"{self.failed} of {total} cells failed, in {', '.join(self.broken)}.")

    def check(self) -> str | None:
        """That all agrees with its theory that was to be checked; None where nothing was.

        Raises ResexpError where it does not, or where nothing was judged, in all or in an entry that asks for it.
        """
        if not self.checked.results:
            return None
        met = check_verdicts(self.checked)
        for state in self.states.values():
            if state.entry.check and state.checked.results and not state.checked.families:
                try:
                    check_verdicts(state.checked)
                except ResexpError as error:
                    raise ResexpError(f"{state.entry.name}: {error}") from None
        return met

    def _say(self, done: "Done", state: EntryState) -> list[Told]:
        name = done.entry.name if done.entry.count == 1 else f"{done.entry.name} {done.cell.id}"
        if done.failure is not None:
            before = "failed before (--retry-failed runs it again): " if done.state == "failed before" else ""
            return [Told(f"{name}: {before}{done.failure}", is_error=True)]
        if done.entry.count > 1 or done.state == "skipped":
            return []
        what = "read back" if done.state == "read back" else f"{done.seconds:.1f} s"
        return [Told(f"{name}: {what}")]

    def _keep(self, done: "Done", outcome: "Outcome | None", state: EntryState) -> list[Told]:
        """Judge the setting once all its seeds are there, as one sample; not where one of them has no outcome."""
        cell = done.cell
        settings = {**cell.settings.model_dump(mode="json"), "seed": None}
        key = json.dumps([cell.experiment.model_dump(mode="json"), settings], sort_keys=True)
        seeds = state.by_setting.setdefault(key, {})
        seeds[cell.settings.seed] = (done.place, outcome)
        if len(seeds) < max(1, len(state.entry.seeds)):
            return []
        del state.by_setting[key]
        there = {seed: (place, one) for seed, (place, one) in seeds.items() if one is not None}
        if len(there) < len(seeds):
            return []
        place, first = min(there.values(), key=lambda one: one[0])
        whole, told = first.result, list[Told]()
        if len(seeds) > 1:
            from resexp.core.pooling import PoolingError, pool

            try:
                whole = pool([there[seed][1].result for seed in sorted(there)], first.cell.experiment.pooled_figures)
            except PoolingError as error:
                self._count_unpooled(state)
                return self._tell(state, first, [str(error)])
            open_ones = [f for f in whole.families if f.verdict == Verdict.NOT_JUDGED and f.p_value is None]
            told = self._tell(state, first, [f"{f.quantity} is not judged. {f.sentence}" for f in open_ones])
            state.pooled[place] = [
                {"entry": state.entry.name, **_swept(state.entry, first), "seeds": len(seeds), **f}
                for f in whole.headline
            ]
            if len(state.pooled) > MOST_POOLED:
                del state.pooled[max(state.pooled)]
        if state.entry.plot is not None:
            state.drawn[place] = replace(first, result=whole)
        state.verdicts.update(family.verdict for family in whole.families)
        self.judged.add(whole)
        for judged in self._checking(state):
            judged.add(whole)
        return told

    def _checking(self, state: EntryState) -> tuple[Judged, ...]:
        """What takes the verdicts of an entry that is to be checked."""
        return (self.checked, state.checked) if state.entry.check or self._everything_checked else ()

    def _count_unpooled(self, state: EntryState) -> None:
        """A setting whose seeds could not be pooled: their results are stored, and there is no verdict on it."""
        state.verdicts[NOT_POOLED] += 1
        for judged in self._checking(state):
            judged.add_unpooled(state.entry.name)

    def _tell(self, state: EntryState, first: "Outcome", sentences: Sequence[str]) -> list[Told]:
        """Notes on a setting, of the first few settings of an entry."""
        if not sentences:
            return []
        if state.told == MOST_TOLD:
            state.untold += 1
            return []
        state.told += 1
        swept = ", ".join(f"{name} {value}" for name, value in _swept(state.entry, first).items())
        of = f"{state.entry.name} ({swept})" if swept else state.entry.name
        return [Told(f"{of}: {sentence}") for sentence in sentences]

    def _draw(self, state: EntryState) -> list[Told]:
        """The figure of an entry whose cells are all there."""
        from resexp.report.figure import draw

        path = self._out / str(state.entry.plot)
        outcomes = [state.drawn[place] for place in sorted(state.drawn)]
        state.drawn.clear()
        try:
            draw(outcomes, path)
        except ResexpError as error:
            state.states[FIGURE_FAILED] += 1
            self.broken[state.entry.name] = None
            return [Told(f"{state.entry.name}: {error}", is_error=True)]
        return [Told(f"{state.entry.name}: figure {path}")]


def _swept(entry: "Entry", outcome: "Outcome") -> dict[str, Value]:
    """What the entry sweeps, and its values in this outcome."""
    return {name: plain(value) for name, value in describe(outcome.cell).items() if name in entry.sweeps}
