"""Measured rows beside what theory says of them, and the family they are judged as."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

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
        return self._per_step(levels) if self.quantity.judged == "increments" else levels

    def log_increments(self) -> Array:
        """Natural-log growth of each network a step of the axis, (draws, rows - 1), in the order of growth."""
        log = np.stack([row.samples.log for row in self._ordered(self.rows)], axis=1)
        return self._per_step(log)

    def headline_samples(self) -> Array:
        """What is judged, each network's mean over all steps, (draws,)."""
        statistic = self.statistic()
        if self.quantity.judged in {"log increments", "increments"}:
            return np.asarray(statistic @ self._weights(self.rows))
        return np.asarray(statistic.mean(axis=1))

    def _per_step(self, levels: Array) -> Array:
        """Differences of levels (..., rows) from row to row, over the steps of the axis between the rows."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.diff(levels, axis=-1) / self._steps(self.rows)[: levels.shape[-1] - 1])

    def _steps(self, rows: Sequence[Row]) -> Array:
        """Steps of the axis between rows in the order of growth, (rows - 1,): more than one where rows are thinned."""
        if len(rows[0].axes) != 1:
            return np.ones(len(rows) - 1)
        places = [next(iter(row.axes.values())) for row in self._ordered(rows)]
        return np.abs(np.diff(np.array(places, dtype=np.float64)))

    def _weights(self, rows: Sequence[Row]) -> Array:
        """Share of the steps that lie before each row but the first."""
        steps = self._steps(rows)
        return np.asarray(steps / steps.sum())

    def family(self) -> Family | None:
        """The family as it is judged: the rows from the first one on as far as there is theory; None without any."""
        predictions = self._with_theory()
        if self.quantity.judged == "nothing" or len(predictions) < min(2, len(self.rows)):
            return None
        rows, margin = self._ordered(self.rows)[: len(predictions)], self.quantity.margin
        bias, rare = (np.array(x) for x in zip(*((p.bias, p.rare) for p in predictions), strict=True))
        scarce = rare if rare.any() else None
        if self.quantity.judged == "ratio":
            return self._ratio_family(rows, predictions, bias, scarce)
        if self.quantity.judged == "log increments":
            levels = np.stack([row.samples.log for row in rows], axis=1)
            theory = np.array([typical_log(p) for p in predictions])
        else:
            levels = np.stack([level_samples(row) for row in rows], axis=1)
            theory = np.array([_level(p) for p in predictions])
        if self.quantity.judged in {"level", "share"}:
            return Family(levels, theory, bias, margin, rare=scarce, is_share=self.quantity.judged == "share")
        increments, expected = self._per_step(levels), self._per_step(theory)
        steps = self._steps(self.rows)[: len(predictions) - 1]
        weights = steps / steps.sum() if len(steps) else None
        if self.starts_with_a_definition:
            later = scarce[1:] if scarce is not None else None
            return Family(increments, expected, bias[1:], margin, weights=weights, rare=later)
        statistic = np.concatenate([levels[:, :1], increments], axis=1)
        expected = np.concatenate([theory[:1], expected])
        weights = np.concatenate([[0.0], weights]) if weights is not None else None
        return Family(statistic, expected, bias, margin, leading=1, weights=weights, rare=scarce)

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

    def judged_axes(self, count: int) -> list[Mapping[str, Any]]:
        """Axes of the judged rows, of which there are `count`."""
        first = int(self.starts_with_a_definition)
        return [row.axes for row in self._ordered(self.rows)[first : first + count]]

    def _ratio_family(
        self, rows: Sequence[Row], predictions: Sequence[Prediction], bias: Array, rare: Array | None
    ) -> Family:
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
            scale=np.array([d.mean() for d in denominators[first:]]),
            rare=rare[first:] if rare is not None else None,
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
