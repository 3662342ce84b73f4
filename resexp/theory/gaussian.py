"""Expectations of activations under normal inputs.

Closed forms for ReLU and the identity (arc-cosine kernels, Cho and Saul 2009), the trapezoidal rule for tanh and GELU,
which converges faster than any power of the step for smooth functions under a normal weight.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]

_REACH = 9.0  # standard deviations the trapezoidal rule covers; the rest weighs 1e-18
_TABLE_STEP = 1.0 / 1024.0  # of the normal distribution: what the series leaves out is below 1e-15


def kappa0(c: ArrayLike) -> Array:
    """2 E[1(z > 0) 1(z' > 0)] for standard normals of correlation c: (pi - arccos c) / pi."""
    return np.asarray((math.pi - np.arccos(np.clip(c, -1.0, 1.0))) / math.pi)


def kappa1(c: ArrayLike) -> Array:
    """2 E[relu(z) relu(z')] for standard normals of correlation c."""
    c = np.clip(c, -1.0, 1.0)
    return np.asarray((np.sqrt(1.0 - c * c) + c * (math.pi - np.arccos(c))) / math.pi)


def kappa2(c: ArrayLike) -> Array:
    """2 E[relu(z)^2 relu(z')^2] for standard normals of correlation c; 3 at c = 1 and 1/2 at c = 0."""
    c = np.clip(c, -1.0, 1.0)
    angle = np.arccos(c)
    return np.asarray((3.0 * np.sin(angle) * c + (math.pi - angle) * (1.0 + 2.0 * c * c)) / math.pi)


def mean_log_chi_square(freedom: int) -> float:
    """E log(X / freedom) of a chi-square variable X: digamma(freedom / 2) - log(freedom / 2).

    Digamma by its recurrence up to 10 and its asymptotic series from there (DLMF 5.11.2).
    """
    x, shift = freedom / 2.0, 0.0
    while x < 10.0:
        shift -= 1.0 / x
        x += 1.0
    inverse = 1.0 / (x * x)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    return shift + math.log(x) - 0.5 / x - series - math.log(freedom / 2.0)


def mean(activation: str, variance: float) -> float:
    """E f(u), u ~ N(0, variance)."""
    if activation == "relu":
        return math.sqrt(variance / (2.0 * math.pi))
    return 0.0 if activation in {"linear", "tanh"} else _single(_VALUE[activation], variance)


def square(activation: str, variance: float) -> float:
    """E f(u)^2, u ~ N(0, variance)."""
    if activation in {"relu", "linear"}:
        return variance * (0.5 if activation == "relu" else 1.0)
    value = _VALUE[activation]
    return _single(lambda u: value(u) ** 2, variance)


def product(activation: str, variance: float, correlation: float) -> float:
    """E f(u) f(u'), u and u' ~ N(0, variance) with the given correlation."""
    if activation == "relu":  # kappa1, without the price of numpy on a single number
        c = min(max(correlation, -1.0), 1.0)
        return 0.5 * variance * (math.sqrt(1.0 - c * c) + c * (math.pi - math.acos(c))) / math.pi
    if activation == "linear":
        return variance * correlation
    value = _VALUE[activation]
    nodes, weights = _nodes(241)
    root, correlation = math.sqrt(variance), min(max(correlation, -1.0), 1.0)
    other = correlation * nodes[:, None] + math.sqrt(1.0 - correlation**2) * nodes
    return float(weights @ (value(root * nodes) * (value(root * other) @ weights)))


def derivative_square(activation: str, variance: float) -> float:
    """E f'(u)^2, u ~ N(0, variance)."""
    if activation in {"relu", "linear"}:
        return 0.5 if activation == "relu" else 1.0
    derivative = _DERIVATIVE[activation]
    return _single(lambda u: derivative(u) ** 2, variance)


def derivative_fourth(activation: str, variance: float) -> float:
    """E f'(u)^4, u ~ N(0, variance)."""
    if activation in {"relu", "linear"}:
        return 0.5 if activation == "relu" else 1.0
    derivative = _DERIVATIVE[activation]
    return _single(lambda u: derivative(u) ** 4, variance)


def _single(function: Callable[[Array], Array], variance: float) -> float:
    nodes, weights = _nodes(2001)
    return float(weights @ function(math.sqrt(variance) * nodes))


@lru_cache(maxsize=4)
def _nodes(count: int) -> tuple[Array, Array]:
    nodes = np.linspace(-_REACH, _REACH, count)
    weights = np.exp(-0.5 * nodes**2)
    return np.asarray(nodes), np.asarray(weights / weights.sum())


def normal_density(u: ArrayLike) -> Array:
    """Density of the standard normal."""
    return np.asarray(np.exp(-0.5 * np.square(u)) / math.sqrt(2.0 * math.pi))


def normal_distribution(u: ArrayLike) -> Array:
    """P(z <= u) of the standard normal, to 2e-15: Taylor's series of third order about the nearest of a table.

    numpy has no error function, and calling math.erf on one number after another is fifty times slower.
    """
    start, table = _distribution_table()
    u = np.asarray(np.clip(u, -start, start), dtype=np.float64)
    place = np.rint((u + start) / _TABLE_STEP)
    x = place * _TABLE_STEP - start
    d = u - x
    density = normal_density(x)
    series = d * (1.0 - d * (0.5 * x - d * (x * x - 1.0) / 6.0))
    return np.asarray(table[place.astype(np.int64)] + density * series)


@lru_cache(maxsize=1)
def _distribution_table() -> tuple[float, Array]:
    """Half the width of the table, and P(z <= x) at its places."""
    half = round(_REACH / _TABLE_STEP)
    erfc = [math.erfc(-k * _TABLE_STEP * math.sqrt(0.5)) for k in range(-half, half + 1)]
    return half * _TABLE_STEP, 0.5 * np.array(erfc)


def _gelu(u: Array) -> Array:
    return np.asarray(u * normal_distribution(u))


def _gelu_derivative(u: Array) -> Array:
    return np.asarray(normal_distribution(u) + u * normal_density(u))


_VALUE: dict[str, Callable[[Array], Array]] = {"tanh": np.tanh, "gelu": _gelu}
_DERIVATIVE: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda u: np.asarray(1.0 - np.tanh(u) ** 2),
    "gelu": _gelu_derivative,
}
