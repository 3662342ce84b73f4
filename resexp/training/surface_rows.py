"""Rows of loss surfaces: statistics over seeds, and each point of each plane as a row of its own."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from resexp.core.result import STATISTICS_COLUMNS, Row, Value, Verdict
from resexp.core.statistics import Array, Samples, representable

Line = dict[str, Value]


@dataclass(frozen=True)
class PlaneFound:
    """Losses (rows, columns) of one plane at x (columns,) and y (rows,). seed, pair: of the net and its directions."""

    plane: str
    seed: int
    pair: int | None
    x: list[float]
    y: list[float]
    loss: Tensor

    def lines(self, net: str) -> Iterator[Line]:
        """A row for each point."""
        place: Line = {"net": net, "plane": self.plane, "seed": self.seed, "pair": self.pair}
        for y, losses in zip(self.y, self.loss.tolist(), strict=True):
            for x, loss in zip(self.x, losses, strict=True):
                yield {**place, "y": y, "x": x, "quantity": "loss", **single(loss)}


@dataclass(frozen=True)
class PathFound:
    """Places (epochs + 1, 2) of a net's weights in the plane of its trajectory, and the training loss there."""

    seed: int
    places: Tensor
    loss: Tensor

    def lines(self, net: str) -> Iterator[Line]:
        """A row for each epoch."""
        for epoch, ((x, y), loss) in enumerate(zip(self.places.tolist(), self.loss.tolist(), strict=True)):
            place: Line = {"net": net, "plane": "trajectory", "seed": self.seed, "epoch": epoch, "y": y, "x": x}
            yield {**place, "quantity": "train_loss", **single(loss)}


@dataclass(frozen=True)
class NetFound:
    """All that was found of the nets of one kind. over_seeds: (seeds,) by quantity; diverged: steps, None where not."""

    over_seeds: Mapping[str, Array]
    planes: list[PlaneFound]
    path: PathFound
    diverged: list[int | None]


@dataclass(frozen=True)
class SurfacesFound:
    """Nets of all kinds by name. claims: by quantity, (seeds,) of 0 and 1."""

    nets: Mapping[str, NetFound]
    claims: Mapping[str, Array]

    def rows(self) -> Iterator[Row]:
        """Rows over seeds."""
        for quantity in next(iter(self.nets.values())).over_seeds:
            for name, net in self.nets.items():
                yield Row({"net": name}, quantity, Samples.of(net.over_seeds[quantity]))
        for quantity, values in self.claims.items():
            yield Row({"x": 0.0}, quantity, Samples.of(values))

    def lines(self) -> Iterator[Line]:
        """Rows of single points."""
        for name, net in self.nets.items():
            for plane in net.planes:
                yield from plane.lines(name)
            yield from net.path.lines(name)

    def notes(self) -> Iterator[str]:
        """Which nets diverged."""
        for name, net in self.nets.items():
            told = [f"seed {n} at step {step}" for n, step in enumerate(net.diverged) if step is not None]
            if told:
                yield f"{name} diverged: {', '.join(told)}."


def single(value: float) -> Line:
    """The statistics columns of one number of one net; None where it is not finite."""
    numbers: Line = dict.fromkeys(STATISTICS_COLUMNS)
    mean = representable(value) if math.isfinite(value) else None
    return numbers | {"mean": mean, "draws": 1, "verdict": Verdict.NO_THEORY.value}


def holding(holds: "np.ndarray[tuple[int], np.dtype[np.bool_]]", *known: Array) -> Array:
    """1 where it holds, 0 where it does not, nan where a number it rests on is not known."""
    finite = np.logical_and.reduce([np.isfinite(x) for x in known])
    return np.where(finite, holds.astype(np.float64), np.nan)
