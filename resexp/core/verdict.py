"""The verdict: how a measurement is held against its theory.

A family is one quantity followed over its rows. What is judged is a statistic that is close to normal over
networks and whose rows are close to independent: for growing quantities the increment of the logarithm from
one row to the next, never the level. Each family gets two tests at half of alpha: the headline (each network's
mean over the rows) and the rows (Bonferroni). docs/verdict.md explains it to a user and prints its calibration.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from resexp.core.result import ALPHA, Verdict
from resexp.core.statistics import Array, student_quantile, student_tail

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
    effective_draws: how many networks carry a ratio of means.
    """

    statistic: Array
    theory: Array
    bias: Array
    margin: float
    leading: int = 0
    weights: Array | None = None
    effective_draws: float = math.inf

    def over_rows(self, values: Array) -> Array:
        """Mean of values (..., rows) over the rows of the headline."""
        first = self.leading if self.leading < values.shape[-1] else 0
        if self.weights is None:
            return np.asarray(values[..., first:].mean(axis=-1))
        return np.asarray(values[..., first:] @ self.weights[first:])


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
        return min(1.0, 2 * self.headline.p_value, 2 * len(self.rows) * smallest_row)


def judge(family: Family, alpha: float = ALPHA) -> FamilyJudgement:
    """Hold a family against its theory; a true theory is called `disagree` with probability alpha at most."""
    rows = family.statistic.shape[1]
    headline = _judge_one(
        family.over_rows(family.statistic),
        float(family.over_rows(family.theory)),
        float(family.over_rows(family.bias)),
        family.margin,
        alpha / 2,
    )
    judged = (
        _judge_one(x, float(theory), float(bias), ROW_MARGIN * family.margin, alpha / (2 * rows))
        for x, theory, bias in zip(family.statistic.T, family.theory, family.bias, strict=True)
    )
    if not family.effective_draws >= FEWEST_EFFECTIVE:
        return FamilyJudgement(_too_few(headline, family), tuple(_too_few(row, family) for row in judged))
    return FamilyJudgement(headline, tuple(judged))


def _too_few(judgement: Judgement, family: Family) -> Judgement:
    """A ratio of means that few networks carry is not to be trusted, whatever it says."""
    if judgement.verdict is Verdict.NOT_JUDGED or not family.effective_draws > 0:
        return replace(judgement, verdict=Verdict.NOT_JUDGED, p_value=1.0)
    need = math.ceil(len(family.statistic) * FEWEST_EFFECTIVE / family.effective_draws)
    return replace(judgement, verdict=Verdict.UNDERPOWERED, p_value=1.0, draws_needed=need)


def _judge_one(x: Array, theory: float, bias: float, margin: float, threshold: float) -> Judgement:
    """Test of mean(x) = theory within `bias`, x: (draws,); `threshold` is the two-sided level."""
    draws = len(x)
    unusable = int(np.count_nonzero(~np.isfinite(x)))
    if unusable:
        return Judgement(Verdict.NOT_JUDGED, math.nan, math.nan, theory, bias, unusable=unusable)
    estimate, deviation = float(x.mean()), float(x.std(ddof=1))
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
