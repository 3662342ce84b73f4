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
from typing import NamedTuple

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


class Unit(NamedTuple):
    """One unit over weights: its mean square, its product over two inputs, its mean."""

    square: float
    product: float
    mean: float

    def times(self, factor: float) -> "Unit":
        """The same with squares `factor` times as large."""
        return Unit(self.square * factor, self.product * factor, self.mean * math.sqrt(factor))


@dataclass(frozen=True)
class Block:
    """A block h' = skip h + branch f(h). inner: scale of the first weights of a two-layer branch."""

    skip: float
    branch: float
    inner: float
    gain: float
    order: str
    activation: str

    @property
    def is_homogeneous(self) -> bool:
        """Whether growth does not depend on the scale of h."""
        return self.activation in {"relu", "linear"}

    def through(self, h: Unit) -> tuple[Unit, float]:
        """A unit after the block, and the growth of the squared gradient on its way back."""
        f, skip, branch = self._branch(h.square, h.product / h.square), self.skip, self.branch
        square = skip**2 * h.square + 2.0 * skip * branch * h.mean * f.mean + branch**2 * f.square
        product = skip**2 * h.product + 2.0 * skip * branch * h.mean * f.mean + branch**2 * f.product
        return Unit(square, product, skip * h.mean + branch * f.mean), skip**2 + branch**2 * f.gradient

    def _branch(self, q: float, c: float) -> "_Branch":
        if self.order == "linear-relu":
            variance = self.gain * q
            return _Branch(
                gaussian.mean(self.activation, variance),
                gaussian.square(self.activation, variance),
                gaussian.product(self.activation, variance, c),
                self.gain * gaussian.derivative_square(self.activation, variance),
            )
        first = self._weights_last(q, c)
        if self.order == "relu-linear":
            return first
        inner = self.inner**2
        second = self._weights_last(inner * first.square, first.product / first.square)
        return second._replace(gradient=inner * first.gradient * second.gradient)

    def _weights_last(self, q: float, c: float) -> "_Branch":
        return _Branch(
            0.0,
            self.gain * gaussian.square(self.activation, q),
            self.gain * gaussian.product(self.activation, q, c),
            self.gain * gaussian.derivative_square(self.activation, q),
        )


class _Branch(NamedTuple):
    """Mean, square and product over two inputs of a branch's output; gradient: product of gain E[phi'^2]."""

    mean: float
    square: float
    product: float
    gradient: float


def stack(depth: int, block: Block, blocks: Sequence[int] | None = None) -> Limit:
    """Follow the recursion through `depth` blocks.

    blocks: increasing numbers of those to give values of, all if not given.
    """
    rows = np.arange(depth + 1) if blocks is None else np.array(blocks)
    log_q, relative_mean, log_gradient = np.full((3, len(rows)), math.nan)
    correlation = np.full(depth + 1, math.nan)
    h, exponent = Unit(block.gain, 0.0, 0.0), 0.0
    row, gradient = 0, 0.0  # gradient: log of the squared gradient at the first block relative to this one
    for k in range(depth + 1):
        correlation[k] = h.product / h.square
        if k == rows[row]:
            log_q[row], log_gradient[row] = math.log(h.square) + exponent, -gradient
            relative_mean[row] = h.mean / math.sqrt(h.square)
            row += 1
        if row == len(rows) or not 0.0 < h.square < LARGEST:
            break
        h, growth = block.through(h)
        gradient += math.log(growth)
        if block.is_homogeneous:
            exponent += math.log(h.square)
            h = h.times(1.0 / h.square)
        if h.square == 0.0:
            break
    return Limit(rows, log_q, relative_mean, log_gradient - log_gradient[-1], correlation)
