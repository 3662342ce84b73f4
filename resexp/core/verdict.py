"""The verdict: how a measurement is held against its theory.

A family is one quantity followed over its rows. What is judged is a statistic that is close to normal over
networks and whose rows are close to independent: for growing quantities the increment of the logarithm from
one row to the next, never the level. Each family gets two tests at half of alpha: the headline (each network's
mean over the rows) and the rows (Bonferroni). docs/verdict.md explains it to a user and prints its calibration.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from resexp.core.result import ALPHA, Verdict
from resexp.core.statistics import Array, binomial_tail, share_interval, student_quantile, student_tail

FEWEST_DRAWS = 8
FEWEST_EFFECTIVE = 50  # networks that must carry a ratio of means
ROW_MARGIN = 2.5  # one row alone may be off by this many margins and still count as the same
POWER_QUANTILE = 1.28  # normal quantile of 90 % power
LOOSE = 5.0  # a theory whose declared bias exceeds so many margins cannot be agreed with
ROUNDING = 64 * float(np.finfo(np.float32).eps)  # what float32 may add to one increment; matters where nothing varies


@dataclass(frozen=True)
class Family:
    """One quantity over its rows, as it is judged.

    statistic: (draws, rows) judged statistic of each network;
    theory, bias: (rows,) its expectation and the declared bound on the theory's own error (0 where exact);
    margin: how far off still counts as the same thing;
    leading: how many first rows are levels and stay out of the headline;
    weights: (rows,) of the rows in the headline, equal where not given;
    effective_draws, scale: of a ratio of means, how many networks carry it, and its mean denominators, (rows,);
    rare: (rows,) bound on the bias that falls with the number of networks, times that number;
    is_share: the statistic is 1 or 0, and the theory which of the two most networks give.
    """

    statistic: Array
    theory: Array
    bias: Array
    margin: float
    leading: int = 0
    weights: Array | None = None
    effective_draws: float = math.inf
    scale: Array | None = None
    rare: Array | None = None
    is_share: bool = False

    def shares(self) -> Array:
        """Share of each row in the headline, (rows,)."""
        rows = self.statistic.shape[1]
        first = self.leading if self.leading < rows else 0
        shares = np.zeros(rows)
        shares[first:] = 1.0 / (rows - first) if self.weights is None else self.weights[first:]
        return shares

    def over_rows(self, values: Array) -> Array:
        """Mean of values (..., rows) over the rows of the headline."""
        first = self.leading if self.leading < values.shape[-1] else 0
        if self.weights is None:
            return np.asarray(values[..., first:].mean(axis=-1))
        return np.asarray(values[..., first:] @ self.weights[first:])


@dataclass(frozen=True)
class Moments:
    """All that the verdict on a family needs of its networks, so that runs with other seeds can be pooled.

    mean, deviation, theory, bias: (1 + rows,), the headline first; unusable: (1 + rows,) networks that gave no number;
    weights, scale, rare: (rows,), see Family.
    """

    draws: int
    mean: Array
    deviation: Array
    theory: Array
    bias: Array
    unusable: NDArray[np.int64]
    margin: float
    effective_draws: float = math.inf
    weights: Array | None = None
    scale: Array | None = None
    rare: Array | None = None
    is_share: bool = False

    @classmethod
    def of(cls, family: Family) -> "Moments":
        """Moments of a family of one run."""
        with np.errstate(invalid="ignore"):  # networks without a number, which are counted
            statistic = np.column_stack([family.over_rows(family.statistic), family.statistic])  # (draws, 1 + rows)
            mean, deviation = statistic.mean(axis=0), statistic.std(axis=0, ddof=1)
        unusable = np.count_nonzero(~np.isfinite(statistic), axis=0)
        theory, bias = (np.concatenate([[family.over_rows(x)], x]) for x in (family.theory, family.bias))
        return cls(
            len(statistic),
            mean,
            deviation,
            theory,
            bias,
            unusable,
            family.margin,
            family.effective_draws,
            family.shares(),
            family.scale,
            family.rare,
            family.is_share,
        )

    @classmethod
    def pooled(cls, runs: "Sequence[Moments]") -> "Moments":
        """Moments of all networks of several runs of one setting: exactly those of one run with all of them.

        A ratio's residual is over its run's mean denominator, and is put over that of all runs. Only the deviation of
        a ratio's headline is not exact where its rows have denominators of their own.
        """
        first = runs[0]
        draws = np.array([run.draws for run in runs], dtype=np.float64)
        scales = _scales(runs)
        size = np.ones((len(runs), len(first.mean))) if scales is None else _relative(scales, draws)
        mean, deviation = pooled_moments(
            draws, size * np.stack([run.mean for run in runs]), size * np.stack([run.deviation for run in runs])
        )
        if scales is not None and first.weights is not None:
            mean[0] = first.weights @ mean[1:]
        return replace(
            first,
            draws=int(draws.sum()),
            mean=mean,
            deviation=deviation,
            unusable=np.sum([run.unusable for run in runs], axis=0),
            effective_draws=_pooled_effective(np.array([run.effective_draws for run in runs]), draws * size[:, 0]),
            scale=None if scales is None else draws @ scales / draws.sum(),
        )

    @cached_property
    def declared_bias(self) -> Array:
        """Bound on the theory's own error with so many networks, (1 + rows,)."""
        if self.rare is None or self.weights is None:
            return self.bias
        rows = np.maximum(self.bias[1:], self.rare / self.draws)
        return np.concatenate([[self.weights @ rows], rows])


