"""Measured rows beside what theory says of them, and the family they are judged as."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from resexp.core.ensemble import Ensemble
from resexp.core.result import Prediction, Quantity, Row
from resexp.core.statistics import Array, effective_draws, representable_exp
from resexp.core.verdict import Family

Item = TypeVar("Item")


@dataclass(frozen=True)
class Measured:
    """All rows of one quantity, in the order they were measured, with what theory says of each."""

    quantity: Quantity
    rows: Sequence[Row]
    predictions: Sequence[Prediction | None]

    def statistic(self) -> Array:
        """What is judged of all rows but a leading level, (draws, rows), in the order of growth."""
        rows = self._ordered(self.rows)
        if self.quantity.judged == "log increments":
            return self.log_increments()
        levels = np.stack([level_samples(row) for row in rows], axis=1)
        return np.diff(levels, axis=1) if self.quantity.judged == "increments" else levels

    def log_increments(self) -> Array:
        """Natural-log growth of each network from row to row, (draws, rows - 1), in the order of growth."""
        log = np.stack([row.samples.log for row in self._ordered(self.rows)], axis=1)
        with np.errstate(invalid="ignore"):
            return np.diff(log, axis=1)

    def family(self) -> Family | None:
        """The family as it is judged: the rows from the first one on as far as there is theory; None without any."""
        predictions = self._with_theory()
        if self.quantity.judged == "nothing" or len(predictions) < min(2, len(self.rows)):
            return None
        rows, margin = self._ordered(self.rows)[: len(predictions)], self.quantity.margin
        bias = np.array([p.bias for p in predictions])
        if self.quantity.judged == "ratio":
            return self._ratio_family(rows, predictions, bias)
        if self.quantity.judged == "log increments":
            levels = np.stack([row.samples.log for row in rows], axis=1)
            theory = np.array([typical_log(p) for p in predictions])
        else:
            levels = np.stack([level_samples(row) for row in rows], axis=1)
            theory = np.array([_level(p) for p in predictions])
        if self.quantity.judged == "level":
            return Family(levels, theory, bias, margin)
        with np.errstate(invalid="ignore"):
            increments = np.diff(levels, axis=1)
        if self.starts_with_a_definition:
            return Family(increments, np.diff(theory), bias[1:], margin)
        statistic = np.concatenate([levels[:, :1], increments], axis=1)
        return Family(statistic, np.concatenate([theory[:1], np.diff(theory)]), bias, margin, leading=1)

    def _with_theory(self) -> list[Prediction]:
        """The predictions from the first row on, as far as there are any."""
        found: list[Prediction] = []
        for prediction in self._ordered(self.predictions):
            if prediction is None:
                break
            found.append(prediction)
        return found

    def place(self, judged_row: int, *, without_first: bool) -> str:
        """Where a judged row stands, such as `block 7`."""
        return place_of(self._ordered(self.rows)[judged_row + without_first])

    def _ratio_family(self, rows: Sequence[Row], predictions: Sequence[Prediction], bias: Array) -> Family:
        """Fieller's residual (N - theory D) / mean(D) of each network, whose expectation is zero if theory is right.

        The headline weighs rows by their theory: where a curve is near zero, noise would drown the rest.
        """
        expected = np.array([_level(p) for p in predictions])
        denominators = [_denominator(row) for row in rows]
        with np.errstate(invalid="ignore"):
            residuals = [
                (level_samples(row) - theory * d) / d.mean()
                for row, theory, d in zip(rows, expected, denominators, strict=True)
            ]
        first = int(self.starts_with_a_definition)
        size = np.abs(expected[first:])
        return Family(
            np.stack(residuals[first:], axis=1),
            np.zeros(len(rows) - first),
            bias[first:],
            self.quantity.margin,
            weights=size / size.sum() if size.sum() > 0 else None,
            effective_draws=min(effective_draws(d) for d in denominators),
        )

    def in_order_of_growth(self) -> list[Prediction | None]:
        """The predictions, those of a reversed quantity from the last row to the first."""
        return self._ordered(self.predictions)

    @property
    def starts_with_a_definition(self) -> bool:
        """Whether the first row is true by definition, and so not judged."""
        first = self._ordered(self.predictions)[0]
        return first is not None and first.is_definition

    def _ordered(self, items: Sequence[Item]) -> list[Item]:
        """In the order of growth."""
        return list(reversed(items)) if self.quantity.reverse else list(items)


def level_samples(row: Row) -> Array:
    """What is judged of a row that is judged as it stands, (draws,)."""
    return np.ldexp(row.samples.mantissa, row.samples.exponent) if row.statistic is None else row.statistic


def _denominator(row: Row) -> Array:
    if row.denominator is None:
        raise TypeError(f"{row.quantity} is judged as a ratio; its rows need a denominator")
    return row.denominator


def _level(prediction: Prediction) -> float:
    if prediction.judged is not None:
        return prediction.judged
    level = theory_value(prediction)
    if level is None:
        raise TypeError("a quantity judged by its level needs a Prediction with a value")
    return level


def typical_log(prediction: Prediction) -> float:
    """Mean over networks of the natural logarithm. Raises TypeError where the prediction has no logarithm."""
    log = prediction.log if prediction.typical_log is None else prediction.typical_log
    if log is None:
        raise TypeError("a quantity judged by log increments needs a Prediction with a log")
    return log


def by_quantity(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows of each quantity, in the order they came in."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.quantity, []).append(row)
    return grouped


def measure_against_theory(experiment: Ensemble, grouped: Mapping[str, Sequence[Row]]) -> Iterator[Measured]:
    """Each quantity's rows with what theory says of them, in the order of the declaration."""
    for quantity in experiment.quantities_here():
        rows = grouped.get(quantity.name, ())
        if rows:
            yield Measured(quantity, rows, [experiment.theory(quantity.name, **row.axes) for row in rows])


def place_of(row: Row) -> str:
    """Where a row stands, such as `block 7`."""
    return ", ".join(f"{axis} {value}" for axis, value in row.axes.items())


def theory_value(prediction: Prediction | None) -> float | None:
    """Mean over networks that theory states, None where it states none or float64 cannot hold it."""
    if prediction is None:
        return None
    if prediction.value is not None:
        return prediction.value
    return representable_exp(prediction.log) if prediction.log is not None else None
