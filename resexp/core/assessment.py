"""From measured rows and their theory to statistics, verdicts, rows and headline figures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from resexp.core.ensemble import Ensemble
from resexp.core.result import STATISTICS_COLUMNS, FamilyResult, Prediction, Quantity, Result, Row, Value, Verdict
from resexp.core.statistics import (
    LN2,
    Array,
    Samples,
    Summary,
    effective_draws,
    median_interval,
    representable,
    representable_exp,
    summarise,
    summarise_growth,
    summarise_ratio,
)
from resexp.core.verdict import Family, FamilyJudgement, Judgement, judge

FEW_CARRY = 0.25  # share of the networks below which a mean is said to be carried by few

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
        levels = np.stack([_level_samples(row) for row in rows], axis=1)
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
            theory = np.array([_typical_log(p) for p in predictions])
        else:
            levels = np.stack([_level_samples(row) for row in rows], axis=1)
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
        return _place(self._ordered(self.rows)[judged_row + without_first])

    def _ratio_family(self, rows: Sequence[Row], predictions: Sequence[Prediction], bias: Array) -> Family:
        """Fieller's residual (N - theory D) / mean(D) of each network, whose expectation is zero if theory is right.

        The headline weighs rows by their theory: where a curve is near zero, noise would drown the rest.
        """
        expected = np.array([_level(p) for p in predictions])
        denominators = [_denominator(row) for row in rows]
        with np.errstate(invalid="ignore"):
            residuals = [
                (_level_samples(row) - theory * d) / d.mean()
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


def _level_samples(row: Row) -> Array:
    """What is judged of a row that is judged as it stands, (draws,)."""
    return np.ldexp(row.samples.mantissa, row.samples.exponent) if row.statistic is None else row.statistic


def _denominator(row: Row) -> Array:
    if row.denominator is None:
        raise TypeError(f"{row.quantity} is judged as a ratio; its rows need a denominator")
    return row.denominator


def _level(prediction: Prediction) -> float:
    if prediction.judged is not None:
        return prediction.judged
    level = _theory_value(prediction)
    if level is None:
        raise TypeError("a quantity judged by its level needs a Prediction with a value")
    return level


def _typical_log(prediction: Prediction) -> float:
    log = prediction.log if prediction.typical_log is None else prediction.typical_log
    if log is None:
        raise TypeError("a quantity judged by log increments needs a Prediction with a log")
    return log


def assess(experiment: Ensemble, rows: Iterable[Row]) -> Result:
    """Judge measured rows against the experiment's theory and lay them out."""
    grouped = by_quantity(rows)
    declared = {quantity.name for quantity in experiment.quantities_here()}
    if not declared >= set(grouped):
        unknown = ", ".join(sorted(set(grouped) - declared))
        raise TypeError(f"measure yields rows of {unknown}; declared quantities: {', '.join(sorted(declared))}")
    result = Result(experiment.columns_here(), [])
    measured = {m.quantity.name: m for m in measure_against_theory(experiment, grouped)}
    for one in measured.values():
        _assess_quantity(one, result)
    for name, summary, theory, kind in experiment.headlines(measured):
        verdict = Verdict.NOT_JUDGED if theory is not None else Verdict.NO_THEORY
        figure = _statistics(summary, theory, kind if theory is not None else None, verdict)
        result.headline.append({"quantity": name, **figure})
    result.notes.extend(experiment.notes())
    return result


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


def _assess_quantity(measured: Measured, result: Result) -> None:
    """Append the rows, family, headline and notes of one quantity to the result."""
    quantity = measured.quantity
    family = measured.family()
    judgement = judge(family) if family is not None else None
    verdicts = _row_verdicts(measured, judgement)
    if not quantity.hidden:
        result.rows.extend(_rows(measured, verdicts))
    if quantity.judged != "nothing":
        result.families.append(_family_result(measured, judgement))
    if quantity.headline is not None:
        result.headline.append(_headline(measured, family, judgement))
    result.notes.extend(_notes(measured))