def _scales(runs: Sequence[Moments]) -> Array | None:
    """Mean denominators of all runs, (runs, rows); None for what is no ratio of means."""
    found = [run.scale for run in runs if run.scale is not None]
    return np.stack(found) if len(found) == len(runs) else None


def _relative(scales: Array, draws: Array) -> Array:
    """Mean denominators of each run over those of all networks, (runs, 1 + rows); the headline's is their mean."""
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = scales / (draws @ scales / draws.sum())
    return np.column_stack([relative.mean(axis=1), relative])


def _pooled_effective(effective: Array, sums: Array) -> float:
    """(sum D)^2 / sum D^2 of all networks from that of each run and its sum of D, up to a factor; (runs,) each."""
    if not (effective > 0).all():
        return 0.0
    squares = float((sums**2 / effective).sum())
    return float(sums.sum()) ** 2 / squares if squares > 0 else math.inf


def pooled_moments(draws: Array, mean: Array, deviation: Array) -> tuple[Array, Array]:
    """Mean and sample standard deviation of all draws of several runs. draws: (runs,); the others (runs, ...)."""
    weights = draws.reshape(-1, *[1] * (mean.ndim - 1))
    total = draws.sum()
    _, exponent = np.frexp(np.maximum(np.abs(mean), deviation).max(axis=0))  # squares might not fit float64
    mean, deviation = np.ldexp(mean, -exponent), np.ldexp(deviation, -exponent)
    with np.errstate(invalid="ignore", over="ignore"):
        centre = (weights * mean).sum(axis=0) / total
        squares = ((weights - 1) * deviation**2 + weights * (mean - centre) ** 2).sum(axis=0)
        return np.ldexp(centre, exponent), np.ldexp(np.sqrt(squares / (total - 1)), exponent)


@dataclass(frozen=True)
class Judgement:
    """Verdict on one number: estimate, its standard error, p-value, and the draws that would settle it.

    bias: declared bound on the theory's own error;
    p_value: two-sided probability, if the theory is true and as far off as its declared bias, of a gap this wide.
    """

    verdict: Verdict
    estimate: float
    stderr: float
    theory: float
    bias: float = 0.0
    p_value: float = 1.0
    draws_needed: int | None = None
    unusable: int = 0


@dataclass(frozen=True)
class FamilyJudgement:
    """Verdicts on a family: the headline, each row, and the two together."""

    headline: Judgement
    rows: tuple[Judgement, ...]
    tests: int = 2

    @property
    def verdict(self) -> Verdict:
        """Disagree when the headline or any row does; otherwise what the headline says."""
        if any(row.verdict is Verdict.DISAGREE for row in self.rows):
            return Verdict.DISAGREE
        return self.headline.verdict

    @property
    def p_value(self) -> float:
        """p-value of the whole family, corrected for its two tests and for the number of rows.

        Below alpha exactly when the family is called `disagree` at that alpha; a claim about several families
        compares it with alpha over their number.
        """
        smallest_row = min(row.p_value for row in self.rows)
        return min(1.0, self.tests * self.headline.p_value, self.tests * len(self.rows) * smallest_row)


def judge(family: Family, alpha: float = ALPHA) -> FamilyJudgement:
    """Hold a family against its theory; a true theory is called `disagree` with probability alpha at most."""
    return judge_moments(Moments.of(family), alpha)


def judge_moments(moments: Moments, alpha: float = ALPHA) -> FamilyJudgement:
    """The same, from what is kept of a family."""
    rows = len(moments.mean) - 1
    if moments.is_share:
        if rows != 1:
            raise TypeError("a share of networks is judged in one row")
        judged_share = _judge_share(moments, alpha)
        return FamilyJudgement(judged_share, (judged_share,), tests=1)
    headline = _judge_one(moments, 0, moments.margin, alpha / 2)
    judged = tuple(
        _judge_one(moments, row, ROW_MARGIN * moments.margin, alpha / (2 * rows)) for row in range(1, rows + 1)
    )
    if not moments.effective_draws >= FEWEST_EFFECTIVE:
        return FamilyJudgement(_too_few(headline, moments), tuple(_too_few(row, moments) for row in judged))
    return FamilyJudgement(headline, judged)


