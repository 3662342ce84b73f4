"""Pooling runs of one setting with different seeds: all their networks as one sample.

Each run keeps, for each family, the moments of what was judged; together with the mean, standard error and draws of
every row (core/pooled_rows.py) that is enough for the mean, the standard error and the verdict of all networks at once.
A family that a run has no number for is not judged. Figures without a standard error are averaged over the runs, whose
scatter is their error. Medians cannot be pooled and are left out; intervals are Student's.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from resexp.core.errors import ResexpError
from resexp.core.pooled_rows import MEASURED, Numbers, Place, by_place, interval, merged, places, pooled_rows
from resexp.core.result import FamilyResult, Quantity, Result, Value, Verdict
from resexp.core.statistics import Array, share_interval
from resexp.core.verdict import FamilyJudgement, Moments, judge_moments, share_sentence

ARRAYS = ("mean", "deviation", "theory", "bias", "unusable")
OF_SOME = ("weights", "scale", "rare")
"""Arrays that are kept where a family is a ratio of means, or of what is rare."""
ROUNDING = 1e-6  # relative; two machines may disagree by so much about a theory


Figures = Callable[[Sequence[Mapping[str, Value]]], Mapping[str, float | None]]


class PoolingError(ResexpError):
    """Runs that are not of one setting, or not kept as they are now."""


def kept(moments: Moments, quantity: Quantity, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Plain data of the moments of a family. rows: the axes of each judged row."""
    more = OF_SOME if moments.scale is not None or moments.rare is not None else ()
    found = {name: getattr(moments, name) for name in (*ARRAYS, *more)}
    arrays = {name: [_plain(x) for x in array.tolist()] for name, array in found.items() if array is not None}
    effective = _plain(moments.effective_draws)
    judged = {"judged": quantity.judged, "headline": quantity.headline, "rows": [dict(row) for row in rows]}
    return {"draws": moments.draws, "margin": moments.margin, "effective_draws": effective, **judged, **arrays}