def _notes(measured: Measured) -> Iterator[str]:
    """Say which networks gave no number, and which means rest on few of them."""
    name = measured.quantity.name
    unusable = [row for row in measured.rows if not np.isfinite(row.samples.mantissa).all()]
    if unusable:
        count = int(np.count_nonzero(~np.isfinite(unusable[0].samples.mantissa)))
        yield (
            f"{name}: {count} of {unusable[0].samples.draws} networks left the range of the dtype, or died, "
            f"at {_place(unusable[0])}; rows with such networks have no statistics and are not judged."
        )
    if not measured.quantity.positive or measured.quantity.hidden:
        return
    finite = [row for row in measured.rows if np.isfinite(row.samples.log2).all()]
    values = [row.samples.scaled() for row in finite]
    effective = [effective_draws(scaled) for scaled, _ in values]
    if effective and min(effective) < FEW_CARRY * finite[0].samples.draws:
        worst = int(np.argmin(effective))
        scaled, exponent = values[worst]
        interval = median_interval(scaled)
        low, high = (representable(x, exponent) for x in interval) if interval else (None, None)
        median = f"; its 95 % interval is {low:.3g} to {high:.3g}" if low is not None and high is not None else ""
        yield (
            f"{name}: the mean at {_place(finite[worst])} is carried by about {effective[worst]:.0f} of "
            f"{len(scaled)} networks; read the median{median}."
        )


def _place(row: Row) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in row.axes.items())


def _row_verdicts(measured: Measured, judgement: FamilyJudgement | None) -> list[Verdict]:
    """One verdict for each row, in the order of the rows."""
    known = [Verdict.NO_THEORY if p is None else Verdict.NOT_JUDGED for p in measured.in_order_of_growth()]
    if judgement is not None:
        first = int(measured.starts_with_a_definition)
        known[first : first + len(judgement.rows)] = [row.verdict for row in judgement.rows]
    return list(reversed(known)) if measured.quantity.reverse else known


def _rows(measured: Measured, verdicts: Sequence[Verdict]) -> Iterator[dict[str, Value]]:
    quantity = measured.quantity
    summaries = [_summary(row, quantity) for row in measured.rows]
    for row, prediction, summary, verdict in zip(measured.rows, measured.predictions, summaries, verdicts, strict=True):
        theory = _theory_value(prediction)
        kind = prediction.kind if prediction else None
        yield {**row.axes, "quantity": quantity.name, **_statistics(summary, theory, kind, verdict)}
    if quantity.positive and any(
        s.mean is None and np.isfinite(r.samples.mantissa).all() for s, r in zip(summaries, measured.rows, strict=True)
    ):
        yield from _log2_rows(measured, verdicts)


def _summary(row: Row, quantity: Quantity) -> Summary:
    if row.denominator is not None:
        return summarise_ratio(_level_samples(row), row.denominator)
    return summarise(row.samples, positive=quantity.positive)


def _log2_rows(measured: Measured, verdicts: Sequence[Verdict]) -> Iterator[dict[str, Value]]:
    """The same rows as base-2 logarithms, for values that float64 cannot hold."""
    for row, prediction, verdict in zip(measured.rows, measured.predictions, verdicts, strict=True):
        if not np.isfinite(row.samples.log2).all():
            continue
        summary = summarise(Samples.of(row.samples.log2), positive=False)
        theory = _typical_log(prediction) / LN2 if prediction else None
        kind = prediction.kind if prediction else None
        yield {
            **row.axes,
            "quantity": f"log2_{measured.quantity.name}",
            **_statistics(summary, theory, kind, verdict),
        }


def _theory_value(prediction: Prediction | None) -> float | None:
    if prediction is None:
        return None
    if prediction.value is not None:
        return prediction.value
    return representable_exp(prediction.log) if prediction.log is not None else None


