"""Layers of a branch with hand-written backward passes.

Every tensor is (networks, batch, width). A layer keeps what its backward pass needs and nothing else; weights
carry no gradient, for only gradients with respect to activations are measured.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from resexp.core.network import ActivationName


class Layer(Protocol):
    """Something a signal goes through and a gradient comes back through."""

    def forward(self, x: Tensor) -> Tensor:
        """Output for input x, both (networks, batch, width)."""

    def backward(self, g: Tensor) -> Tensor:
        """Gradient with respect to the input of the last forward call; may reuse the memory of g."""


class Scratch:
    """Two tensors of (networks, batch, width) that layers hand their transient results around in."""

    def __init__(self, like: Tensor) -> None:
        self._pair = (torch.empty_like(like), torch.empty_like(like))

    def beside(self, x: Tensor) -> Tensor:
        """The scratch tensor that is not x."""
        first, second = self._pair
        return second if x is first else first


class Relu:
    """max(x, 0); keeps its output, whose sign is the derivative."""

    def __init__(self, like: Tensor) -> None:
        self._output = torch.empty_like(like)

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0)."""
        return torch.clamp_min(x, 0.0, out=self._output)

    def backward(self, g: Tensor) -> Tensor:
        """G where the output was positive."""
        # Three times as fast as a product with a mask, and in place.
        torch.ops.aten.threshold_backward.grad_input(g, self._output, 0.0, grad_input=g)
        return g


class PackedRelu:
    """max(x, 0) that keeps one bit a unit, block upon block; backward calls take the blocks off in reverse order.

    depth: calls of forward before the first of backward. On the CPU alone, where numpy packs bits as fast as it reads.
    """

    def __init__(self, like: Tensor, depth: int) -> None:
        self._output, self._mask = torch.empty_like(like), torch.empty_like(like)
        self._is_on = np.empty(like.numel(), dtype=np.bool_)
        self._bits = np.empty((depth, -(-like.numel() // 8)), dtype=np.uint8)
        self._top = 0

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0)."""
        output = torch.clamp_min(x, 0.0, out=self._output)
        self._bits[self._top] = np.packbits(np.greater(output.numpy().reshape(-1), 0, out=self._is_on))
        self._top += 1
        return output

    def backward(self, g: Tensor) -> Tensor:
        """G where the output was positive."""
        self._top -= 1
        bits = np.unpackbits(self._bits[self._top], count=g.numel())
        # As a product of two types, which torch makes a number at a time, it takes three times as long.
        return g.mul_(self._mask.copy_(torch.from_numpy(bits).view(g.shape)))


class Smooth:
    """An activation given by a function that returns (value, derivative); keeps the derivative."""

    def __init__(self, function: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        """Value at x."""
        value, self._derivative = self._function(x)
        return value

    def backward(self, g: Tensor) -> Tensor:
        """G times the derivative at x."""
        return g.mul_(self._derivative)


class Identity:
    """x itself: the activation of a linear network."""

    def forward(self, x: Tensor) -> Tensor:
        """A copy of x, for the caller may change x in place."""
        return x.clone()

    def backward(self, g: Tensor) -> Tensor:
        """The gradient g itself."""
        return g


class BatchNorm:
    """Each unit to mean 0 and variance 1 over the batch (Ioffe and Szegedy 2015), no gamma, no beta, no epsilon.

    A unit that does not vary over the batch gives zero, and zero gradient, as with any epsilon.
    """

    def __init__(self, like: Tensor, scratch: Scratch) -> None:
        self._output, self._scratch = torch.empty_like(like), scratch

    def forward(self, x: Tensor) -> Tensor:
        """Normalised x."""
        centred = torch.sub(x, x.mean(1, keepdim=True), out=self._output)
        # Squares and a sum: torch's norm over the middle dimension takes ten times as long.
        squares = torch.mul(centred, centred, out=self._scratch.beside(x))
        deviation = squares.mean(1, keepdim=True).sqrt_()
        self._inverse = deviation.masked_fill_(deviation == 0, torch.inf).reciprocal_()  # (networks, 1, width)
        return centred.mul_(self._inverse)

    def backward(self, g: Tensor) -> Tensor:
        """(g - mean(g) - z mean(z g)) / s, means over the batch, z the normalised input, s its deviation."""
        projection = torch.mul(g, self._output, out=self._scratch.beside(g)).mean(1, keepdim=True)
        return g.sub_(g.mean(1, keepdim=True)).addcmul_(self._output, projection, value=-1).mul_(self._inverse)


def activation(name: ActivationName, like: Tensor) -> Layer:
    """A fresh layer that applies the named activation to tensors such as `like`, in one block."""
    if name == "relu":
        return Relu(like)
    if name == "linear":
        return Identity()
    return Smooth(_tanh if name == "tanh" else _gelu)


def _tanh(x: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.tanh(x)
    return value, 1 - value.square()


def _gelu(x: Tensor) -> tuple[Tensor, Tensor]:
    """X Phi(x) and Phi(x) + x phi(x), Phi and phi the normal distribution and density."""
    cumulative = torch.erf(x * math.sqrt(0.5)).add_(1).mul_(0.5)
    density = torch.exp(-0.5 * x.square()).mul_(1 / math.sqrt(2 * math.pi))
    return x * cumulative, cumulative + x * density
