"""How a moment grows from block to block: constant, linear, power or exponential, or honestly undecided.

Networks differ by a random walk in the logarithm, so what is fitted is the step of the mean logarithm from one block to
the next, weighed by how much that step varies over networks (the noise of a step may fall with depth as a power):

    exponential  r              linear  log((1 + rho (j+1)) / (1 + rho j))              power  p log((j+1) / j)

A law is named if its quasi-BIC is lower than every other's by MARGIN: chi-square over the dispersion of the best law,
so that blocks that differ among themselves count as noise, not as evidence. Where it leaves all of them behind, a power
of 1 + rho j is fitted too. `constant` is a claim of its own: that all growth together is less than a quarter, with 95 %
confidence. Below LEAST points nothing is named.

Gradients are fitted upside down, in the order of the forward pass: where the second moment v grows by a sum, a block
multiplies the squared gradient by 1 + g / v, so that it is the gradient's inverse that grows linearly, or as a power.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from resexp.core.statistics import Array, Summary, student_quantile, summarise_growth

Law = Literal["constant", "linear", "power", "exponential"]
LAWS: tuple[Law, ...] = get_args(Law)
LEAST = 8
SKIPPED = 2
"""Values at the input's end that a law need not hold for."""
MARGIN = 6.0
FOLLOWED = 0.9
"""Share of a curve's variance that a law must explain to be named."""
LEAST_BEND = 2.0
"""rho times the blocks, for a power of 1 + rho j not to be an exponential."""
MOST_RHO = 4.0
"""Beyond it the first step alone would tell the power."""
ALIKE = 0.05
"""Difference of logarithms below which a power counts as the line that it resembles."""
NEGLIGIBLE = math.log(1.25)
"""Logarithm of a growth over all blocks that is still called constant."""


@dataclass(frozen=True)
class Growth:
    """What the fits say of one stage.

    law: None where undecided; candidates: laws that are not ruled out; points: values a network; step: growth a block,
    geometric mean over networks and its interval; total: the same over all blocks; parameter: rate, rho or exponent;
    rho: a power is one of 1 + rho j; skipped: values at the input's end that the law does not hold for.
    """

    law: Law | None
    candidates: tuple[Law, ...]
    points: int
    step: Summary
    total: Summary
    parameter: float = math.nan
    rho: float = 1.0
    skipped: int = 0

    @property
    def told(self) -> str:
        """The law in words."""
        if self.law is not None:
            exponent = f" (exponent {self.parameter:.2g})" if self.law == "power" else ""
            return self.law + exponent + (f" but for the {self.skipped} nearest to the input" if self.skipped else "")
        if self.points < LEAST:
            return f"undecided ({self.points} values, and {LEAST} are the least)"
        return f"undecided ({' or '.join(self.candidates) or 'no law fits'})"


def fit(log: Array) -> Growth | None:
    """Fit the laws to the logarithms of a moment, (draws, blocks); None where some are not finite, or no step is.

    Where no law fits the whole, up to SKIPPED values at the input's end are left out: what enters is often of another
    size than what the blocks make of it.
    """
    if log.shape[1] < 2 or len(log) < 2 or not np.isfinite(log).all():
        return None
    points = log.shape[1]
    whole = log[:, -1] - log[:, 0]
    step, total = summarise_growth(whole / (points - 1)), summarise_growth(whole)
    if points < LEAST:
        return Growth(None, LAWS, points, step, total)
    first = None
    for skipped in range(min(SKIPPED, points - LEAST) + 1):
        candidates, parameter, rho = _candidates(log[:, skipped:])
        law = candidates[0] if len(candidates) == 1 else None
        found = Growth(law, candidates, points, step, total, parameter, rho, skipped)
        first = first or found
        if candidates:
            return found
    return first


def _candidates(log: Array) -> tuple[tuple[Law, ...], float, float]:
    """Laws that are not ruled out, none where none follows the curve; where it is one law, its parameter and rho."""
    steps, whole = log.shape[1] - 1, log[:, -1] - log[:, 0]
    if _is_constant(whole):
        return ("constant",), 0.0, 1.0
    increments = np.diff(log, axis=1)
    mean, weights = increments.mean(axis=0), len(log) / _noise(increments)
    fits = {law: _fitted(law, mean, weights) for law in LAWS[1:]}
    bent, exponent, rho = _fitted_power(mean, weights)
    least = min(bent / max(1, steps - 2), *(chi / max(1, steps - 1) for chi, _ in fits.values()))
    dispersion = max(1.0, least)
    scores = {law: chi / dispersion for law, (chi, _) in fits.items()}  # all have one parameter
    still = float(np.sum(weights * mean**2)) / dispersion - math.log(steps)
    best = min(scores.values())
    if bent / dispersion + math.log(steps) + MARGIN < best and _follows(log.mean(axis=0), "power", exponent, rho):
        return ("power",), exponent, rho
    candidates = tuple(law for law in LAWS[1:] if scores[law] < best + MARGIN)
    if candidates == ("linear", "power") and _alike(fits["linear"][1], fits["power"][1], steps):
        candidates = ("linear",)
    if not any(_follows(log.mean(axis=0), law, fits[law][1], 1.0) for law in candidates):
        return (), math.nan, 1.0
    if still < best + MARGIN and _may_be_nothing(summarise_growth(whole)):
        candidates = ("constant", *candidates)
    return candidates, fits[candidates[0]][1] if len(candidates) == 1 else math.nan, 1.0


