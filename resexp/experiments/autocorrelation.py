"""How gradients of a scalar network shatter: the autocorrelation of dy/dx along the input.

    h[1] = w x + bias,   h[k+1] = a h[k] + b (W relu(h[k]) + bias),   y = w' relu(h[L]),   x on a grid over [-2, 2]

In figure 11.3 the gradient of a shallow net changes slowly with the input, that of 24 plain layers looks like white
noise, that of 50 residual layers lies between. The figure's caption (200 units, all weights and biases of variance
1/200) does not shatter: with Glorot weights the biases take over and all inputs become alike, so that 24 and 50 layers
nearly coincide; He weights without biases decay slowly. White noise appears where activations are centred over the
inputs before each ReLU, as batch normalisation does, and that is what makes the figure.

Protocols: `book` (the caption), `he`, `balduzzi` (He, centred), `residual`, `rescaled`, `residual-batchnorm` (beta
scales the branch), `looks-linear` (mirrored orthogonal weights: linear at initialisation, never shatters).

Mean and deviation of a norm over the grid are held fixed when dy/dx is taken: one input moves, and it is one of many.

The autocorrelation at a lag is the mean of y'(x_i) y'(x_{i+lag}) over pairs of the grid and over networks, divided by
the mean of y'(x_i)^2: a ratio of means, uncentred. The mean of each network's normalised curve is biased low. The
read-out is averaged over analytically. Theory: an exact recursion at infinite width; with
centring or batch normalisation the same with moments averaged over sampled units. The usual sentence "2^-L, (3/4)^L,
1/sqrt L" is a model of co-activation, uncorrelated inputs at every layer, and given as a reference.

Source: Prince 2023, section 11.1.1 and figure 11.3; Balduzzi et al. 2017.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.errors import UsageError
from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab, no_progress
from resexp.core.result import Prediction, Quantity, Row, TheoryKind

if TYPE_CHECKING:
    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array
    from resexp.signal.tangent import ScalarNet

Protocol = Literal["book", "he", "balduzzi", "residual", "rescaled", "residual-batchnorm", "looks-linear"]
FINITE_WIDTH = 6.0
"""Bound on what a finite width adds to an autocorrelation, times width / depth: measured at widths 50 to 400."""


class Autocorrelation(Ensemble):
    """Autocorrelation of the gradient dy/dx of a scalar network along its input, against infinite width."""

    protocol: Protocol = param("book", "network of figure 11.3 to measure")
    depth: int = param(24, "hidden layers L", ge=1, le=1_000_000)
    width: int = param(200, "units D of every layer", ge=2, le=100_000)
    points: int = param(128, "inputs on the grid over [-2, 2]", ge=2, le=4096)
    draws: int = param(256, "independent random networks", ge=2, le=10_000_000)
    max_lag: int | None = param(None, "largest lag, in steps of the grid; half the grid by default", ge=1)
    beta: float | None = param(None, "scale of the residual branch; overrides the protocol's", gt=0, le=1e3)
    init: Literal["he", "glorot"] | None = param(None, "law of the weights; overrides the protocol's")
    bias_variance: float | None = param(None, "variance of biases; overrides the protocol's", ge=0, le=1e3)
    first_layer: Literal["he", "glorot", "unit"] | None = param(
        None, "variance of the first weights, fan-in 1: 2, 2 / (1 + D) or 1; overrides the protocol's"
    )
    centre: Literal["none", "activations"] | None = param(
        None, "centre each unit over the grid before ReLU; overrides the protocol's"
    )
    estimator: Literal["ratio-of-means", "mean-of-ratios"] = param(
        "ratio-of-means", "over networks; the mean of ratios is biased low"
    )
    subtract_mean: bool = param(False, "subtract each network's mean gradient over the grid; biased low")

    axes = ("lag",)
    quantities = (
        Quantity(
            "gradient_autocorrelation",
            "autocorrelation of dy/dx, relative to lag 0",
            positive=False,
            judged="ratio",
            margin=0.05,
        ),
    )
    plot = Plot(x="lag")
    quick: ClassVar = {"protocol": "he", "depth": 6, "width": 100, "points": 32, "draws": 128}
    examples = (
        "autocorrelation --protocol book,balduzzi --depth 24,50",
        "autocorrelation --protocol residual-batchnorm --beta 0.1 --depth 50",
        "autocorrelation --protocol he --depth 2,24",
    )

    @model_validator(mode="after")
    def _lag_is_on_the_grid(self) -> Self:
        if self.max_lag is not None and self.max_lag >= self.points:
            raise ValueError(
                f"--max-lag {self.max_lag}: the grid has {self.points} points, lags 0 to {self.points - 1}."
            )
        ignored = {
            "looks-linear": ("init", "centre", "bias_variance"),
            "residual-batchnorm": ("centre",),
        }.get(self.protocol, ())
        for name in ignored:
            if getattr(self, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} has no meaning for the protocol {self.protocol}.")
        return self

    @property
    def net(self) -> "ScalarNet":
        """The network in the terms of the engine: the protocol's, with what was overridden."""
        from resexp.signal.tangent import ScalarNet

        glorot = self.init == "glorot" or (self.init is None and self.protocol == "book")
        first = self.first_layer or ("glorot" if self.protocol == "book" else "he")
        own_bias = 1.0 / self.width if self.protocol == "book" else 0.0
        residual = self.protocol in {"residual", "rescaled", "residual-batchnorm"}
        scale = math.sqrt(0.5) if self.protocol == "rescaled" else 1.0
        norm = "batchnorm" if self.protocol == "residual-batchnorm" else "none"
        if self.centre == "activations" or (self.centre is None and self.protocol == "balduzzi"):
            norm = norm if norm == "batchnorm" else "centre"
        return ScalarNet(
            depth=self.depth,
            width=self.width,
            first={"he": 2.0, "glorot": 2.0 / (1 + self.width), "unit": 1.0}[first],
            gain=1.0 if glorot else 2.0,
            bias=own_bias if self.bias_variance is None else self.bias_variance,
            skip=scale if residual else 0.0,
            branch=scale if self.beta is None else self.beta,
            norm=norm,
            mirrored=self.protocol == "looks-linear",
        )

    @property
    def lags(self) -> range:
        """Lags of the rows, in steps of the grid."""
        return range((self.points // 2 if self.max_lag is None else self.max_lag) + 1)

    def grid(self) -> "Array":
        """Inputs, (points,)."""
        import numpy as np

        return np.linspace(-2.0, 2.0, self.points)

    def measure(self, lab: Lab) -> Iterator[Row]:
        """Products of tangents over the grid, averaged at each lag, network by network."""
        import numpy as np

        from resexp.core.statistics import Samples
        from resexp.signal.tangent import tangent_products

        products = tangent_products(lab, self.net, self.grid(), self.draws)  # (draws, points, points)
        if self.subtract_mean:
            own = products.mean(2, keepdims=True)
            products = products - own - products.mean(1, keepdims=True) + own.mean(1, keepdims=True)
        energy = np.diagonal(products, 0, 1, 2).mean(axis=1)
        for lag in self.lags:
            at_lag = np.diagonal(products, lag, 1, 2).mean(axis=1)  # (draws,)
            if self.estimator == "mean-of-ratios":
                yield Row({"lag": lag}, "gradient_autocorrelation", Samples.of(at_lag / energy))
            else:
                yield Row({"lag": lag}, "gradient_autocorrelation", Samples.of(at_lag), denominator=energy)

    def theory(self, quantity: str, lag: int) -> Prediction | None:
        """The recursion at infinite width; nothing for estimators that are biased."""
        if self.estimator != "ratio-of-means" or self.subtract_mean:
            return None
        curve, stderr = _curve(self)
        if not math.isfinite(curve[lag]):
            return None
        if lag == 0:
            return Prediction("exact", value=1.0, is_definition=True)
        if self.net.mirrored:
            return Prediction("exact", value=1.0)
        bias = FINITE_WIDTH * max(1.0, self.depth / 10) / self.width + 4 * float(stderr[lag])
        kind: TheoryKind = "limit" if self.net.norm == "none" else "monte-carlo"
        return Prediction(kind, value=float(curve[lag]), bias=bias)

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """Lag at which it falls to one half, whiteness, and the co-activation model's number."""
        from resexp.core.statistics import Summary

        one = measured["gradient_autocorrelation"]
        curve = [float(row.samples.mantissa.mean() / _mean_of(row.denominator)) for row in one.rows]
        said = [p.value for p in one.predictions if p is not None and p.value is not None]
        known = len(said) == len(curve)

        def figure(value: float | None) -> Summary | None:
            return None if value is None else Summary(value, None, None, None, None, self.draws, 0.0)

        kind = one.predictions[-1].kind if known and one.predictions[-1] is not None else "limit"
        step = 4.0 / (self.points - 1)
        yield "half_lag", figure(_half(curve, step)), _half(said, step) if known else None, kind
        yield "whiteness", figure(_whiteness(curve)), _whiteness(said) if known else None, kind
        net = self.net
        layers = float(self.depth)
        law = 1 / math.sqrt(layers) if net.norm == "batchnorm" else 0.75**layers if net.skip else 0.5**layers
        if not net.mirrored:
            yield "co_activation_reference", None, law, "reference"

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: products of all networks, and one tile's signals. Does not grow with depth."""
        item = 8 if lab.dtype == "float64" else 4
        products = 2 * self.draws * self.points**2 * 8
        tile = 8 * (4 * 2 * self.points * self.width + 2 * self.width**2) * item
        if products + tile > lab.memory:
            raise UsageError(
                f"draws {self.draws}, points {self.points}, width {self.width} need about "
                f"{(products + tile) / 1e9:.3g} GB and the budget is {lab.memory / 1e9:.3g} GB: lower one of them."
            )
        return products + tile

    def estimate_seconds(self, lab: Lab) -> float:
        """Seconds of the networks, from a few layers of one tile of them run here; theory comes on top."""
        import time

        from resexp.signal.tangent import TILE, tangent_products

        short = replace(self.net, depth=min(self.depth, 4))
        start = time.perf_counter()
        tangent_products(replace(lab, progress=no_progress), short, self.grid(), TILE)
        return (time.perf_counter() - start) * self.depth / short.depth * -(-self.draws // TILE)


def _mean_of(denominator: "Array | None") -> float:
    return 1.0 if denominator is None else float(denominator.mean())


def _half(curve: list[float], step: float) -> float | None:
    """Lag, in units of the input, at which the curve first falls to one half; None where it does not."""
    for k, (before, after) in enumerate(pairwise(curve)):
        if before > 0.5 >= after:
            return step * (k + (before - 0.5) / (before - after))
    return None


def _whiteness(curve: list[float]) -> float:
    """1 / (1 + 2 sum r^2) over the lags after 0: 1 for white noise, towards 0 for what never changes."""
    return 1.0 / (1.0 + 2.0 * sum(r * r for r in curve[1:]))


@lru_cache(maxsize=16)
def _curve(experiment: Autocorrelation) -> "tuple[Array, Array]":
    """Autocorrelation at infinite width and its standard error, at every lag."""
    import numpy as np

    from resexp.theory import gradient_autocorrelation as theory

    net, x = experiment.net, experiment.grid()
    if net.mirrored:
        return np.ones(len(x)), np.zeros(len(x))
    if net.norm == "none":
        curve = theory.exact(
            x,
            depth=net.depth,
            first=net.first,
            weight_gain=net.gain,
            bias_variance=net.bias,
            skip=net.skip,
            branch=net.branch,
        )
        return np.asarray(curve, dtype=np.float64), np.zeros(len(x))
    curve, stderr = theory.by_sampled_units(
        x,
        depth=net.depth,
        first=net.first,
        weight_gain=net.gain,
        bias_variance=net.bias,
        skip=net.skip,
        branch=net.branch,
        scales=net.norm == "batchnorm",
    )
    return np.asarray(curve, dtype=np.float64), np.asarray(stderr, dtype=np.float64)
