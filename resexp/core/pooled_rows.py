"""Rows, or figures, of several runs of one setting as those of all their networks: matched by place, not judged yet.

A row that one run has no number for has none here: whether it has one may depend on what its networks did, and the
other runs alone would be a biased sample.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from resexp.core.result import STATISTICS_COLUMNS, Value, Verdict
from resexp.core.statistics import Array, representable, student_quantile
from resexp.core.verdict import pooled_moments

Item = TypeVar("Item", bound=Hashable)
Numbers = dict[str, Value]
Place = tuple[frozenset[tuple[str, Value]], int]
"""What tells a row from others: all but its statistics, and how many like it stand before it."""

MEASURED = ("mean", "stderr", "ci_low", "ci_high", "median")


def places(rows: Iterable[Mapping[str, Value]]) -> Iterator[Place]:
    """The place of each row."""
    before: Counter[frozenset[tuple[str, Value]]] = Counter()
    for row in rows:
        place = frozenset((name, value) for name, value in row.items() if name not in STATISTICS_COLUMNS)
        yield place, before[place]
        before[place] += 1


def by_place(rows: Iterable[Numbers]) -> dict[Place, Numbers]:
    """The rows at their places."""
    listed = list(rows)
    return dict(zip(places(listed), listed, strict=True))


def merged(lists: Iterable[Iterable[Item]]) -> list[Item]:
    """All items in their order; one that only later lists have stands behind what is before it there."""
    order: list[Item] = []
    known: set[Item] = set()
    for items in lists:
        position = 0
        for item in items:
            if item not in known:
                order.insert(position, item)
                known.add(item)
            elif order[position : position + 1] != [item]:
                position = order.index(item)
            position += 1
    return order


def pooled_rows(
    runs: Sequence[Iterable[Numbers]], draws: Sequence[int], energies: Mapping[Place, Array] | None = None
) -> list[Numbers]:
    """The rows of all runs as one. draws: networks of each run; energies: where a ratio of means stands, (runs,)."""
    tables = [by_place(rows) for rows in runs]
    energies = energies or {}
    return [_pooled([t.get(place) for t in tables], draws, energies.get(place)) for place in merged(tables)]


def _pooled(rows: Sequence[Numbers | None], draws: Sequence[int], energy: Array | None) -> Numbers:
    """One row of all runs. energy: mean denominator of each run, (runs,), None for what is no ratio."""
    there = [row for row in rows if row is not None]
    first = there[0]
    if "draws" not in first or (first["draws"] is None and all(row == first for row in rows)):
        return dict(first)  # an exact number, the same in every run
    counts = np.array([_count(row, run) for row, run in zip(rows, draws, strict=True)], dtype=np.float64)
    without = all(row["verdict"] == Verdict.NO_THEORY for row in there)
    verdict = Verdict.NO_THEORY if without else Verdict.NOT_JUDGED
    pooled: Numbers = {**first, **dict.fromkeys(MEASURED), "draws": int(counts.sum()), "verdict": verdict.value}
    mean = _column(rows, "mean")
    if mean is None:
        return pooled
    stderr = _column(rows, "stderr")
    if stderr is None:
        return pooled | interval(float(mean.mean()), float(mean.std(ddof=1)) / math.sqrt(len(mean)), len(mean))
    size = np.ones(len(mean)) if energy is None else energy / (counts @ energy / counts.sum())
    centre = float((counts * size / counts.sum()) @ mean)
    _, deviation = pooled_moments(counts, size * (mean - centre), size * stderr * np.sqrt(counts))
    return pooled | interval(centre, float(deviation) / math.sqrt(counts.sum()), int(counts.sum()))


def _count(row: Numbers | None, run: int) -> int:
    draws = row["draws"] if row is not None else None
    return draws if isinstance(draws, int) else run


def _column(rows: Sequence[Numbers | None], name: str) -> Array | None:
    """That number of each run, (runs,); None where one has none."""
    found = [x for row in rows if row is not None and isinstance(x := row[name], int | float)]
    return np.array(found, dtype=np.float64) if len(found) == len(rows) else None


def interval(mean: float, stderr: float, draws: int) -> Numbers:
    """Mean with Student's 95 % interval; None is what float64 cannot hold."""
    half = student_quantile(0.975, draws - 1) * stderr
    numbers = {"mean": mean, "stderr": stderr, "ci_low": mean - half, "ci_high": mean + half}
    return {name: representable(x) for name, x in numbers.items()}