def _may_be_nothing(total: Summary) -> bool:
    """Whether the interval of the growth over all blocks holds 1."""
    return total.ci_low is None or total.ci_high is None or total.ci_low <= 1.0 <= total.ci_high


def _follows(mean: Array, law: Law, parameter: float, rho: float) -> bool:
    """Whether a law follows the mean curve: what it leaves over is a small share of what there is to explain."""
    j = np.arange(len(mean))
    shape = {"exponential": parameter * j, "power": parameter * np.log1p(rho * j)}
    curve = shape[law] if law in shape else np.log1p(parameter * j)
    left = (mean - mean.mean()) - (curve - curve.mean())
    return bool(left @ left < (1 - FOLLOWED) * np.sum((mean - mean.mean()) ** 2) + len(mean) * ALIKE**2)


def _is_constant(whole: Array) -> bool:
    half = student_quantile(0.975, len(whole) - 1) * float(whole.std(ddof=1)) / math.sqrt(len(whole))
    return abs(float(whole.mean())) + half < NEGLIGIBLE


def _noise(increments: Array) -> Array:
    """Variance over networks of each step, smoothed to a power of the step's number, (steps,)."""
    floor = 1e-12 + 1e-6 * float(np.square(increments).mean())
    variance = increments.var(axis=0, ddof=1) + floor
    number = np.log(np.arange(1, len(variance) + 1))
    centred = number - number.mean()
    slope = float(np.clip(centred @ np.log(variance) / (centred @ centred), -3.0, 1.0))
    shape = np.exp(slope * number)
    return np.asarray(shape * (variance / shape).mean())


def _fitted(law: Law, mean: Array, weights: Array) -> tuple[float, float]:
    """Chi-square of a law's best fit, and its parameter."""
    if law == "linear":
        return _fitted_linear(mean, weights)
    j = np.arange(len(mean) + 1, dtype=np.float64)
    return _multiple(j if law == "exponential" else np.log1p(j), mean, weights)


def _multiple(curve: Array, mean: Array, weights: Array) -> tuple[float, float]:
    """Chi-square of the best multiple of a curve, and the factor."""
    shape = np.diff(curve)
    factor = float(np.sum(weights * shape * mean) / np.sum(weights * shape**2))
    return float(np.sum(weights * (mean - factor * shape) ** 2)), factor


def _fitted_power(mean: Array, weights: Array) -> tuple[float, float, float]:
    """Chi-square, exponent and rho of the best power of 1 + rho j, by search over rho."""
    j = np.arange(len(mean) + 1)
    tried = np.geomspace(LEAST_BEND / len(mean), MOST_RHO, 100)
    found = [_multiple(np.log1p(rho * j), mean, weights) for rho in tried]
    at = int(np.argmin([chi for chi, _ in found]))
    return *found[at], float(tried[at])


def _fitted_linear(mean: Array, weights: Array) -> tuple[float, float]:
    """The same by search: rho > -1 / steps, from a line that falls to nothing to one that starts at nothing."""
    steps = len(mean)
    j = np.arange(steps + 1)

    def chi(rho: float) -> float:
        return float(np.sum(weights * (mean - np.diff(np.log1p(rho * j))) ** 2))

    grid = np.concatenate([-np.linspace(0.999, 0.001, 60) / steps, np.logspace(-5, 4, 120)])
    at = int(np.argmin([chi(rho) for rho in grid]))
    low, high = grid[max(0, at - 1)], grid[min(len(grid) - 1, at + 1)]
    for _ in range(60):
        third = (high - low) / 3
        low, high = (low, high - third) if chi(low + third) < chi(high - third) else (low + third, high)
    rho = float((low + high) / 2)
    return chi(rho), rho


def _alike(rho: float, exponent: float, steps: int) -> bool:
    """Whether a line and a power are the same curve as far as it was looked at: a line that starts near nothing."""
    j = np.arange(steps + 1)
    return bool(np.abs(np.log1p(rho * j) - exponent * np.log1p(j)).max() < ALIKE)


def block_beyond(log: Array, growth: Growth, target: Array) -> Array | None:
    """Block at which each network's law reaches `target` (draws,), logarithms as in `log` (draws, blocks).

    Blocks are counted from the first value, 0. None where no law is named, or a network never gets there.
    """
    if growth.law is None or growth.law == "constant":
        return None
    last = log.shape[1] - 1
    rise, need = log[:, -1] - log[:, 0], target - log[:, 0]
    if (rise <= 0).any():
        return None
    with np.errstate(over="ignore"):
        if growth.law == "exponential":
            found = need / (rise / last)
        elif growth.law == "linear":
            found = np.expm1(np.minimum(need, 700.0)) / (np.expm1(rise) / last)
        else:
            exponent = rise / math.log1p(growth.rho * last)
            found = np.expm1(np.minimum(need / exponent, 700.0)) / growth.rho
    return np.asarray(found) if np.isfinite(found).all() and found.max() < 1e9 else None
