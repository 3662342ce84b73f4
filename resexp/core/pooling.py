"""Pooling runs of one setting with different seeds: all their networks as one sample.

Each run keeps, for each family, the moments of what was judged; together with the mean, standard error and draws of
every row that is enough for the mean, the standard error and the verdict of all networks at once, exactly (a ratio of
means, and a figure that is neither, are averaged over the runs by their draws). Medians cannot be pooled and are left
out; intervals are Student's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from resexp.core.result import STATISTICS_COLUMNS, FamilyResult, Quantity, Result, Value, Verdict
from resexp.core.statistics import student_quantile
from resexp.core.verdict import FamilyJudgement, Moments, judge_moments, pooled_moments

ARRAYS = ("mean", "deviation", "theory", "bias", "unusable")


def kept(moments: Moments, quantity: Quantity, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Plain data of the moments of a family. rows: the axes of each judged row."""
    arrays = {name: [_plain(x) for x in getattr(moments, name).tolist()] for name in ARRAYS}
    effective = _plain(moments.effective_draws)
    judged = {"judged": quantity.judged, "headline": quantity.headline, "rows": [dict(row) for row in rows]}
    return {"draws": moments.draws, "margin": moments.margin, "effective_draws": effective, **judged, **arrays}


def _plain(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _moments(data: Mapping[str, Any]) -> Moments:
    floats = {n: np.array([math.nan if x is None else x for x in data[n]], dtype=np.float64) for n in ARRAYS[:-1]}
    effective = math.inf if data["effective_draws"] is None else data["effective_draws"]
    unusable = np.array(data["unusable"], dtype=np.int64)
    return Moments(data["draws"], **floats, unusable=unusable, margin=data["margin"], effective_draws=effective)


def pool(results: Sequence[Result]) -> Result:
    """One result for several runs that differ in their seed alone. Raises ValueError where settings differ."""
    first = results[0]
    if len(results) == 1:
        return first
    places = [_place(row) for row in first.rows]
    if any([_place(row) for row in result.rows] != places for result in results):
        raise ValueError("runs of different settings cannot be pooled")
    pooled = Result(first.columns, [_pool_numbers([r.rows[k] for r in results]) for k in range(len(places))])
    for family in first.families:
        same = [f for result in results for f in result.families if f.quantity == family.quantity]
        _pool_family(family, [f.moments for f in same if f.moments is not None], pooled)
    told = {figure["quantity"] for figure in pooled.headline}
    for figure in first.headline:
        if figure["quantity"] not in told:
            same_figures = [f for result in results for f in result.headline if f["quantity"] == figure["quantity"]]
            pooled.headline.append({"quantity": figure["quantity"], **_pool_numbers(same_figures)})
    pooled.notes.append(f"{len(results)} seeds pooled; medians cannot be, and intervals are Student's.")
    return pooled


def _place(row: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    return tuple((name, value) for name, value in row.items() if name not in STATISTICS_COLUMNS)


def _pool_numbers(rows: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """One row or figure over all runs; its verdict is that of the first run until the family is judged again."""
    pooled = dict(rows[0])
    numbers = [(row.get("draws"), row.get("mean"), row.get("stderr")) for row in rows]
    usable = [(n, m, s) for n, m, s in numbers if isinstance(n, int) and _number(m) and _number(s)]
    if "draws" not in pooled:
        return pooled
    pooled |= dict.fromkeys(("mean", "stderr", "ci_low", "ci_high", "median"))
    pooled["draws"] = sum(n for n, _, _ in numbers if isinstance(n, int))
    if len(usable) == len(rows):
        draws, mean, stderr = (np.array(x, dtype=np.float64) for x in zip(*usable, strict=True))
        centre, deviation = pooled_moments(draws, mean, stderr * np.sqrt(draws))
        pooled |= _interval(float(centre), float(deviation) / math.sqrt(draws.sum()), int(draws.sum()))
    return pooled


def _number(x: Value) -> bool:
    return isinstance(x, int | float)


def _interval(mean: float, stderr: float, draws: int) -> dict[str, Value]:
    half = student_quantile(0.975, draws - 1) * stderr
    return {"mean": mean, "stderr": stderr, "ci_low": mean - half, "ci_high": mean + half}


def _pool_family(family: FamilyResult, data: Sequence[Mapping[str, Any]], pooled: Result) -> None:
    """Judge the family again, and give its rows and its headline figure their verdicts."""
    if not data:
        pooled.families.append(family)
        return
    moments = Moments.pooled([_moments(one) for one in data])
    judgement = judge_moments(moments)
    verdicts = [row.verdict.value for row in judgement.rows]
    for axes, verdict in zip(data[0]["rows"], verdicts, strict=True):
        for row in pooled.rows:
            if row["quantity"] in {family.quantity, f"log2_{family.quantity}"} and axes.items() <= row.items():
                row["verdict"] = verdict
    growth = data[0]["judged"] == "log increments"
    verdict = judgement.verdict
    pooled.families.append(
        FamilyResult(family.quantity, verdict.value, judgement.p_value, _sentence(judgement, growth))
    )
    if data[0]["headline"] is not None:
        pooled.headline.append(_figure(data[0]["headline"], judgement, moments.draws, growth))


def _figure(name: str, judgement: FamilyJudgement, draws: int, growth: bool) -> dict[str, Value]:
    shown = judgement.headline
    numbers: dict[str, Value] = dict.fromkeys(STATISTICS_COLUMNS)
    if shown.verdict is not Verdict.NOT_JUDGED or not shown.unusable:
        numbers |= _interval(shown.estimate, shown.stderr, draws)
        numbers["theory"] = shown.theory
        if growth:
            grown = ("mean", "ci_low", "ci_high", "theory")
            numbers |= {k: math.exp(v) for k in grown if isinstance(v := numbers[k], float)}
            numbers["stderr"] = math.exp(shown.estimate) * shown.stderr
    return {"quantity": name, **numbers, "draws": draws, "verdict": shown.verdict.value}


def _sentence(judgement: FamilyJudgement, growth: bool) -> str:
    shown = judgement.headline
    if shown.unusable:
        return f"{shown.unusable} networks gave a number that is zero or not finite."
    what = "mean log growth" if growth else "mean"
    wrong = min(judgement.rows, key=lambda row: row.p_value)
    if shown.verdict is not Verdict.DISAGREE and wrong.verdict is Verdict.DISAGREE:
        shown, what = wrong, f"{what} of the worst row"
    return f"{what} {shown.estimate:.4g} against {shown.theory:.4g} (± {shown.stderr:.2g})."
