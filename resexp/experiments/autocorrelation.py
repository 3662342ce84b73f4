"""How gradients of a scalar network shatter: the autocorrelation of dy/dx along the input.

    h[1] = w x + bias,   h[k+1] = a h[k] + b (W relu(h[k]) + bias),   y = w' relu(h[L]),   x on a grid over [-2, 2]

In figure 11.3 the gradient of a shallow net changes slowly with the input, that of 24 plain layers looks like white
noise, that of 50 residual layers lies between. The figure's caption (200 units, all weights and biases of variance
1/200) does not shatter: with Glorot weights the biases take over and all inputs become alike, so that 24 and 50 layers
nearly coincide. He weights without biases decay slowly: such a net is homogeneous, and dy/dx of each network has two
values, one for each sign of x. White noise appears where activations are centred over the inputs before each ReLU, as
batch normalisation does, and that is what makes the figure. With a norm biases change nothing.

Protocols: `book` (the caption), `he`, `balduzzi` (He, centred), `residual`, `rescaled`, `residual-batchnorm` (beta
scales the branch), `looks-linear` (mirrored orthogonal weights: linear at initialisation, never shatters).

Statistics of a norm over the grid: `held`, one input moves and is one of many, mean and deviation stay; or
`differentiated`, d(sum_j y(x_j))/dx_i through mean and deviation, as `y.sum().backward()` in training mode gives it.
Such a gradient has mean zero over the grid, exactly: a shift common to all inputs is taken off by the norm.

With an odd number of inputs x = 0 is one of them. There all units of a net without biases have a kink, and those of the
first layer of a net with a norm: dy/dx does not exist, and that input counts in no pair, in measurement and theory
alike. (With the derivative of ReLU at 0 as 0, as torch has it, its second moment would be infinite with batch
normalisation in residual blocks.) A mirrored net has no kink: it is linear.

The autocorrelation at a lag is the mean of y'(x_i) y'(x_{i+lag}) over pairs of the grid and over networks, divided by
the mean of y'(x_i)^2: a ratio of means, uncentred. The mean of each network's normalised curve is biased low. With
statistics held the read-out is averaged over analytically; differentiated, there is one random read-out a network,
which is noisier. Theory: an exact recursion at infinite width; with centring or batch normalisation the same with
moments averaged over sampled units; none where statistics are differentiated. The usual sentence "2^-L, (3/4)^L,
1/sqrt L" is a model of co-activation, uncorrelated inputs at every layer, and given as a reference.

The figure shows dy/dx of one network of one hidden layer, of one network at the depth asked for, and the
autocorrelation: the three panels of figure 11.3.

Source: Prince 2023, section 11.1.1 and figure 11.3; Balduzzi et al. 2017.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.experiment import Curve, Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row, TheoryKind, Value
from resexp.core.scalar_net import FirstLayer, Init, Protocol, ScalarNet, net_of, norm_of

if TYPE_CHECKING:
    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array
    from resexp.theory.scalar_theory import ScalarTheory

FINITE_WIDTH = 6.0
"""Bound on what a finite width adds to an autocorrelation, times width / depth: measured at widths 50 to 400."""


class Autocorrelation(Ensemble):
    """Autocorrelation of the gradient dy/dx of a scalar network along its input, against infinite width."""

    version: ClassVar[int] = 3

    protocol: Protocol = param("book", "network of figure 11.3 to measure")
    depth: int = param(24, "hidden layers L", ge=1, le=1_000_000)
    width: int = param(200, "units D of every layer", ge=2, le=100_000)
    points: int = param(128, "inputs on the grid over [-2, 2]", ge=2, le=4096)
    draws: int = param(256, "independent random networks", ge=2, le=10_000_000)
    max_lag: int | None = param(None, "largest lag, in steps of the grid; half the grid by default", ge=1)
    beta: float | None = param(None, "scale of the residual branch; overrides the protocol's", gt=0, le=1e3)
    init: Init | None = param(None, "law of the weights; overrides the protocol's")
    bias_variance: float | None = param(None, "variance of biases; overrides the protocol's", ge=0, le=1e3)
    first_layer: FirstLayer | None = param(
        None, "variance of the first weights, fan-in 1: 2, 2 / (1 + D) or 1; overrides the protocol's"
    )
    centre: Literal["none", "activations"] | None = param(
        None, "centre each unit over the grid before ReLU; overrides the protocol's"
    )
    statistics: Literal["held", "differentiated"] = param(
        "held", "mean and deviation of a norm over the grid, when dy/dx is taken"
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
        "autocorrelation --protocol balduzzi --statistics held,differentiated",
        "autocorrelation --protocol he --depth 2,24",
    )

    @model_validator(mode="after")
    def _lag_is_on_the_grid(self) -> Self:
        if self.max_lag is not None and self.max_lag >= self.points:
            raise ValueError(
                f"--max-lag {self.max_lag}: the grid has {self.points} points, lags 0 to {self.points - 1}."
            )
        return self

    @model_validator(mode="after")
    def _options_mean_something(self) -> Self:
        ignored = {
            "looks-linear": ("init", "centre", "bias_variance"),
            "residual-batchnorm": ("centre",),
        }.get(self.protocol, ())
        for name in ignored:
            if getattr(self, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} has no meaning for the protocol {self.protocol}.")
        if self.points == 3 and self._left_out is not None:
            raise ValueError(
                f"--points 3: without biases, or with a norm, dy/dx of the protocol {self.protocol} does not exist at "
                "x = 0, and no two neighbours on the grid are left; take 2, or at least 4."
            )
        if self.statistics == "held":
            return self
        norm = norm_of(self.protocol, self.centre)
        if norm == "none":
            raise ValueError(
                f"--statistics differentiated: without a norm the protocol {self.protocol} has no statistics over the "
                "grid; choose balduzzi, residual-batchnorm or --centre activations, or leave --statistics held."
            )
        if norm == "batchnorm" and self.points == 2:
            raise ValueError(
                "--points 2: batch normalisation of two inputs gives 1 and -1 whatever they are, so that dy/dx through "
                "its statistics is zero; take at least 4."
            )
        return self

    @property
    def net(self) -> ScalarNet:
        """The network in the terms of the engine: the protocol's, with what was overridden."""
        return net_of(
            self.protocol,
            depth=self.depth,
            width=self.width,
            beta=self.beta,
            init=self.init,
            bias_variance=self.bias_variance,
            first_layer=self.first_layer,
            centre=self.centre,
            differentiated=self.statistics == "differentiated",
        )

    @property
    def _left_out(self) -> int | None:
        """Place on the grid of x = 0 where dy/dx does not exist there."""
        net = self.net
        has_a_kink = not net.mirrored and (net.bias == 0 or net.norm != "none")
        return self.points // 2 if self.points % 2 == 1 and has_a_kink else None

    @property
    def lags(self) -> range:
        """Lags of the rows, in steps of the grid."""
        return range((self.points // 2 if self.max_lag is None else self.max_lag) + 1)

    def grid(self) -> "Array":
        """Inputs, (points,)."""
        return _grid(self.points)

    def measure(self, lab: Lab) -> Iterator[Row]:
        """Products of gradients over the grid, averaged at each lag, network by network."""
        import numpy as np

        from resexp.core.statistics import Samples
        from resexp.signal.scalar_ensemble import autocovariances

        products = autocovariances(
            lab,
            self.net,
            self.grid(),
            self.draws,
            len(self.lags),
            subtract_mean=self.subtract_mean,
            left_out=self._left_out,
        )  # (draws, lags)
        energy = products[:, 0]
        for lag in self.lags:
            if self.estimator == "mean-of-ratios":
                with np.errstate(invalid="ignore"):
                    yield Row({"lag": lag}, "gradient_autocorrelation", Samples.of(products[:, lag] / energy))
            else:
                yield Row({"lag": lag}, "gradient_autocorrelation", Samples.of(products[:, lag]), denominator=energy)

    @property
    def _theory(self) -> "ScalarTheory | None":
        """At infinite width; None for biased estimators, through a norm's statistics, and where it would take long."""
        from resexp.theory.scalar_theory import MOST_SAMPLED, ScalarTheory

        net = self.net
        theory = ScalarTheory(
            net.depth, net.first, net.gain, net.bias, net.skip, net.branch, norm=net.norm, mirrored=net.mirrored
        )
        biased = self.estimator != "ratio-of-means" or self.subtract_mean
        return None if biased or net.differentiated or (theory.is_sampled and self.points > MOST_SAMPLED) else theory

    def theory(self, quantity: str, lag: int) -> Prediction | None:
        """The recursion at infinite width."""
        theory = self._theory
        if theory is None:
            return None
        curve, stderr = _curve(theory, self.points, self._left_out)
        if not math.isfinite(curve[lag]):
            return None
        if lag == 0:
            return Prediction("exact", value=1.0, is_definition=True)
        if theory.mirrored:
            return Prediction("exact", value=1.0)
        bias = FINITE_WIDTH * max(1.0, self.depth / 10) / self.width + 4 * float(stderr[lag])
        kind: TheoryKind = "monte-carlo" if theory.is_sampled else "limit"
        return Prediction(kind, value=float(curve[lag]), bias=bias)

    def notes(self) -> Iterable[str]:
        """What dy/dx is where statistics are differentiated; that theory was left out."""
        from resexp.theory.scalar_theory import MOST_SAMPLED

        if self._left_out is not None:
            yield "x = 0 is on the grid; every unit of the first layer has its kink there, so it counts in no pair."
        if self.net.differentiated:
            yield (
                "dy/dx is the gradient of the sum of y over the grid, through the statistics of the norm, with one "
                "random read-out a network; no theory is known for it."
            )
        elif self.net.norm != "none" and self.points > MOST_SAMPLED:
            yield f"No theory with a norm beyond {MOST_SAMPLED} points: it would take longer than the networks."

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """Lag at which it falls to one half, whiteness, and the co-activation model's number."""
        from resexp.core.statistics import Summary
        from resexp.theory import scalar_theory as theory

        one = measured["gradient_autocorrelation"]
        curve = _measured_curve(one.rows)
        said = [p.value for p in one.predictions if p is not None and p.value is not None]
        known = len(said) == len(one.rows)
        kind = one.predictions[-1].kind if known and one.predictions[-1] is not None else "limit"

        def figure(value: float | None) -> Summary | None:
            return None if value is None else Summary(value, None, None, None, None, self.draws, 0.0)

        step = 4.0 / (self.points - 1)
        half = theory.half_lag(said, step) if known else None
        yield "half_lag", figure(theory.half_lag(curve, step)), half, kind
        white = theory.whiteness(curve) if curve else None
        yield "whiteness", figure(white), theory.whiteness(said) if known else None, kind
        net = self.net
        if not net.mirrored:
            law = theory.co_activation(self.depth, residual=net.skip > 0, normalised=net.norm == "batchnorm")
            yield "co_activation_reference", None, law, "reference"

    def pooled_figures(self, rows: "Sequence[Mapping[str, Value]]") -> Mapping[str, float | None]:
        """Lag of one half and whiteness of the pooled curve."""
        from resexp.theory import scalar_theory as theory

        curve = [mean for row in rows if isinstance(mean := row["mean"], float)]
        if len(curve) < len(self.lags):
            return {"half_lag": None, "whiteness": None}
        return {"half_lag": theory.half_lag(curve, 4.0 / (self.points - 1)), "whiteness": theory.whiteness(curve)}

    def curves(self, lab: Lab) -> Iterator[Curve]:
        """dy/dx of one network of one hidden layer, and of one as deep as asked for."""
        import numpy as np

        from resexp.signal.scalar_ensemble import one_gradient

        x = self.grid()
        for panel, depth in (("a shallow network", 1), ("the network itself", self.depth)):
            gradient = one_gradient(lab, replace(self.net, depth=depth), x, self._left_out)
            layers = "one hidden layer" if depth == 1 else f"{depth:,} hidden layers"
            there = np.isfinite(gradient)
            yield Curve(
                panel, layers, tuple(x[there]), tuple(gradient[there]), "input x", "dy/dx over its root mean square"
            )

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: what is kept of all networks, and one tile's signals for each thread; or of the theory, if more."""
        from resexp.signal.scalar_ensemble import plan

        networks = plan(lab, self.net, self.points, self.draws, len(self.lags)).memory
        theory = self._theory.memory(self.points) if self._theory is not None else 0
        return max(networks, lab.afford(theory, f"points {self.points}, for the theory"))

    def estimate_seconds(self, lab: Lab) -> float:
        """Seconds of the networks, from a few layers of one tile of them run here, and of the theory likewise."""
        from resexp.signal.scalar_ensemble import estimate_seconds

        networks = estimate_seconds(lab, self.net, self.grid(), self.draws, len(self.lags))
        return networks + (self._theory.seconds(self.points) if self._theory is not None else 0.0)


def _grid(points: int) -> "Array":
    import numpy as np

    return np.arange(1 - points, points, 2) * 2.0 / (points - 1)  # symmetric to the last bit, with a 0 that is one


def _measured_curve(rows: Sequence[Row]) -> list[float]:
    """Mean over networks at each lag; nothing where all networks died, or one did and its own ratio counts."""
    means = [float(row.samples.mantissa.mean()) for row in rows]
    energy = 1.0 if rows[0].denominator is None else float(rows[0].denominator.mean())
    return [mean / energy for mean in means] if energy > 0 and math.isfinite(sum(means)) else []


@lru_cache(maxsize=16)
def _curve(theory: "ScalarTheory", points: int, left_out: int | None) -> "tuple[Array, Array]":
    return theory.curve(_grid(points), left_out)
