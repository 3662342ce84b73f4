"""From measured rows and their theory to statistics, verdicts, rows and headline figures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from resexp.core.ensemble import Ensemble
from resexp.core.result import STATISTICS_COLUMNS, FamilyResult, Prediction, Quantity, Result, Row, Value, Verdict
from resexp.core.statistics import LN2, Array, Samples, Summary, summarise, summarise_growth
from resexp.core.verdict import Family, FamilyJudgement, Judgement, judge

LARGEST_LOG = 1023.9 * LN2


@dataclass(frozen=True)
class Measured:
    """All rows of one quantity, in the order they were measured, with what theory says of each."""

    quantity: Quantity
    rows: Sequence[Row]
    predictions: Sequence[Prediction | None]

    def log_increments(self) -> Array:
        """Natural-log growth of each network from row to row, (draws, rows - 1), in the order of growth."""
        log = np.stack([row.samples.log for row in self._ordered(self.rows)], axis=1)
        with np.errstate(invalid="ignore"):
            return np.diff(log, axis=1)

    def family(self) -> Family | None:
        """The family as it is judged, or None where a row has no theory."""
        predictions = [p for p in self._ordered(self.predictions) if p is not None]
        if self.quantity.judged == "nothing" or len(predictions) < len(self.rows):
            return None
        rows, margin = self._ordered(self.rows), self.quantity.margin
        bias = np.array([p.bias for p in predictions])
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
        if predictions[0].is_definition:
            return Family(increments, np.diff(theory), bias[1:], margin)
        statistic = np.concatenate([levels[:, :1], increments], axis=1)
        return Family(statistic, np.concatenate([theory[:1], np.diff(theory)]), bias, margin, leading=1)

    def place(self, judged_row: int, judged_rows: int) -> str:
        """Where a judged row stands, such as `block 7`; judged rows leave out a first row that is a definition."""
        row = self._ordered(self.rows)[judged_row + len(self.rows) - judged_rows]
        return ", ".join(f"{axis} {value}" for axis, value in row.axes.items())

    def _ordered(self, items: Sequence) -> list:  # type: ignore[type-arg]
        return list(reversed(items)) if self.quantity.reverse else list(items)


def _level_samples(row: Row) -> Array:
    """What is judged of a row that is judged as it stands, (draws,)."""
    return np.ldexp(row.samples.mantissa, row.samples.exponent) if row.statistic is None else row.statistic


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
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.quantity, []).append(row)
    declared = {quantity.name for quantity in experiment.quantities_here()}
    if not declared >= set(grouped):
        unknown = ", ".join(sorted(set(grouped) - declared))
        raise TypeError(f"measure yields rows of {unknown}; declared quantities: {', '.join(sorted(declared))}")
    result = Result(experiment.columns_here(), [])
    measured = {}
    for quantity in experiment.quantities_here():
        if quantity.name not in grouped:
            continue
        group = grouped[quantity.name]
        predictions = [experiment.theory(quantity.name, **row.axes) for row in group]
        measured[quantity.name] = Measured(quantity, group, predictions)
        _assess_quantity(measured[quantity.name], result)
    for name, samples, theory, kind in experiment.headlines(measured):
        summary = summarise(samples, positive=True) if samples is not None else None
        verdict = Verdict.NOT_JUDGED if theory is not None else Verdict.NO_THEORY
        figure = _statistics(summary, theory, kind if theory is not None else None, verdict)
        result.headline.append({"quantity": name, **figure})
    return result


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
    unusable = [row for row in measured.rows if not np.isfinite(row.samples.mantissa).all()]
    if unusable:
        place = ", ".join(f"{k} {v}" for k, v in unusable[0].axes.items())
        count = int(np.count_nonzero(~np.isfinite(unusable[0].samples.mantissa)))
        result.notes.append(
            f"{quantity.name}: {count} of {unusable[0].samples.draws} networks left the range of the dtype "
            f"at {place}; rows from there on are not judged."
        )


def _row_verdicts(measured: Measured, judgement: FamilyJudgement | None) -> list[Verdict]:
    """One verdict for each row, in the order of the rows."""
    predictions = measured.predictions
    if measured.quantity.judged == "nothing":
        return [Verdict.NO_THEORY if p is None else Verdict.NOT_JUDGED for p in predictions]
    if judgement is None:
        return [Verdict.NO_THEORY if p is None else Verdict.NOT_JUDGED for p in predictions]
    verdicts = [row.verdict for row in judgement.rows]
    if len(verdicts) < len(predictions):  # the reference row is true by definition
        verdicts = [Verdict.NOT_JUDGED, *verdicts]
    return list(reversed(verdicts)) if measured.quantity.reverse else verdicts


def _rows(measured: Measured, verdicts: Sequence[Verdict]) -> Iterator[dict[str, Value]]:
    quantity = measured.quantity
    summaries = [summarise(row.samples, positive=quantity.positive) for row in measured.rows]
    for row, prediction, summary, verdict in zip(measured.rows, measured.predictions, summaries, verdicts, strict=True):
        theory = _theory_value(prediction)
        kind = prediction.kind if prediction else None
        yield {**row.axes, "quantity": quantity.name, **_statistics(summary, theory, kind, verdict)}
    if quantity.positive and any(
        s.mean is None and np.isfinite(r.samples.mantissa).all() for s, r in zip(summaries, measured.rows, strict=True)
    ):
        yield from _log2_rows(measured, verdicts)


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
    return float(np.exp(prediction.log)) if prediction.log is not None and prediction.log < LARGEST_LOG else None


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
    if quantity.judged == "log increments":
        summary = summarise_growth(measured.log_increments().mean(axis=1))
        theory = float(np.exp(theory)) if theory is not None else None
    else:
        levels = np.stack([_level_samples(row) for row in measured.rows], axis=1)
        judged = np.diff(levels, axis=1) if quantity.judged == "increments" else levels
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
    where = f"at {measured.place(worst, len(judgement.rows))}" if wrong_row else "per row"
    if shown.verdict is Verdict.NOT_JUDGED:
        return f"{shown.unusable} networks gave a number that is zero or not finite."
    estimate, theory = (np.exp(shown.estimate), np.exp(shown.theory)) if growth else (shown.estimate, shown.theory)
    what = "typical growth" if growth else "what is added" if quantity.judged == "increments" else "level"
    text = f"{what} {where} {estimate:.4g} against {theory:.4g}"
    if growth:
        text += f" (log {shown.estimate:+.4f} ± {shown.stderr:.4f} against {shown.theory:+.4f})"
    else:
        text += f" (± {shown.stderr:.2g})"
    if shown.bias > 0:
        text += f", which this width may shift by {shown.bias:.2g}"
    if shown.verdict is Verdict.DISAGREE:
        text += f"; chance p = {judgement.p_value:.1g}"
    if shown.verdict is Verdict.UNDERPOWERED:
        text += f"; about {shown.draws_needed} draws would settle it"
    return text + "."
