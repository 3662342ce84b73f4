"""What is known of a scalar network's gradient autocorrelation, figures that sum a curve up, and what they cost.

Source: theory/gradient_autocorrelation.py, which derives the recursion; Balduzzi et al. 2017 for co-activation.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexp.theory import gradient_autocorrelation as recursion

Floats = NDArray[np.float64]

MOST_SAMPLED = 1024
"""Inputs beyond which the recursion over sampled units would take longer than the networks it predicts."""
FEW_POINTS = 128


@dataclass(frozen=True)
class ScalarTheory:
    """Theory of one network at infinite width. first: variance of the first weights; norm: none, centre or batchnorm.

    mirrored: linear at initialisation, so that the gradient never changes.
    """

    depth: int
    first: float
    weight_gain: float
    bias_variance: float
    skip: float
    branch: float
    norm: str
    mirrored: bool

    @property
    def is_sampled(self) -> bool:
        """Whether moments are averages over sampled units rather than closed forms."""
        return self.norm != "none"

    def curve(self, x: Floats, left_out: int | None = None) -> tuple[Floats, Floats]:
        """Autocorrelation at each lag of the grid x, and its standard error, (points,) each.

        left_out: an input that counts in no pair, for dy/dx does not exist there.
        """
        if self.mirrored:
            return np.ones(len(x)), np.zeros(len(x))
        law: dict[str, Any] = {
            name: getattr(self, name) for name in ("depth", "first", "weight_gain", "skip", "branch")
        }
        law["left_out"] = left_out
        if not self.is_sampled:
            curve = recursion.exact(x, **law, bias_variance=self.bias_variance)
            return np.asarray(curve, dtype=np.float64), np.zeros(len(x))
        curve, stderr = recursion.by_sampled_units(x, **law, scales=self.norm == "batchnorm")
        return np.asarray(curve, dtype=np.float64), np.asarray(stderr, dtype=np.float64)

    def memory(self, points: int) -> int:
        """Bytes of the recursion: matrices over pairs of inputs, and sampled units; measured."""
        return 8 * (26 * points**2 + 10 * recursion.UNITS * points * self.is_sampled)

    def seconds(self, points: int) -> float:
        """Seconds of the recursion, from two layers on a small grid: it grows as points to the 2.5, measured."""
        few, short = min(points, FEW_POINTS), replace(self, depth=min(self.depth, 2))
        start = time.perf_counter()
        short.curve(np.linspace(-2.0, 2.0, few))
        return (time.perf_counter() - start) * self.depth / short.depth * math.pow(points / few, 2.5)


def half_lag(curve: Sequence[float], step: float) -> float | None:
    """Lag, in units of the input, at which the curve first falls to one half; None where it does not.

    step: distance of two neighbours on the grid.
    """
    for k, (before, after) in enumerate(pairwise(curve)):
        if before > 0.5 >= after:
            return step * (k + (before - 0.5) / (before - after))
    return None


def whiteness(curve: Sequence[float]) -> float:
    """1 / (1 + 2 sum r^2) over the lags after 0: 1 for white noise, towards 0 for what never changes."""
    return 1.0 / (1.0 + 2.0 * sum(r * r for r in curve[1:]))


def co_activation(depth: int, *, residual: bool, normalised: bool) -> float:
    """Correlation of gradients after depth layers if no two inputs of any layer were correlated: a model, no limit."""
    return 1 / math.sqrt(depth) if normalised else 0.75**depth if residual else 0.5**depth
