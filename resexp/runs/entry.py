"""An entry of a batch: an experiment, what is set and what is swept, and the cells this stands for.

A sweep is the product of its axes in the order of the file, the last one fastest, and the seeds faster still.
Nothing is expanded before it is asked for: a million cells take no more memory than one.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from resexp.core.errors import UsageError
from resexp.core.experiment import Experiment
from resexp.runs import registry
from resexp.runs.cell import Cell
from resexp.runs.complaints import complaints, shown
from resexp.runs.settings import Settings

MOST_CELLS = 1_000_000
"""Cells of one entry."""
LARGEST_SEED = 2**63 - 1
MOST_KINDS = 3
"""Kinds of problem that are told of the combinations of one entry."""


@dataclass(frozen=True)
class Axis:
    """What changes together in a sweep: a parameter, or several that `zip` pairs, and their values at each step."""

    names: tuple[str, ...]
    steps: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Entry:
    """One experiment of a batch.

    parameters, settings: what is said for all of its cells, defaults of the file included; axes: what is swept, over
    these; seeds: the seeds of each combination, none where settings say it; said: who said a value where that was not
    the file (flag, environment).
    """

    name: str
    experiment: str
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]
    axes: tuple[Axis, ...] = ()
    seeds: Sequence[int] = ()
    plot: str | None = None
    check: bool = False
    file: Path = Path()
    line: int = 0
    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of cells, known without making them."""
        return self.combined * max(1, len(self.seeds))

    @property
    def sweeps(self) -> tuple[str, ...]:
        """Names of what is swept, in the order of the axes; seeds apart."""
        return tuple(name for axis in self.axes for name in axis.names)

    @property
    def combined(self) -> int:
        """Number of combinations of what is swept, seeds apart."""
        return math.prod(len(axis.steps) for axis in self.axes)

    def combinations(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Explicit parameters and settings of each cell."""
        for swept in self.swept():
            parameters, settings = _split(self, swept)
            for seed in self.seeds or (None,):
                yield dict(parameters), settings if seed is None else {**settings, "seed": seed}

    def swept(self) -> Iterator[dict[str, Any]]:
        """What each combination sets of that which is swept, seeds apart."""
        names = self.sweeps
        for steps in itertools.product(*(axis.steps for axis in self.axes)):
            yield dict(zip(names, itertools.chain.from_iterable(steps), strict=True))

    def swept_at(self, index: int) -> dict[str, Any]:
        """The item of `swept` at this index, without those before it."""
        values: list[dict[str, Any]] = []
        for axis in reversed(self.axes):
            index, step = divmod(index, len(axis.steps))
            values.append(dict(zip(axis.names, axis.steps[step], strict=True)))
        return {name: value for part in reversed(values) for name, value in part.items()}


def cells(entry: Entry) -> Iterator[Cell]:
    """The cells of an entry, one after another, in the order of its combinations.

    Raises UsageError that names file, line, entry and combination at the first one that the experiment does not take.
    """
    experiment = registry.experiment(entry.experiment)
    sources = _sources(entry, experiment)
    common: dict[tuple[Any, ...], Settings] = {}
    for swept in entry.swept():
        parameters, values = _split(entry, swept)
        try:
            declared = experiment.model_validate(parameters)
            key = tuple(values.values())
            settings = common[key] if key in common else common.setdefault(key, Settings.parse(values))
        except (ValidationError, UsageError) as error:
            found = complaints(experiment, parameters, strict=False)
            sentence = _told(swept) + (found[0].sentence if found else str(error))
            raise UsageError(f"{entry.file}:{entry.line}: In the entry '{entry.name}': {sentence}") from None
        for seed in entry.seeds or (None,):
            yield Cell(declared, settings if seed is None else settings.model_copy(update={"seed": seed}), sources)


def wrong_combinations(entry: Entry, most: int) -> list[str]:
    """What is wrong with combinations of values, each of which is right: the first of each kind, as sentences.

    most: combinations to try, evenly spaced, the first and the last among them; `cells` checks all.
    """
    experiment = registry.experiment(entry.experiment)
    count, kinds = entry.combined, dict[str, str]()
    tried = range(count) if count <= most else (i * (count - 1) // (most - 1) for i in range(most))
    for index in tried:
        swept = entry.swept_at(index)
        for complaint in complaints(experiment, _split(entry, swept)[0], strict=False):
            kinds.setdefault(re.sub(r"[\d.]+", "#", complaint.sentence), _told(swept) + complaint.sentence)
        if len(kinds) >= MOST_KINDS:
            break
    return list(kinds.values())[:MOST_KINDS]


def consecutive(start: int, number: int) -> range:
    """That many seeds from the first on. Raises UsageError where there are not so many."""
    if not 1 <= number <= MOST_CELLS:
        raise UsageError(f"seeds {number}: must be from 1 to {MOST_CELLS:,} (number of seeds).")
    if start + number - 1 > LARGEST_SEED:
        raise UsageError(f"seeds {number}: from seed {start} on there are not so many.")
    return range(start, start + number)


def too_many(entry: Entry) -> str:
    """What to say of an entry with more than MOST_CELLS cells."""
    return f"The entry '{entry.name}' stands for {entry.count:,} cells; {MOST_CELLS:,} are the most."


def _split(entry: Entry, swept: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """All explicit parameters and settings of a combination."""
    parameters, settings = dict(entry.parameters), dict(entry.settings)
    for name, value in swept.items():
        (settings if name in Settings.model_fields else parameters)[name] = value
    return parameters, settings


def _told(swept: Mapping[str, Any]) -> str:
    """Which combination it is, before a sentence about it."""
    values = ", ".join(f"{name} {shown(value)}" for name, value in swept.items())
    return f"with {values}: " if values else ""


def _sources(entry: Entry, experiment: type[Experiment]) -> dict[str, str]:
    """Who said each value."""
    written = {*entry.parameters, *entry.settings, *entry.sweeps}
    if entry.seeds:
        written.add("seed")
    names = (*experiment.model_fields, *Settings.model_fields)
    return {name: entry.said.get(name, "file" if name in written else "default") for name in names}