def _statistics(
    summary: Summary | None, theory: float | None, kind: str | None, verdict: Verdict | None
) -> dict[str, Value]:
    """The statistics columns of one number."""
    names = STATISTICS_COLUMNS[:6]
    measured: dict[str, Value] = {name: getattr(summary, name) if summary else None for name in names}
    return {**measured, "theory": theory, "theory_kind": kind, "verdict": verdict.value if verdict else None}


def _headline(measured: Measured, family: Family | None, judgement: FamilyJudgement | None) -> dict[str, Value]:
    """The figure that sums a family up: growth for each row, or the mean level."""
    quantity = measured.quantity
    kind = weakest_kind(measured.predictions) if family is not None else None
    theory = float(family.theory[family.leading :].mean()) if family is not None else None
    if quantity.judged == "ratio":
        raise TypeError(f"{quantity.name}: a ratio has no headline of its own")
    judged = family.statistic[:, family.leading :] if family is not None else measured.statistic()
    if quantity.judged == "log increments":
        summary = summarise_growth(judged.mean(axis=1))
        theory = representable_exp(theory) if theory is not None else None
    else:
        summary = summarise(Samples.of(judged.mean(axis=1)), positive=False)
    verdict = judgement.headline.verdict if judgement is not None else Verdict.NO_THEORY
    return {"quantity": quantity.headline, **_statistics(summary, theory, kind, verdict)}


def weakest_kind(predictions: Sequence[Prediction | None]) -> str:
    """The kind of theory a figure over all rows rests on: that of its weakest row."""
    kinds: set[str] = {p.kind for p in predictions if p is not None and not p.is_definition}
    return next(kind for kind in ("reference", "monte-carlo", "limit", "finite-width", "exact") if kind in kinds)


def _family_result(measured: Measured, judgement: FamilyJudgement | None) -> FamilyResult:
    quantity = measured.quantity
    if judgement is None:
        return FamilyResult(quantity.name, Verdict.NO_THEORY.value, None, "No theory is known here.")
    return FamilyResult(quantity.name, judgement.verdict.value, judgement.p_value, _explain(measured, judgement))


def _explain(measured: Measured, judgement: FamilyJudgement) -> str:
    """Say in one sentence what the verdict on a family rests on."""
    quantity = measured.quantity
    growth = quantity.judged == "log increments"
    worst = min(range(len(judgement.rows)), key=lambda k: judgement.rows[k].p_value)
    wrong_row = judgement.headline.verdict is not Verdict.DISAGREE and judgement.verdict is Verdict.DISAGREE
    shown: Judgement = judgement.rows[worst] if wrong_row else judgement.headline
    where = f"at {measured.place(worst, without_first=measured.starts_with_a_definition)}" if wrong_row else "per row"
    if shown.unusable:
        return f"{shown.unusable} networks gave a number that is zero or not finite."
    estimate, theory = (np.exp(shown.estimate), np.exp(shown.theory)) if growth else (shown.estimate, shown.theory)
    what = (
        "excess over theory"
        if quantity.judged == "ratio"
        else "typical growth"
        if growth
        else "what is added"
        if quantity.judged == "increments"
        else "level"
    )
    text = f"{what} {where} {estimate:.4g} against {theory:.4g}"
    if growth:
        text += f" (log {shown.estimate:+.4f} ± {shown.stderr:.4f} against {shown.theory:+.4f})"
    else:
        text += f" (± {shown.stderr:.2g})"
    if shown.bias > 0:
        text += f", which this width may shift by {shown.bias:.2g}"
    if shown.verdict is Verdict.NOT_JUDGED:
        text += ": too loose a theory at this width to agree with"
    if shown.verdict is Verdict.DISAGREE:
        text += f"; chance p = {judgement.p_value:.1g}"
    last = len(judgement.rows) - 1
    if last + 1 + measured.starts_with_a_definition < len(measured.rows):
        text += f"; judged as far as {measured.place(last, without_first=measured.starts_with_a_definition)}"
    if shown.verdict is Verdict.UNDERPOWERED:
        text += f"; about {shown.draws_needed} draws would settle it"
    return text + "."
