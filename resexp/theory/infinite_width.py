"""Residual stacks at infinite width: recursions of second moment, mean, correlation and gradient, block by block.

    h[k+1] = a h[k] + b f(h[k]),   h[0] = W x,   x ~ N(0, 1),   weights N(0, gain / fan-in), no biases

with f one of   W phi(h)   (relu-linear),   phi(W h)   (linear-relu),   W2 phi(W1 phi(h))   (two-layer).

q is the second moment of one unit, m its mean, c the correlation E[h h'] / q of two independent inputs. At infinite
width each unit is normal (a sum of normals) in the orders that end in a linear layer, and the fresh weights of a block
are independent of the h they meet, so that

    q' = a^2 q + 2 a b m E[f] + b^2 E[f^2]

and the same for E[h h']. The gradient with respect to h grows, going down, by a^2 + b^2 prod(gain E[phi'^2]) a block:
the gradient that comes from above is independent of the block's weights in this limit, because the read-out is
independent of everything (Yang 2020, "simple GIA check"). Finite width: finite_width.py.

Sources: Prince 2023, section 11.3, problems 11.5 and 11.6; He et al. 2015; Poole et al. 2016; Yang and Schoenholz 2017.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexp.theory import gaussian

Array = NDArray[np.floating]

LARGEST = 1e250


@dataclass(frozen=True)
class Limit:
    """Values of block 0..K at infinite width; nan from where float64 ends.

    log_second_moment, correlation, relative_mean (mean over root mean square): (K + 1,);
    log_gradient_growth: (K,) growth of the squared gradient from the output of block k + 1 to that of block k.
    """

    log_second_moment: Array
    correlation: Array
    relative_mean: Array
    log_gradient_growth: Array

    @property
    def log_batch_variance(self) -> Array:
        """Log of q (1 - c): the unbiased variance over independent inputs."""
        return np.asarray(self.log_second_moment + np.log1p(-self.correlation))

    @property
    def log_gradient(self) -> Array:
        """Log of the squared gradient at each block relative to the last, (K + 1,)."""
        return np.concatenate([np.cumsum(self.log_gradient_growth[::-1])[::-1], [0.0]])


def stack(depth: int, *, skip: float, branch: float, inner: float, gain: float, order: str, activation: str) -> Limit:
    """Follow the recursion through `depth` blocks. inner: scale of the first weights of a two-layer branch."""
    log_q, correlation, relative_mean, growth = np.full((4, depth + 1), math.nan)
    q, cross, m, exponent = gain, 0.0, 0.0, 0.0
    homogeneous = activation in {"relu", "linear"}
    for k in range(depth + 1):
        log_q[k] = math.log(q) + exponent
        correlation[k], relative_mean[k] = cross / q, m / math.sqrt(q)
        if k == depth or not 0.0 < q < LARGEST:
            break
        f = _branch(q, cross / q, inner=inner, gain=gain, order=order, activation=activation)
        growth[k] = math.log(skip**2 + branch**2 * f.gradient)
        step = 2.0 * skip * branch * m * f.mean
        q, cross = skip**2 * q + step + branch**2 * f.square, skip**2 * cross + step + branch**2 * f.product
        m = skip * m + branch * f.mean
        if homogeneous:
            exponent += math.log(q)
            q, cross, m = 1.0, cross / q, m / math.sqrt(q)
        if q == 0.0:
            break
    return Limit(log_q, correlation, relative_mean, growth[:depth])


@dataclass(frozen=True)
class _Branch:
    """Mean, square and product over two inputs of a branch's output; gradient: product of gain E[phi'^2]."""

    mean: float
    square: float
    product: float
    gradient: float


def _branch(q: float, c: float, *, inner: float, gain: float, order: str, activation: str) -> _Branch:
    if order == "linear-relu":
        variance = gain * q
        return _Branch(
            gaussian.mean(activation, variance),
            gaussian.square(activation, variance),
            gaussian.product(activation, variance, c),
            gain * gaussian.derivative_square(activation, variance),
        )
    square = gain * gaussian.square(activation, q)
    product = gain * gaussian.product(activation, q, c)
    gradient = gain * gaussian.derivative_square(activation, q)
    if order == "relu-linear":
        return _Branch(0.0, square, product, gradient)
    variance = inner**2 * square
    second = _branch(variance, product / square, inner=1.0, gain=gain, order="relu-linear", activation=activation)
    return _Branch(0.0, second.square, second.product, inner**2 * gradient * second.gradient)
