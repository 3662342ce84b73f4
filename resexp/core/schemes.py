"""Residual schemes: how a block adds its branch to the skip connection at initialisation.

    h[k+1] = skip * h[k] + branch * f(h[k])

A scheme is a definition, not a theory: measurement and closed form both start from these two numbers.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

SchemeName = Literal["plain", "residual", "rescaled", "batchnorm", "skipinit", "rezero", "stable", "fixup"]
SMALLEST_ALPHA = 1e-6
SCHEMES: tuple[SchemeName, ...] = get_args(SchemeName)


@dataclass(frozen=True)
class Scheme:
    """Scales of skip and branch, the scale of the inner weights of a two-layer branch, and batch normalisation."""

    skip: float
    branch: float
    inner: float = 1.0
    batchnorm: bool = False

    @property
    def gain(self) -> float:
        """Growth g of the second moment a block at infinite width when the branch keeps it: skip^2 + branch^2."""
        return self.skip**2 + self.branch**2

    @property
    def branch_share(self) -> float:
        """Share lambda of the branch in the gain."""
        return self.branch**2 / self.gain


def scheme(name: SchemeName, depth: int, alpha: float | None = None) -> Scheme:
    """Scales of a named scheme in a net of `depth` blocks; `alpha` overrides the scale of the branch.

    Sources: residual and batchnorm, He et al. 2016; rescaled (1/sqrt 2), Prince 2023 problem 11.6; stable
    (1/sqrt K), Hayou et al. 2021; skipinit, De and Smith 2020; rezero, Bachlechner et al. 2021; fixup, Zhang
    et al. 2019 (last weights of the branch zero, the m - 1 others scaled by K^(-1/(2m-2)), here m = 2).
    """
    half = math.sqrt(0.5)
    named = {
        "plain": Scheme(0.0, 1.0),
        "residual": Scheme(1.0, 1.0),
        "rescaled": Scheme(half, half),
        "batchnorm": Scheme(1.0, 1.0, batchnorm=True),
        "skipinit": Scheme(1.0, 0.0),
        "rezero": Scheme(1.0, 0.0),
        "stable": Scheme(1.0, 1.0 / math.sqrt(depth)),
        "fixup": Scheme(1.0, 0.0, inner=1.0 / math.sqrt(depth)),
    }[name]
    if alpha is None:
        return named
    return Scheme(named.skip, alpha, named.inner, named.batchnorm)


def check_scales(name: SchemeName, alpha: float | None, batch: int) -> None:
    """Raise ValueError where nothing of the signal would be left, or float32 could not hold the scale."""
    if name == "batchnorm" and batch < 2:
        raise ValueError("--batch 1: batch normalisation of a single example is zero; use --batch 2 or more.")
    if alpha is not None and 0 < alpha < SMALLEST_ALPHA:
        raise ValueError(f"--alpha {alpha}: must be 0 or at least {SMALLEST_ALPHA}, for float32 to hold it.")
    if name == "plain" and alpha == 0:
        raise ValueError("--alpha 0: a plain network has no skip connection, nothing would be left of the signal.")
