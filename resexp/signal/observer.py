"""What is read off a signal on its way: second moments, batch variance, mean, with exponents carried.

Norms are kept as small tensors and turned into numbers once, at the end of a pass: on small networks the calls
into numpy would cost as much as the products.
"""

import math
from collections.abc import Sequence
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
SAFE_ABOVE, SAFE_BELOW = 1e-12, 1e15  # norms whose squares, and those of all entries that matter, float32 holds
ROOM = 36.0  # binary orders a float32 signal may go beyond that before the next look: its norm squares it


@dataclass(frozen=True)
class Pass:
    """Forward and backward numbers of some networks at the recorded blocks. Arrays are (rows, networks).

    blocks: (rows,) which they are. Squares carry an exponent: their value is `x * 2**(2 * exponent)`, that of
    activation_mean `x * 2**exponent`.
    expected_second_moment: what the next block's second moment is in expectation over its own weights, over the
    exponent of this block; nan at the last block, and everywhere unless the branch ends in its weights.
    """

    blocks: NDArray[np.int64]
    exponent: Integers
    second_moment: Floats
    batch_variance: Floats
    activation_mean: Floats
    expected_second_moment: Floats
    gradient_exponent: Integers
    gradient: Floats

    def row(self, block: int) -> int:
        """Row of a recorded block."""
        found = int(np.searchsorted(self.blocks, block))
        if found == len(self.blocks) or self.blocks[found] != block:
            raise KeyError(f"block {block} was not recorded")
        return found


class Trail:
    """Norms of one signal at the recorded blocks, and the powers of two it was brought back into range by."""

    def __init__(self, stack: Stack, networks: int, rows: Sequence[int], *, rescales: bool) -> None:
        self._size = stack.batch * stack.width
        self._rows = frozenset(rows)
        self._every = rescaling_period(stack) if rescales else 0
        self._least, self._most = (math.sqrt(self._size) * bound for bound in (1 / RESCALE_BEYOND, RESCALE_BEYOND))
        self._norms: list[Tensor] = []
        self._exponents: list[Integers] = []
        self.exponent: Integers = np.zeros(networks, dtype=np.int64)

    def see(self, x: Tensor, step: int, block: int) -> Tensor | None:
        """Rescale x (networks, batch, width) in place where it ran away; note its norm if the block is recorded.

        Returns the norms, (networks,), where they were taken.
        """
        norm = self.rescale(x, step)
        if block in self._rows:
            if norm is None:
                norm = self.norm(x)
            self._norms.append(norm)
            self._exponents.append(self.exponent)
        return norm

    def norm(self, x: Tensor) -> Tensor:
        """Norm of each network's x, (networks,)."""
        norm: Tensor = torch.linalg.vector_norm(x, dim=(1, 2))
        if not self._every and not ((norm > SAFE_ABOVE) & (norm < SAFE_BELOW)).all():
            # Without rescaling a float32 norm leaves its range long before the activations do.
            norm = torch.linalg.vector_norm(x, dim=(1, 2), dtype=torch.float64)
        return norm

    def rescale(self, x: Tensor, step: int) -> Tensor | None:
        """Divide networks that ran away by powers of two: exact, so the digits are those without rescaling.

        Looks every few steps; returns the norms where it looked.
        """
        if not self._every or step % self._every:
            return None
        norm = self.norm(x)
        norms = norm.double().cpu().numpy()
        if norms.min() > self._least and norms.max() < self._most:
            return norm
        away = ((norms <= self._least) | (norms >= self._most)) & np.isfinite(norms) & (norms > 0)
        shift = np.where(away, np.round(np.log2(np.where(away, norms / math.sqrt(self._size), 1.0))), 0.0)
        factor = torch.from_numpy(np.exp2(-shift)).to(x)
        x.mul_(factor[:, None, None])
        self.exponent = self.exponent + shift.astype(np.int64)
        return norm * factor

    def squares(self) -> Floats:
        """Mean squares over batch and width, (rows, networks), each over its exponent."""
        return np.square(as_numbers(self._norms)) / self._size

    def exponent_rows(self) -> Integers:
        """Exponents that go with the squares, (rows, networks)."""
        return np.stack(self._exponents)


def rescaling_period(stack: Stack) -> int:
    """Blocks between two looks at the range."""
    orders = abs(math.log2(stack.scheme.gain)) / 2 + 2.5 * stack.matrices
    return max(1, int(ROOM / orders))


class Observer:
    """Collects the forward numbers of one pass at the recorded blocks.

    forward: whether they are wanted; otherwise they are nan, and h is kept in range alone.
    """

    def __init__(
        self, networks: int, stack: Stack, scratch: Scratch, rows: Sequence[int], *, forward: bool = True
    ) -> None:
        self._stack, self._scratch, self._blocks, self._forward = stack, scratch, tuple(rows), forward
        self._rows = frozenset(rows if forward else ())
        self.trail = Trail(stack, networks, rows, rescales=stack.is_homogeneous)
        self._sums: list[Tensor] = []
        self._deviations: list[Tensor] = []
        self._branch_inputs: list[Tensor] = []

    def see(self, h: Tensor, block: int) -> None:
        """Note second moment, batch variance and mean of h; rescale h in place where it runs out of range."""
        if block not in self._rows:
            self.trail.rescale(h, block)
            return
        self.trail.see(h, block, block)
        if self._stack.batch == 1:
            self._sums.append(h.sum((1, 2)))
            return
        over_batch = h.sum(1, keepdim=True)  # (networks, 1, width)
        centred = torch.sub(h, over_batch, alpha=1 / self._stack.batch, out=self._scratch.beside(h))
        self._deviations.append(self.trail.norm(centred))
        self._sums.append(over_batch.sum((1, 2)))

    def see_branch_input(self, x: Tensor, block: int, norm: Tensor | None) -> None:
        """Note the norm of what goes into the last weights of the branch behind a block. norm: where it is known."""
        if block in self._rows:
            self._branch_inputs.append(self.trail.norm(x) if norm is None else norm)

    def result(self, gradient: Trail) -> Pass:
        """All numbers of the pass; `gradient` was seen from the last block to the first."""
        if not self._forward:
            exponents, squares = gradient.exponent_rows()[::-1], gradient.squares()[::-1]
            unknown = np.full_like(squares, np.nan)
            return Pass(
                np.array(self._blocks), np.zeros_like(exponents), unknown, unknown, unknown, unknown, exponents, squares
            )
        squares = self.trail.squares()
        size = self._stack.batch * self._stack.width
        deviations = as_numbers(self._deviations) if self._deviations else np.zeros_like(squares)
        return Pass(
            np.array(self._blocks),
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
        expected = np.full_like(squares, np.nan)
        if self._branch_inputs:
            scheme, inputs = self._stack.scheme, np.square(as_numbers(self._branch_inputs)) / size
            branch = scheme.branch**2 * self._stack.init.gain()
            expected[: len(inputs)] = scheme.skip**2 * squares[: len(inputs)] + branch * inputs
        return expected


def as_numbers(norms: list[Tensor]) -> Floats:
    """Stack small tensors (networks,) into one array (rows, networks)."""
    return torch.stack(norms).cpu().double().numpy()
