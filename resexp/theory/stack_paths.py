"""What is expected of the paths of a residual stack at a finite width: the laws of path_lengths.py, with bounds.

The bounds are measured at widths 32 to 128, at 20 and 54 blocks.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from resexp.theory import path_lengths
from resexp.theory.path_lengths import PathLaw
from resexp.theory.paths import LengthDistribution

TYPICAL, NORMED_TYPICAL = 1.0, 5.0
"""Bounds on what a finite width adds to the log norm a branch, times the width; with batch normalisation the second."""
MEAN_LENGTH, NORMED_MEAN_LENGTH = 0.75, 1.5
"""The same for the mean length over the blocks."""
SPREAD = 5.0
"""The same for how much wider or narrower a law is, over the shares themselves."""


@dataclass(frozen=True)
class StackPaths:
    """A stack h' = skip h + branch W relu(h), weights of variance gain / width. batch: with batch normalisation."""

    blocks: int
    width: int
    skip: float
    branch: float
    gain: float
    batch: int | None = None

    @cached_property
    def law(self) -> PathLaw:
        """What each block does to gradients."""
        if self.batch is not None:
            return path_lengths.normalised(self.blocks, branch=self.branch, gain=self.gain, batch=self.batch)
        return path_lengths.unnormalised(
            self.blocks, skip=self.skip, branch=self.branch, gain=self.gain, width=self.width
        )

    @cached_property
    def by_norm(self) -> LengthDistribution:
        """Shares of the lengths by norm times number of paths."""
        return self.law.mean.shares(1)

    @cached_property
    def by_energy(self) -> LengthDistribution:
        """Shares of the lengths by squared norm."""
        return self.law.energy.shares(2)

    def path_gradient(self, length: int) -> tuple[float, float, float]:
        """Logarithm of the mean norm of one path, mean of the logarithm, and the bound on an increment's error."""
        skips = self.blocks * math.log(self.skip)
        mean, typical = (skips + ratios.log_typical_path(length) for ratios in (self.law.mean, self.law.typical))
        return mean, typical, (TYPICAL if self.batch is None else NORMED_TYPICAL) / self.width

    def share(self, shares: LengthDistribution, length: int) -> tuple[float, float]:
        """Share of a length, and the bound on its error."""
        lengths = np.array([length - 1, length, length + 1], dtype=np.int64)
        before, here, after = map(float, shares.at(lengths))
        return here, self._shift * self.blocks * abs(after - before) / 2 + SPREAD / self.width * here

    def mean_length(self, shares: LengthDistribution) -> tuple[float, float]:
        """Mean length over the blocks, and the bound on its error."""
        return shares.mean / self.blocks, self._shift

    def carrying(self, share: float) -> tuple[int, int]:
        """Shortest and longest of the fewest neighbouring lengths that carry this share by norm."""
        return path_lengths.carrying(self.by_norm.at(np.arange(self.blocks + 1)), share)

    @property
    def _shift(self) -> float:
        return (MEAN_LENGTH if self.batch is None else NORMED_MEAN_LENGTH) / self.width