def _plain(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _moments(data: Mapping[str, Any]) -> Moments:
    names = (*ARRAYS[:-1], *(name for name in OF_SOME if name in data))
    try:
        floats = {n: np.array([math.nan if x is None else x for x in data[n]], dtype=np.float64) for n in names}
        effective = math.inf if data["effective_draws"] is None else data["effective_draws"]
        unusable = np.array(data["unusable"], dtype=np.int64)
        return Moments(
            data["draws"],
            **floats,
            unusable=unusable,
            margin=data["margin"],
            effective_draws=effective,
            is_share=data["judged"] == "share",
        )
    except (KeyError, TypeError, ValueError):
        raise PoolingError("What was kept of a family is not as this version of resexp keeps it.") from None


def pool(results: Sequence[Result], figures: "Figures | None" = None) -> Result:
    """One result for several runs that differ in their seed alone. Raises PoolingError where settings differ.

    figures: headline figures that follow from the pooled rows (Ensemble.pooled_figures).
    """
    first = results[0]
    if len(results) == 1:
        return first
    if any(result.columns != first.columns for result in results):
        raise PoolingError("Runs of different settings cannot be pooled: their columns differ.")
    draws = [max((n for row in result.rows if isinstance(n := row.get("draws"), int)), default=0) for result in results]
    told = [{family.quantity: family for family in result.families} for result in results]
    families = {name: [run.get(name) for run in told] for name in merged(told)}
    pooled = Result(first.columns, pooled_rows([r.rows for r in results], draws, _energies(families)))
    pooled.headline.extend(pooled_rows([r.headline for r in results], draws))
    follow = figures(pooled.rows) if figures is not None else {}
    for figure in pooled.headline:
        if figure["quantity"] in follow:
            figure |= {**dict.fromkeys(MEASURED), "mean": follow[str(figure["quantity"])]}
    at = by_place(pooled.rows)
    for name, runs in families.items():
        pooled.families.append(_pool_family(name, runs, at, pooled.headline))
    _judge_repeated(pooled)
    pooled.notes.extend(_notes(results, pooled))
    return pooled


def _energies(families: Mapping[str, Sequence[FamilyResult | None]]) -> dict[Place, Array]:
    """Mean denominators of each run, (runs,), where a ratio of means stands."""
    found: dict[Place, Array] = {}
    for name, runs in families.items():
        data = [run.moments for run in runs if run is not None and run.moments is not None]
        if len(data) == len(runs) and all("scale" in one for one in data):
            stands = places({**axes, "quantity": name} for axes in data[0]["rows"])
            scales = [_moments(one).scale for one in data]
            found |= dict(zip(stands, np.stack([s for s in scales if s is not None], axis=1), strict=True))
    return found


def _pool_family(
    name: str, runs: Sequence[FamilyResult | None], at: Mapping[Place, Numbers], headline: Iterable[Numbers]
) -> FamilyResult:
    """Judge the family again, and give its rows and its headline figure their verdicts."""
    there = [run for run in runs if run is not None]
    data = [run.moments for run in there if run.moments is not None]
    verdicts = {run.verdict for run in there}
    exact = len(there) == len(runs) and len(verdicts) == 1 and there[0].p_value is not None
    if not data and (exact or verdicts == {Verdict.NO_THEORY}):
        return there[0]
    if len(data) < len(runs):
        missing = f"{len(runs) - len(data)} of {len(runs)} seeds give no number"
        sentence = f"{missing}, and the others alone would be biased." if data else f"{missing} that can be judged."
        return FamilyResult(name, Verdict.NOT_JUDGED.value, None, sentence)
    moments = Moments.pooled(_of_one_setting(name, data))
    judgement = judge_moments(moments)
    for axes, row in zip(data[0]["rows"], judgement.rows, strict=True):
        for place in places({**axes, "quantity": shown} for shown in (name, f"log2_{name}")):
            if place in at:
                at[place]["verdict"] = row.verdict.value
    growth, is_share = data[0]["judged"] == "log increments", data[0]["judged"] == "share"
    for figure in headline:
        if figure["quantity"] == data[0]["headline"]:
            figure |= _figure(judgement, moments.draws, growth=growth)
            if is_share and not judgement.headline.unusable:
                hits = round(judgement.headline.estimate * moments.draws)
                figure["ci_low"], figure["ci_high"] = share_interval(hits, moments.draws)
    said = share_sentence(judgement.headline, moments.draws) if is_share else _sentence(judgement, growth=growth)
    return FamilyResult(name, judgement.verdict.value, judgement.p_value, said)


def _of_one_setting(name: str, data: Sequence[Mapping[str, Any]]) -> list[Moments]:
    """The moments of all runs. Raises PoolingError where other rows are judged, or held against another theory."""
    moments = [_moments(one) for one in data]
    first = moments[0].theory
    for one, other in zip(data, moments, strict=True):
        same = one["rows"] == data[0]["rows"] and other.theory.shape == first.shape
        if not same or not np.allclose(other.theory, first, rtol=ROUNDING, atol=ROUNDING, equal_nan=True):
            raise PoolingError(f"Runs of different settings cannot be pooled: the theories of {name} differ.")
    return moments


def _figure(judgement: FamilyJudgement, draws: int, *, growth: bool) -> Numbers:
    """What the headline figure of a judged family says, beside the theory it has."""
    shown = judgement.headline
    verdict: Numbers = {"verdict": shown.verdict.value, "draws": draws}
    if shown.unusable:
        return verdict
    numbers = interval(shown.estimate, shown.stderr, draws)
    if growth:
        numbers = {name: math.exp(x) for name, x in numbers.items() if isinstance(x, float)}
        numbers["stderr"] = math.exp(shown.estimate) * shown.stderr
    return verdict | numbers


def _judge_repeated(pooled: Result) -> None:
    """Give a figure `mean_x` that repeats the only row of a quantity x its verdict."""
    for figure in pooled.headline:
        rows = [row for row in pooled.rows if figure["quantity"] == f"mean_{row.get('quantity')}"]
        if len(rows) == 1 and all(figure[name] == rows[0][name] for name in ("mean", "stderr", "draws", "theory")):
            figure["verdict"] = rows[0]["verdict"]


def _notes(results: Sequence[Result], pooled: Result) -> Iterator[str]:
    """What holds for every seed, and what pooling could not do."""
    of_each = [set(result.notes) for result in results]
    yield from (note for note in results[0].notes if all(note in notes for notes in of_each))
    for family in pooled.families:
        if family.verdict == Verdict.NOT_JUDGED and family.moments is None and family.p_value is None:
            yield f"{family.quantity}: not judged. {family.sentence}"
    scattered = [str(f["quantity"]) for f in pooled.headline if f.get("mean") is not None and _is_scattered(results, f)]
    if scattered:
        yield f"{', '.join(scattered)}: the mean over the seeds, and their scatter is its error."
    yield f"{len(results)} seeds pooled; medians cannot be, and intervals are Student's."


def _is_scattered(results: Sequence[Result], figure: Numbers) -> bool:
    """Whether the figure has no standard error in a run, and has one now."""
    each = [f for result in results for f in result.headline if f["quantity"] == figure["quantity"]]
    return figure["stderr"] is not None and any(f["stderr"] is None for f in each)


def _sentence(judgement: FamilyJudgement, *, growth: bool) -> str:
    shown = judgement.headline
    if shown.unusable:
        return f"{shown.unusable} networks gave a number that is zero or not finite."
    what = "mean log growth" if growth else "mean"
    wrong = min(judgement.rows, key=lambda row: row.p_value)
    if shown.verdict is not Verdict.DISAGREE and wrong.verdict is Verdict.DISAGREE:
        shown, what = wrong, f"{what} of the worst row"
    return f"{what} {shown.estimate:.4g} against {shown.theory:.4g} (± {shown.stderr:.2g})."
