"""What is read off a signal on its way: second moments, batch variance, mean, with exponents carried.

Norms are kept as small tensors and turned into numbers once, at the end of a pass: on small networks the calls
into numpy would cost as much as the products.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.signal.layers import Scratch
from resexp.signal.stack import Stack

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

RESCALE_BEYOND = 2.0**20  # root mean square
ROOM = 36.0  # binary orders a float32 signal may go beyond that before the next look: its norm squares it


@dataclass(frozen=True)
class Pass:
    """Forward and backward numbers of some networks. Arrays are (depth + 1, networks) unless said otherwise.

    Squares carry an exponent: their value is `x * 2**(2 * exponent)`, that of activation_mean `x * 2**exponent`.
    expected_second_moment: (depth, networks) what the next block's second moment is in expectation over its own
    weights, over the exponent of block k (no rows unless the branch ends in a linear layer).
    """

    exponent: Integers
    second_moment: Floats
    batch_variance: Floats
    activation_mean: Floats
    expected_second_moment: Floats
    gradient_exponent: Integers
    gradient: Floats


class Trail:
    """Norms of one signal, block after block, and the powers of two it was brought back into range by."""

    def __init__(self, stack: Stack, networks: int, *, rescales: bool) -> None:
        self._size = stack.batch * stack.width
        self._every = rescaling_period(stack) if rescales else 0
        self._norms: list[Tensor] = []
        self.exponents = [np.zeros(networks, dtype=np.int64)]

    def see(self, x: Tensor) -> None:
        """Note the norm of each network's x (networks, batch, width); rescale x in place where it ran away."""
        norm = self.norm(x)
        exponent = self.exponents[-1]
        if self._every and len(self._norms) % self._every == 0:
            norm, exponent = self._rescale(x, norm, exponent)
        self._norms.append(norm)
        self.exponents.append(exponent)

    def norm(self, x: Tensor) -> Tensor:
        """Norm of each network's x, (networks,)."""
        # Without rescaling a float32 norm would overflow long before the activations do.
        norm: Tensor = torch.linalg.vector_norm(x, dim=(1, 2), dtype=None if self._every else torch.float64)
        return norm

    def _rescale(self, x: Tensor, norm: Tensor, exponent: Integers) -> tuple[Tensor, Integers]:
        """Divide networks that ran away by powers of two: exact, so the digits are those without rescaling."""
        root_mean_square = norm.double().cpu().numpy() / math.sqrt(self._size)
        if root_mean_square.min() > 1 / RESCALE_BEYOND and root_mean_square.max() < RESCALE_BEYOND:
            return norm, exponent
        usable = np.isfinite(root_mean_square) & (root_mean_square > 0)
        shift = np.where(usable, np.round(np.log2(np.where(usable, root_mean_square, 1.0))), 0.0)
        factor = torch.from_numpy(np.exp2(-shift)).to(x)
        x.mul_(factor[:, None, None])
        return norm * factor, exponent + shift.astype(np.int64)

    def squares(self) -> Floats:
        """Mean squares over batch and width, (blocks seen, networks), each over its exponent."""
        return np.square(as_numbers(self._norms)) / self._size

    def exponent_rows(self) -> Integers:
        """Exponents that go with the squares, (blocks seen, networks)."""
        return np.stack(self.exponents[1:])


def rescaling_period(stack: Stack) -> int:
    """Blocks between two looks at the range."""
    orders = abs(math.log2(stack.scheme.gain)) / 2 + 2.5 * stack.matrices
    return max(1, int(ROOM / orders))


class Observer:
    """Collects the forward numbers of one pass, block by block."""

    def __init__(self, networks: int, stack: Stack, scratch: Scratch) -> None:
        self._stack, self._scratch = stack, scratch
        self.trail = Trail(stack, networks, rescales=stack.is_homogeneous)
        self._sums: list[Tensor] = []
        self._deviations: list[Tensor] = []
        self._branch_inputs: list[Tensor] = []

    def see(self, h: Tensor) -> None:
        """Note second moment, batch variance and mean of h; rescale h in place where it runs out of range."""
        self.trail.see(h)
        if self._stack.batch == 1:
            self._sums.append(h.sum((1, 2)))
            return
        over_batch = h.sum(1, keepdim=True)  # (networks, 1, width)
        centred = torch.sub(h, over_batch, alpha=1 / self._stack.batch, out=self._scratch.beside(h))
        self._deviations.append(self.trail.norm(centred))
        self._sums.append(over_batch.sum((1, 2)))

    def see_branch_input(self, x: Tensor) -> None:
        """Note the norm of what goes into the last weights of a branch."""
        self._branch_inputs.append(self.trail.norm(x))

    def result(self, gradient: Trail) -> Pass:
        """All numbers of the pass; `gradient` was seen from the last block to the first."""
        squares = self.trail.squares()
        size = self._stack.batch * self._stack.width
        deviations = as_numbers(self._deviations) if self._deviations else np.zeros_like(squares)
        return Pass(
            self.trail.exponent_rows(),
            squares,
            np.square(deviations) / size,
            as_numbers(self._sums) / size,
            self._expected(squares, size),
            gradient.exponent_rows()[::-1],
            gradient.squares()[::-1],
        )

    def _expected(self, squares: Floats, size: int) -> Floats:
        """skip^2 q + branch^2 gain mean(x^2), x the input of the branch's last weights: exact at any width."""
        if not self._branch_inputs:
            return np.empty((0, squares.shape[1]))
        scheme = self._stack.scheme
        branch = scheme.branch**2 * self._stack.init.gain()
        return scheme.skip**2 * squares[:-1] + branch * np.square(as_numbers(self._branch_inputs)) / size


def as_numbers(norms: list[Tensor]) -> Floats:
    """Stack small tensors (networks,) into one array (blocks, networks)."""
    return torch.stack(norms).double().cpu().numpy()