def _too_few(judgement: Judgement, moments: Moments) -> Judgement:
    """A ratio of means that few networks carry is not to be trusted, whatever it says."""
    if judgement.verdict is Verdict.NOT_JUDGED or not moments.effective_draws > 0:
        return replace(judgement, verdict=Verdict.NOT_JUDGED, p_value=1.0)
    need = math.ceil(moments.draws * FEWEST_EFFECTIVE / moments.effective_draws)
    return replace(judgement, verdict=Verdict.UNDERPOWERED, p_value=1.0, draws_needed=need)


def _judge_one(moments: Moments, place: int, margin: float, threshold: float) -> Judgement:
    """Test of mean = theory within `bias` at one place; `threshold` is the two-sided level."""
    draws, theory, bias = moments.draws, float(moments.theory[place]), float(moments.declared_bias[place])
    unusable = int(moments.unusable[place])
    if unusable:
        return Judgement(Verdict.NOT_JUDGED, math.nan, math.nan, theory, bias, unusable=unusable)
    estimate, deviation = float(moments.mean[place]), float(moments.deviation[place])
    stderr = deviation / math.sqrt(draws)
    gap = abs(estimate - theory)
    if draws < FEWEST_DRAWS:
        return Judgement(Verdict.UNDERPOWERED, estimate, stderr, theory, bias, draws_needed=FEWEST_DRAWS)
    rounding = ROUNDING * max(1.0, abs(theory))
    excess = gap - bias - rounding
    p_value = _two_sided(excess, stderr, draws - 1)
    if p_value < threshold:
        return Judgement(Verdict.DISAGREE, estimate, stderr, theory, bias, p_value)
    if bias > LOOSE * margin:
        return Judgement(Verdict.NOT_JUDGED, estimate, stderr, theory, bias, p_value)
    if gap + student_quantile(0.975, draws - 1) * stderr <= bias + margin + rounding:
        return Judgement(Verdict.AGREE, estimate, stderr, theory, bias, p_value)
    need = _draws_to_settle(gap, deviation, bias, margin, student_quantile(1 - threshold / 2, draws - 1))
    return Judgement(Verdict.UNDERPOWERED, estimate, stderr, theory, bias, p_value, need)


def _judge_share(moments: Moments, alpha: float) -> Judgement:
    """Exact test that most networks give what theory says, 1 or 0; alpha: one-sided level of a false `disagree`.

    `agree` where the 95 % interval of the share lies on the theory's side of one half.
    """
    draws, theory, unusable = moments.draws, float(moments.theory[0]), int(moments.unusable[0])
    if unusable:
        return Judgement(Verdict.NOT_JUDGED, math.nan, math.nan, theory, unusable=unusable)
    estimate, stderr = float(moments.mean[0]), float(moments.deviation[0]) / math.sqrt(draws)
    share = estimate if theory >= 0.5 else 1 - estimate
    hits = round(share * draws)
    p_value = binomial_tail(hits, draws, 0.5)
    if draws < FEWEST_DRAWS:
        return Judgement(Verdict.UNDERPOWERED, estimate, stderr, theory, draws_needed=FEWEST_DRAWS)
    if p_value < alpha:
        return Judgement(Verdict.DISAGREE, estimate, stderr, theory, p_value=p_value)
    if share_interval(hits, draws)[0] > 0.5:
        return Judgement(Verdict.AGREE, estimate, stderr, theory, p_value=p_value)
    away = max(abs(share - 0.5), 0.1)
    need = max(draws + 1, math.ceil(((1.96 if share > 0.5 else 2.58) + POWER_QUANTILE) ** 2 * 0.25 / away**2))
    return Judgement(Verdict.UNDERPOWERED, estimate, stderr, theory, p_value=p_value, draws_needed=need)


def share_sentence(judged: Judgement, draws: int) -> str:
    """In how many networks a claim holds, and what follows."""
    hits = round(judged.estimate * draws)
    text = f"holds in {hits} of {draws} networks"
    if judged.verdict is Verdict.UNDERPOWERED:
        return f"{text}; whether it does in most of all is open, and about {judged.draws_needed} would settle it."
    chance = min(binomial_tail(hits, draws, 0.5), 1 - binomial_tail(hits - 1, draws, 0.5))
    return f"{text}, and so {'' if 2 * hits > draws else 'not '}in most of all; chance p = {chance:.1g}."


def _two_sided(excess: float, stderr: float, freedom: int) -> float:
    if excess <= 0:
        return 1.0
    return 2 * student_tail(excess / stderr, freedom) if stderr > 0 else 0.0


def _draws_to_settle(gap: float, deviation: float, bias: float, margin: float, critical: float) -> int:
    """Draws after which a gap of this size would be called one way or the other with 90 % power."""
    if gap > bias + margin:
        need = ((critical + POWER_QUANTILE) * deviation / (gap - bias)) ** 2
    else:
        room = max(bias + margin - gap, margin / 4)
        need = ((1.96 + POWER_QUANTILE) * deviation / room) ** 2
    return max(FEWEST_DRAWS, math.ceil(need))
