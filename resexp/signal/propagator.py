"""Forward and backward pass of one tile of networks through a stack."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.lab import Lab
from resexp.signal.layers import BatchNorm, Layer, Multiply, Scratch, activation
from resexp.signal.observer import Observer, Pass, Trail
from resexp.signal.stack import Stack
from resexp.signal.weights import NormalSource


class Propagator:
    """Runs tiles of networks, one after another, in memory that is allocated once.

    group: networks at once, a divisor of stack.tile; keep_weights: hold the matrices from the forward to the
    backward pass, otherwise they are drawn a second time from their keys (always so where group < stack.tile).
    """

    def __init__(self, lab: Lab, stack: Stack, group: int, keep_weights: bool) -> None:
        self.lab, self.stack, self.group = lab, stack, group
        self.keep_weights = keep_weights and group == stack.tile
        self._source = NormalSource(lab)
        self._h = self._empty(group, stack.batch, stack.width)
        self._scratch = Scratch(self._h)
        self._matrices = self._empty(stack.tile, stack.width, stack.width)
        self._tile, self._members = 0, slice(0, group)
        self._blocks = [self._branch(block) for block in range(stack.depth)]

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.lab.torch_dtype, device=self.lab.torch_device)

    def _branch(self, block: int) -> list[Layer]:
        layers: list[Layer] = []
        matrix = 0
        for kind in self.stack.layers():
            if kind == "norm":
                layers.append(BatchNorm(self._h, self._scratch))
            elif kind == "activate":
                layers.append(activation(self.stack.activation, self._h))
            else:
                layers.append(Multiply(self._weights(block, matrix), self._scratch))
                matrix += 1
        return layers

    def _weights(self, block: int, matrix: int) -> Callable[[], Tensor]:
        """What returns the weights of one layer for the tile at hand, (group, width, width)."""
        stack = self.stack
        scale = stack.scheme.inner if matrix < stack.matrices - 1 else 1.0
        out = torch.empty_like(self._matrices) if self.keep_weights else self._matrices
        drawn_for = -1

        def weights() -> Tensor:
            nonlocal drawn_for
            if drawn_for != self._tile or not self.keep_weights:
                self._source.fill_matrices(out, stack.init, scale, "weights", self._tile, block, matrix)
                drawn_for = self._tile
            return out[self._members]

        return weights

    def _normal(self, std: float, purpose: str, *shape: int) -> Tensor:
        return self._source.draw((self.stack.tile, *shape), std, purpose, self._tile)[self._members]

    def run(self, tile: int, members: slice) -> Pass:
        """Propagate these networks of the tile forward and backward."""
        self._tile, self._members = tile, members
        observer = Observer(self.group, self.stack, self._scratch)
        h = self._first_layer()
        observer.see(h)
        for branch in self._blocks:
            self._forward(h, branch, observer)
            observer.see(h)
        g = self._cotangent(h, observer.trail.exponents[-1])
        gradient = Trail(self.stack, self.group, rescales=True)  # backpropagation is linear in the gradient
        gradient.see(g)
        for branch in reversed(self._blocks):
            g = self._backward(g, branch)
            gradient.see(g)
        return observer.result(gradient)

    def _first_layer(self) -> Tensor:
        inputs = self._normal(1.0, "inputs", self.stack.batch, self.stack.width)
        self._source.fill_matrices(self._matrices, self.stack.init, 1.0, "first layer", self._tile)
        return torch.bmm(inputs, self._matrices[self._members], out=self._h)

    def _forward(self, h: Tensor, branch: list[Layer], observer: Observer) -> None:
        """H <- skip h + branch f(h); a last product and the sum are one operation."""
        scheme = self.stack.scheme
        x = h
        for layer in branch[:-1]:
            x = layer.forward(x)
        last = branch[-1]
        if isinstance(last, Multiply):
            observer.see_branch_input(x)
            h.baddbmm_(x, last.weights(), beta=scheme.skip, alpha=scheme.branch)
        else:
            x = last.forward(x)
            h.mul_(scheme.skip).add_(x, alpha=scheme.branch)

    def _backward(self, g: Tensor, branch: list[Layer]) -> Tensor:
        """G <- skip g + branch (df/dh)^T g."""
        scheme = self.stack.scheme
        through = g if isinstance(branch[-1], Multiply) else self._scratch.beside(g).copy_(g)
        for layer in reversed(branch):
            through = layer.backward(through)
        if scheme.skip != 1.0:
            g.mul_(scheme.skip)
        return g.add_(through, alpha=scheme.branch)

    def _cotangent(self, h: Tensor, exponent: NDArray[np.int64]) -> Tensor:
        """Gradient at the last block, up to a scale of each network, (group, batch, width)."""
        stack = self.stack
        if stack.cotangent == "independent":
            return self._normal(1.0, "cotangent", stack.batch, stack.width)
        std = math.sqrt(stack.init.variance(stack.width, 1))
        readout = self._normal(std, "read-out", stack.width, 1)  # (group, width, 1)
        if stack.cotangent == "sum":
            return readout.mT.repeat(1, stack.batch, 1)
        targets = self._normal(1.0, "targets", stack.batch, 1)
        # h is 2**-exponent times the true activations. The residual's own scale does not matter: the larger of output
        # and target keeps its size, and neither leaves float32.
        output = torch.bmm(h, readout) * _power_of_two(np.minimum(exponent, 0), h)
        residual = output - targets * _power_of_two(-np.maximum(exponent, 0), h)  # (group, batch, 1)
        return residual @ readout.mT


def _power_of_two(exponent: NDArray[np.int64], like: Tensor) -> Tensor:
    """2**exponent of each network, (networks, 1, 1); exponents are not positive."""
    return torch.from_numpy(np.exp2(np.maximum(exponent, -1000).astype(np.float64))).to(like)[:, None, None]
