"""Initialisations of weights: definitions that measurement and closed forms both start from."""

from dataclasses import dataclass
from typing import Literal, get_args

InitialisationName = Literal["he", "glorot", "lecun", "orthogonal"]
INITIALISATIONS: tuple[InitialisationName, ...] = get_args(InitialisationName)


@dataclass(frozen=True)
class Initialisation:
    """Variance of the weights of a square or rectangular layer; `orthogonal` has the same second moment."""

    name: InitialisationName

    @property
    def orthogonal(self) -> bool:
        """Whether weights are a scaled Haar-random orthogonal matrix rather than independent normals."""
        return self.name == "orthogonal"

    def variance(self, fan_in: int, fan_out: int) -> float:
        """Variance of one weight.

        Sources: he, 2 / fan-in (He et al. 2015); glorot, 2 / (fan-in + fan-out) (Glorot and Bengio 2010); lecun,
        1 / fan-in (LeCun et al. 1998); orthogonal, gain sqrt 2 as for he (Saxe et al. 2014).
        """
        if self.name == "glorot":
            return 2.0 / (fan_in + fan_out)
        return (1.0 if self.name == "lecun" else 2.0) / fan_in

    def gain(self) -> float:
        """Variance of one weight times the fan-in, in a square layer."""
        return self.variance(1, 1)


def check_law(name: InitialisationName, batch: int, width: int) -> None:
    """Raise ValueError where products with the weights cannot be sampled by their law, or where that gains nothing."""
    if Initialisation(name).orthogonal:
        raise ValueError(
            "--engine law: samples products with independent normal weights, and those of an orthogonal matrix are "
            "not; use --engine explicit."
        )
    if 2 * batch > width:
        raise ValueError(
            f"--engine law: a batch of {batch} at width {width} fills the space, and real matrices cost no more; "
            f"use --engine explicit, or at most --batch {width // 2}."
        )
