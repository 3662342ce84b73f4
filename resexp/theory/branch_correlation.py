"""Correlation of the two branches of a residual block, h and f(h), at initialisation: h' = a h + b f(h).

Over weights. Given h, fresh zero-mean weights at the end of f are as likely as their negatives, so that E[h f] = 0 at
any width. With ReLU last, f = relu(W h), f has a mean. Given h its units are alike, so the *covariance* over units is
zero in the mean, at any width; the product is E[h] E[f] at infinite width, relative_mean / sqrt(pi) over both root mean
squares.

Given the weights, over the units of one input. W x, W independent normals or Haar orthogonal, points into a uniformly
random direction, so that its cosine with h has mean square 1/D and E|cos| = Gamma(D/2) / (sqrt(pi) Gamma((D+1)/2)).

Given the weights, over inputs, of one unit. Its covariance does not vanish: unit i reads itself back through W_ii, and
units correlated with it through W_ij. For f = W r, r the last hidden layer, s = D Var W_ij,

    E[Cov(h_i, f_i)^2] = (s/D) sum_j Cov(h_i, r_j)^2,       E[Var h_i Var f_i] = (s/D) Var h_i sum_j Var r_j

In the first block h = V x is normal over the inputs, Cov(h_i, relu(h_j)) = Cov(h_i, h_j) / 2 by Stein's lemma, and the
ratio of both means is known at any width (`first_block`); it is close to 1 / (D (1 - 1/pi)).

Later blocks, to leading order in 1/D (`over_inputs`). Over inputs, unit i is normal with a mean mu_i of its own and
variance v = q (1 - c), and on for a share Phi_i = Phi(mu_i / sqrt v), E Phi^2 = p. Covariances of different units are
of order D^-1/2 and have three parts, uncorrelated over weights: what j sent to i (j's signal of an earlier block m,
r_j[m], arrives with a coefficient of mean square t[m] / D), what i sent to j, and what both got from others. A receiver
passes a small signal on by the factor Phi; the sender's own covariance of r[m] with a later r[k] is not linear. With
    J = sum_m t[m] E Cov(h[k], r[m])^2,    N = sum_m t[m] E Cov(r[k], r[m])^2,    G = D E Cov(h_i, h_j)^2,    i != j
and the diagonal,
    sum_j Cov(h_i, r_j)^2 -> X = v^2 p + N + p (G - J)
    sum_j Cov(r_i, r_j)^2 -> R = E Var(r)^2 + 2 p N + p^2 (G - 2 J)
    G <- a^4 G + b^4 s^2 R + 2 a^2 b^2 s X,     t <- (a^2 + b^2 s p) t,     t[new] = b^2 s
and the law is X / (v E Var r). A two-layer branch puts the same through one more hidden layer.

Sources: Prince 2023, problem 11.4; derived here, checked against simulation in tests/theory.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexp.theory.gaussian import kappa0, kappa1, normal_density, normal_distribution

Array = NDArray[np.floating]

MOST_BLOCKS = 64  # followed: every block is a source of correlations in all later ones
NEGLIGIBLE = 1e-5  # share of all correlations below which a source is forgotten
HERMITE_TERMS = 20
_NODES = np.linspace(-6.0, 6.0, 31)
_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()


def mean_absolute_cosine(width: int, power: float = 1.0) -> float:
    """E|cos|^power of a uniformly random direction with a fixed one in `width` dimensions.

    cos^2 is Beta(1/2, (D - 1)/2). For power 1 it is close to sqrt(2 / (pi D)).
    """
    log = math.lgamma((1 + power) / 2) - math.lgamma(0.5) + math.lgamma(width / 2) - math.lgamma((width + power) / 2)
    return math.exp(log)


def relu_last_cosine(relative_mean: float) -> float:
    """E[h relu(u)] / sqrt(E[h^2] E[relu(u)^2]) for independent h and normal u; relative_mean: E[h] / sqrt(E[h^2])."""
    return relative_mean / math.sqrt(math.pi)


def first_block(width: int) -> float:
    """E[Cov(h_i, f_i)^2] / E[Var h_i Var f_i] over inputs in the first block, normal weights, exact at any width.

    For W relu(h) and relu(W h) alike. Of E sum_j (v_i . v_j)^2, v_i the rows of V, half comes from j = i.
    """
    return (1.0 + 1.0 / (2 * width)) / (width * (1.0 - 1.0 / math.pi) * (1.0 + 2.0 / width**2))


@dataclass(frozen=True)
class _Units:
    """Units of one block over the inputs, over the second moment of h in the block at hand.

    mean_square: of a unit's mean over the inputs; variance: of a unit over the inputs;
    reach: t, D times the mean square coefficient with which relu(unit) has arrived at another unit since;
    kept: what is left of the unit itself in its later value.
    """

    mean_square: float
    variance: float
    reach: float = 0.0
    kept: float = 1.0

    @property
    def on(self) -> float:
        """P: share of units that are on for both of two inputs."""
        return float(kappa0(self.mean_square / (self.mean_square + self.variance))) / 2

    @property
    def offset(self) -> float:
        """Root mean square of mu over the deviation over inputs."""
        return math.sqrt(max(self.mean_square, 0.0) / self.variance)

    @property
    def sent(self) -> float:
        """T E Cov(later value, relu(unit))^2."""
        return self.reach * (self.kept * self.variance) ** 2 * self.on

    def a_block_later(self, kept: float, reach: float, growth: float) -> "_Units":
        """The same units as a source of the next block."""
        return _Units(self.mean_square / growth, self.variance / growth, reach, kept)


@dataclass(frozen=True)
class _Hidden:
    """A layer of rectified units r. square: E r^2; product: E r r' of two inputs; variance: E Var r over inputs;

    crossed: X, of h with r; among: R, of r with r; arrival: mean square with which the first ReLU's outputs got here.
    """

    square: float
    product: float
    variance: float
    crossed: float
    among: float
    arrival: float


def over_inputs(depth: int, *, skip: float, branch: float, gain: float, two_layer: bool) -> Array:
    """D E[Cov(h_i, f_i)^2] / E[Var h_i Var f_i] over inputs as D -> infinity, in blocks 1..min(depth, MOST_BLOCKS).

    For branches that end in their weights. gain: variance of a weight times D, in all layers.
    """
    result = []
    h, off_diagonal, sources, fresh = _Units(0.0, 1.0), 1.0, list[_Units](), branch**2 * gain
    for _ in range(min(depth, MOST_BLOCKS)):
        r = _rectified(h, off_diagonal, sources)
        if two_layer:
            r = _one_layer_on(r, gain)
        result.append(r.crossed / (h.variance * r.variance))
        growth = skip**2 + fresh * r.square
        off_diagonal = (skip**4 * off_diagonal + fresh**2 * r.among + 2 * skip**2 * fresh * r.crossed) / growth**2
        passed = skip**2 + fresh * r.arrival * h.on
        sources = [m.a_block_later(m.kept * skip, m.reach * passed, growth) for m in sources]
        sources.append(h.a_block_later(skip, fresh * r.arrival, growth))
        sources = [m for m in sources if m.sent > NEGLIGIBLE * off_diagonal]
        mean_square = skip**2 * h.mean_square + fresh * r.product
        variance = skip**2 * h.variance + fresh * (r.square - r.product)
        h = _Units(mean_square / growth, variance / growth)
    return np.array(result)


def _rectified(h: _Units, off_diagonal: float, sources: list[_Units]) -> _Hidden:
    """Relu(h). off_diagonal: G, D E Cov(h_i, h_j)^2."""
    sent = sum(m.sent for m in sources)
    nonlinear = sum(m.reach * _relu_covariance_square(m, h) for m in sources)
    variance, variance_square = _relu_variance(h)
    return _Hidden(
        square=0.5 * (h.mean_square + h.variance),
        product=_relu_product(h),
        variance=variance,
        crossed=h.variance**2 * h.on + nonlinear + h.on * (off_diagonal - sent),
        among=variance_square + 2 * h.on * nonlinear + h.on**2 * (off_diagonal - 2 * sent),
        arrival=1.0,
    )


def _one_layer_on(r: _Hidden, gain: float) -> _Hidden:
    """Relu(W r), W fresh: no unit of it has been a source before."""
    u = _Units(gain * r.product, gain * (r.square - r.product))
    variance, variance_square = _relu_variance(u)
    through = gain * u.on
    return _Hidden(
        square=0.5 * gain * r.square,
        product=_relu_product(u),
        variance=variance,
        crossed=through * r.crossed,
        among=variance_square + through**2 * r.among,
        arrival=through * r.arrival,
    )


def _relu_product(u: _Units) -> float:
    """E relu(u) relu(u') of two inputs."""
    square = u.mean_square + u.variance
    return 0.5 * square * float(kappa1(u.mean_square / square))


def _relu_variance(u: _Units) -> tuple[float, float]:
    """Mean and mean square, over units, of the variance of relu(u) over inputs."""
    mu = u.offset * _NODES
    on, density = normal_distribution(mu), normal_density(mu)
    variance = u.variance * ((mu**2 + 1) * on + mu * density - (mu * on + density) ** 2)
    return float(_WEIGHTS @ variance), float(_WEIGHTS @ variance**2)


def _relu_covariance_square(earlier: _Units, later: _Units) -> float:
    """E over units of Cov(relu(earlier), relu(later))^2 over inputs, by Mehler's expansion in the correlation.

    The coefficients of relu(mu + z) in Hermite polynomials are Phi(mu), phi(mu) He_0(-mu), phi(mu) He_1(-mu)...
    """
    same = earlier.kept * math.sqrt(earlier.variance / later.variance)
    same_mean = earlier.kept * math.sqrt(max(earlier.mean_square, 0.0) / later.mean_square)
    first = np.broadcast_to(_NODES[:, None], (len(_NODES), len(_NODES)))
    second = same_mean * first + math.sqrt(max(1.0 - same_mean**2, 0.0)) * _NODES
    x, y = earlier.offset * first, later.offset * second
    covariance = same * normal_distribution(x) * normal_distribution(y)
    density = np.exp(-0.5 * (x**2 + y**2)) / (2 * math.pi)
    (before_x, at_x), (before_y, at_y), power = (0.0 * x, 1.0 + 0.0 * x), (0.0 * y, 1.0 + 0.0 * y), same**2 / 2
    for n in range(HERMITE_TERMS):
        covariance = covariance + power * density * at_x * at_y
        before_x, at_x = at_x, x * at_x - n * before_x
        before_y, at_y = at_y, y * at_y - n * before_y
        power *= same / (n + 3)
    return earlier.variance * later.variance * float(_WEIGHTS @ covariance**2 @ _WEIGHTS)
