"""Autocorrelation of the gradient dy/dx of scalar ReLU networks at infinite width: an exact recursion.

    h[1] = w x + bias,   h[k+1] = a h[k] + b (W relu(h[k]) + bias),   y = w' relu(h[L]),   t[k] = dh[k]/dx

For two inputs x, x' one unit's (h, h', t, t') is jointly normal with mean zero. Write K = Cov(h, h'), M = Cov(t, h'),
N = Cov(t', h), T = Cov(t, t'), c = cos(theta) the correlation of h and h', p and p' their variances. Given h and h'
the tangents are normal with a linear mean, so all moments of one block follow from those of (h, h'):

    E[1 1']       = (pi - theta) / (2 pi)
    E[relu relu'] = sqrt(p p') (sin theta + (pi - theta) cos theta) / (2 pi)
    E[1 1' h^2]   = p (pi - theta + sin theta cos theta) / (2 pi)

    K <- a^2 K + b^2 (s_w E[relu relu'] + s_b),   M <- a^2 M + b^2 s_w E[1 t relu'],   T <- a^2 T + b^2 s_w E[1 1' t t']

The usual shortcut T <- T kappa0 (the gradient independent of the activations) is wrong here: for a scalar input t and h
are correlated. Exact as width -> infinity. An input at which no unit of a net varies (x = 0, without biases) has no
derivative; it may be on the grid and be left out of the autocorrelation.

Source: derived here; the functions are those of Cho and Saul 2009; the question is Balduzzi et al. 2017, figure 11.3 of
Prince 2023.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

UNITS = 2048
"""Units sampled for each layer where moments have no closed form."""


@dataclass(frozen=True)
class Covariances:
    """Of one unit over a grid of inputs, (points, points) each.

    h: Cov(h_i, h_j); th: Cov(t_i, h_j); t: Cov(t_i, t_j).
    """

    h: Array
    th: Array
    t: Array


def first_layer(x: Array, weight_variance: float, bias_variance: float) -> Covariances:
    """Covariances of h = w x + bias over the grid x, (points,)."""
    one = np.ones_like(x)
    return Covariances(
        weight_variance * np.outer(x, x) + bias_variance,
        weight_variance * np.outer(one, x),
        weight_variance * np.outer(one, one),
    )


def through_relu(c: Covariances) -> Covariances:
    """E[f f'], E[(f)' f'], E[(f)' (f')'] of f = relu(h), (f)' = 1(h > 0) t its derivative along x."""
    size = float(np.diag(c.h).max())  # relu is homogeneous: products of variances must not leave float64
    c = Covariances(c.h / size, c.th / math.sqrt(size), c.t)
    variance = np.diag(c.h)
    root = np.sqrt(np.outer(variance, variance))
    cosine = np.clip(c.h / np.where(root > 0, root, 1.0), -1.0, 1.0)
    sine = np.sqrt(1.0 - cosine**2)
    angle = np.arccos(cosine)
    both = (math.pi - angle) / (2.0 * math.pi)  # E[1 1']
    product = root * (sine + (math.pi - angle) * cosine) / (2.0 * math.pi)  # E[relu relu'] = E[1 1' h h']
    power = (math.pi - angle + sine * cosine) / (2.0 * math.pi)
    own, other = variance[:, None] * power, variance[None, :] * power  # E[1 1' h^2], E[1 1' h'^2]

    # Regress on (h, h'): t = alpha h + beta h' + rest; t' = gamma h + delta h' + rest', with i and j swapped.
    determinant = np.outer(variance, variance) - c.h**2
    same = determinant <= 1e-12 * np.outer(variance, variance)  # one input, or two that the net does not tell apart
    safe = np.where(same, 1.0, determinant)
    diagonal = np.diag(c.th)[:, None]  # Cov(t_i, h_i)
    alpha = (diagonal * variance[None, :] - c.th * c.h) / safe
    beta = (c.th * variance[:, None] - diagonal * c.h) / safe
    gamma, delta = beta.T, alpha.T
    explained = alpha * c.th.T + beta * diagonal.T  # Cov(alpha h + beta h', t')
    rest = c.t - explained
    th = alpha * product + beta * other
    t = rest * both + alpha * gamma * own + beta * delta * other + (alpha * delta + beta * gamma) * product
    # Where h' is a multiple of h, 1(h > 0) keeps half of any even function, and 1(h > 0) 1(-h > 0) nothing.
    kept = np.where(c.h > 0, 0.5, 0.0)
    th = np.where(same, kept * c.th, th) * math.sqrt(size)
    return Covariances(product * size, th, np.where(same, kept * c.t, t))


def block(c: Covariances, *, skip: float, branch: float, weight_gain: float, bias_variance: float) -> Covariances:
    """Covariances after h <- skip h + branch (W relu(h) + bias); weight_gain: variance of a weight times the fan-in."""
    f = through_relu(c)
    return Covariances(
        skip**2 * c.h + branch**2 * (weight_gain * f.h + bias_variance),
        skip**2 * c.th + branch**2 * weight_gain * f.th,
        skip**2 * c.t + branch**2 * weight_gain * f.t,
    )


def mean_by_lag(products: Array, left_out: int | None = None) -> Array:
    """Mean of products[i, i + lag] over the pairs of the grid, (points,); left_out: an input that is in no pair."""
    counted = np.ones(products.shape)
    if left_out is not None:
        counted[left_out, :] = counted[:, left_out] = 0.0
    means = [
        np.average(np.diagonal(products, lag), weights=weights) if (weights := np.diagonal(counted, lag)).any() else 0.0
        for lag in range(len(products))
    ]
    return np.array(means)


def autocorrelation(t: Array, left_out: int | None = None) -> Array:
    """Mean of Cov(t_i, t_{i + lag}) over the pairs of the grid, relative to lag 0; (points,)."""
    by_lag = mean_by_lag(t, left_out)
    return np.asarray(by_lag / by_lag[0])


def exact(
    x: Array,
    *,
    depth: int,
    first: float,
    weight_gain: float,
    bias_variance: float,
    skip: float,
    branch: float,
    left_out: int | None = None,
) -> Array:
    """Autocorrelation at every lag of the grid x for a net of `depth` hidden layers; first: variance of its w."""
    covariances, bias = first_layer(x, first, bias_variance), bias_variance
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float64 the answer is nan
        for _ in range(depth - 1):
            covariances = block(covariances, skip=skip, branch=branch, weight_gain=weight_gain, bias_variance=bias)
            # Only ratios count: T and M are linear in the tangent, and relu takes h and biases over one scale.
            scale, size = float(covariances.t.max()), float(covariances.h.max())
            covariances = Covariances(
                covariances.h / size, covariances.th / math.sqrt(scale * size), covariances.t / scale
            )
            bias /= size
        return autocorrelation(through_relu(covariances).t, left_out)


def by_sampled_units(
    x: Array,
    *,
    depth: int,
    first: float,
    weight_gain: float,
    skip: float,
    branch: float,
    scales: bool,
    left_out: int | None = None,
    units: int = UNITS,
    repeats: int = 4,
) -> tuple[Array, Array]:
    """The same with each unit centred over the grid before ReLU, and where `scales` divided by its deviation.

    The moments of a block are no closed form then: they are averages over units sampled from the normal law of (h, t).
    Mean and deviation are held fixed when the derivative is taken. Biases are the same over the grid: centring takes
    them off.
    Returns the mean over repeats and its standard error, (points,) each.
    """
    rng = np.random.default_rng(11_3)
    curves = []
    for _ in range(repeats):
        c = first_layer(x, first, 0.0)
        for layer in range(depth):
            h, t = _sample(c, units, rng)
            z, t = _normalise(h, t, scales)
            relu, slope = np.maximum(z, 0.0), (z > 0) * t
            f = Covariances(relu.T @ relu / units, slope.T @ relu / units, slope.T @ slope / units)
            if layer == depth - 1:
                break
            c = Covariances(
                skip**2 * c.h + branch**2 * weight_gain * f.h,
                skip**2 * c.th + branch**2 * weight_gain * f.th,
                skip**2 * c.t + branch**2 * weight_gain * f.t,
            )
            scale = float(np.diag(c.t).max())
            size = 1.0 if scales else float(c.h.max())
            c = Covariances(c.h / size, c.th / math.sqrt(scale * size), c.t / scale)
        curves.append(autocorrelation(f.t, left_out))
    each = np.stack(curves)
    return each.mean(axis=0), np.asarray(each.std(axis=0, ddof=1) / math.sqrt(repeats))


def _sample(c: Covariances, units: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Units of the normal law with these covariances: h and t, (units, points) each."""
    joint = np.block([[c.h, c.th.T], [c.th, c.t]])
    values, vectors = np.linalg.eigh(joint)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    both = rng.standard_normal((units, len(joint))) @ root.T
    return both[:, : len(c.h)], both[:, len(c.h) :]


def _normalise(h: Array, t: Array, scales: bool) -> tuple[Array, Array]:
    """Batch normalisation over the grid, or centring alone, of each unit; t follows with its statistics held."""
    centred = h - h.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(centred**2, axis=1, keepdims=True)) if scales else np.ones((len(h), 1))
    return centred / deviation, t / deviation
