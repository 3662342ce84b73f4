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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexp.theory import gaussian

Array = NDArray[np.floating]

LARGEST = 1e250


@dataclass(frozen=True)
class Limit:
    """Values at infinite width; nan from where float64 ends.

    log_second_moment, relative_mean (mean over root mean square), log_gradient (log of the squared gradient relative
    to the last block): (rows,) at the blocks asked for; correlation: (K + 1,) of two inputs, at every block.
    """

    blocks: NDArray[np.int64]
    log_second_moment: Array
    relative_mean: Array
    log_gradient: Array
    correlation: Array

    @property
    def log_batch_variance(self) -> Array:
        """Log of q (1 - c): the unbiased variance over independent inputs, (rows,)."""
        return np.asarray(self.log_second_moment + np.log1p(-self.correlation[self.blocks]))


def stack(
    depth: int,
    *,
    skip: float,
    branch: float,
    inner: float,
    gain: float,
    order: str,
    activation: str,
    blocks: Sequence[int] | None = None,
) -> Limit:
    """Follow the recursion through `depth` blocks. inner: scale of the first weights of a two-layer branch.

    blocks: increasing numbers of those to give values of, all if not given.
    """
    rows = np.arange(depth + 1) if blocks is None else np.array(blocks)
    log_q, relative_mean, log_gradient = np.full((3, len(rows)), math.nan)
    correlation = np.full(depth + 1, math.nan)
    q, cross, m, exponent = gain, 0.0, 0.0, 0.0
    homogeneous = activation in {"relu", "linear"}
    row, gradient = 0, 0.0  # gradient: log of the squared gradient at the first block relative to this one
    for k in range(depth + 1):
        correlation[k] = cross / q
        if k == rows[row]:
            log_q[row], relative_mean[row], log_gradient[row] = math.log(q) + exponent, m / math.sqrt(q), -gradient
            row += 1
        if row == len(rows) or not 0.0 < q < LARGEST:
            break
        f = _branch(q, cross / q, inner=inner, gain=gain, order=order, activation=activation)
        gradient += math.log(skip**2 + branch**2 * f.gradient)
        step = 2.0 * skip * branch * m * f.mean
        q, cross = skip**2 * q + step + branch**2 * f.square, skip**2 * cross + step + branch**2 * f.product
        m = skip * m + branch * f.mean
        if homogeneous:
            exponent += math.log(q)
            q, cross, m = 1.0, cross / q, m / math.sqrt(q)
        if q == 0.0:
            break
    return Limit(rows, log_q, relative_mean, log_gradient - log_gradient[-1], correlation)


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
