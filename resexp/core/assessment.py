"""From measured rows and their theory to statistics, verdicts, rows and headline figures."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from resexp.core.ensemble import Ensemble
from resexp.core.measured import (
    Measured,
    by_quantity,
    level_samples,
    measure_against_theory,
    place_of,
    theory_value,
    typical_log,
)
from resexp.core.pooling import kept
from resexp.core.result import STATISTICS_COLUMNS, FamilyResult, Prediction, Quantity, Result, Row, Value, Verdict
from resexp.core.statistics import (
    LN2,
    Samples,
    Summary,
    effective_draws,
    median_interval,
    representable,
    representable_exp,
    summarise,
    summarise_growth,
    summarise_ratio,
    summarise_share,
)
from resexp.core.verdict import Family, FamilyJudgement, Judgement, Moments, judge, share_sentence

NEARLY_BEYOND = 960  # doublings; float64 ends at 1023, and the networks of one seed or another lie about the theory
FEW_CARRY = 0.25  # share of the networks below which a mean is said to be carried by few


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


def _assess_quantity(measured: Measured, result: Result) -> None:
    """Append the rows, family, headline and notes of one quantity to the result."""
    quantity = measured.quantity
    family = measured.family()
    judgement = judge(family) if family is not None else None
    verdicts = _row_verdicts(measured, judgement)
    if not quantity.hidden:
        result.rows.extend(_rows(measured, verdicts))
    if quantity.judged != "nothing":
        result.families.append(_family_result(measured, family, judgement))
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
            f"at {place_of(unusable[0])}; rows with such networks have no statistics and are not judged."
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
            f"{name}: the mean at {place_of(finite[worst])} is carried by about {effective[worst]:.0f} of "
            f"{len(scaled)} networks; read the median{median}."
        )


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
        theory = theory_value(prediction)
        kind = prediction.kind if prediction else None
        yield {**row.axes, "quantity": quantity.name, **_statistics(summary, theory, kind, verdict)}
    of_each = zip(measured.rows, measured.predictions, summaries, strict=True)
    if quantity.positive and any(_needs_log2(*one) for one in of_each):
        yield from _log2_rows(measured, verdicts)


def _needs_log2(row: Row, prediction: Prediction | None, summary: Summary) -> bool:
    """Whether float64 cannot hold a number of the row, or nearly so: with another seed it may not."""
    if not np.isfinite(row.samples.mantissa).all():
        return False
    logs = (prediction.log, prediction.typical_log) if prediction is not None else ()
    near = any(log is not None and abs(log) > NEARLY_BEYOND * LN2 for log in logs)
    return near or any(x is None for x in (summary.mean, summary.median, summary.ci_low, summary.ci_high))


def _summary(row: Row, quantity: Quantity) -> Summary:
    if row.denominator is not None:
        return summarise_ratio(level_samples(row), row.denominator)
    if quantity.judged == "share":
        return summarise_share(level_samples(row))
    return summarise(row.samples, positive=quantity.positive)


def _log2_rows(measured: Measured, verdicts: Sequence[Verdict]) -> Iterator[dict[str, Value]]:
    """The same rows as base-2 logarithms, for values that float64 cannot hold."""
    for row, prediction, verdict in zip(measured.rows, measured.predictions, verdicts, strict=True):
        if not np.isfinite(row.samples.log2).all():
            continue
        summary = summarise(Samples.of(row.samples.log2), positive=False)
        theory = typical_log(prediction) / LN2 if prediction else None
        kind = prediction.kind if prediction else None
        yield {
            **row.axes,
            "quantity": f"log2_{measured.quantity.name}",
            **_statistics(summary, theory, kind, verdict),
        }


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
    theory = float(family.over_rows(family.theory)) if family is not None else None
    if quantity.judged == "ratio":
        raise TypeError(f"{quantity.name}: a ratio has no headline of its own")
    judged = family.over_rows(family.statistic) if family is not None else measured.headline_samples()
    if quantity.judged == "log increments":
        summary = summarise_growth(judged)
        theory = representable_exp(theory) if theory is not None else None
    elif quantity.judged == "share":
        summary = summarise_share(judged)
    else:
        summary = summarise(Samples.of(judged), positive=False)
    verdict = judgement.headline.verdict if judgement is not None else Verdict.NO_THEORY
    return {"quantity": quantity.headline, **_statistics(summary, theory, kind, verdict)}


def weakest_kind(predictions: Sequence[Prediction | None]) -> str:
    """The kind of theory a figure over all rows rests on: that of its weakest row."""
    kinds: set[str] = {p.kind for p in predictions if p is not None and not p.is_definition}
    return next(kind for kind in ("reference", "monte-carlo", "limit", "finite-width", "exact") if kind in kinds)


def _family_result(measured: Measured, family: Family | None, judgement: FamilyJudgement | None) -> FamilyResult:
    name = measured.quantity.name
    if family is None or judgement is None:
        return FamilyResult(name, Verdict.NO_THEORY.value, None, "No theory is known here.")
    rows = measured.judged_axes(len(judgement.rows))
    moments = kept(Moments.of(family), measured.quantity, rows)
    return FamilyResult(name, judgement.verdict.value, judgement.p_value, _explain(measured, judgement), moments)


def _explain(measured: Measured, judgement: FamilyJudgement) -> str:
    """Say in one sentence what the verdict on a family rests on."""
    quantity = measured.quantity
    growth = quantity.judged == "log increments"
    worst = min(range(len(judgement.rows)), key=lambda k: judgement.rows[k].p_value)
    wrong_row = judgement.headline.verdict is not Verdict.DISAGREE and judgement.verdict is Verdict.DISAGREE
    shown: Judgement = judgement.rows[worst] if wrong_row else judgement.headline
    axis = next(iter(measured.rows[0].axes))
    mean = f"a {axis}" if quantity.judged in {"log increments", "increments"} else "over all rows"
    where = f"at {measured.place(worst, without_first=measured.starts_with_a_definition)}" if wrong_row else mean
    if shown.unusable:
        return f"{shown.unusable} networks gave a number that is zero or not finite."
    if quantity.judged == "share":
        return share_sentence(shown, len(measured.rows[0].samples.mantissa))
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
        text += f" (standard error {shown.stderr:.2g})"
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
