"""Second moment that a sum must have in expectation, where one side ends in a layer with independent weights.

    E[mean (s + W z + b)^2 | s, z] = mean s^2 + mean W^2 * (squares of z that an output sees) + mean b^2

over weights with mean 0 that are independent of s and z: exact at any width, for linear layers and convolutions alike.
It says nothing of what came before, so it holds for every branch that ends so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from resexp.probing.moments import second_moment, wide


@dataclass(frozen=True)
class Tail:
    """A layer's input z, its weights, and what its output was multiplied by since."""

    z: Tensor
    weight: Tensor
    bias: Tensor | None
    layout: str
    geometry: tuple[Any, ...] = ()
    square_of_factors: float = 1.0

    def scaled(self, factor: float | Tensor) -> "Tail":
        """The same after a multiplication by a number, or by a factor for each unit."""
        square = second_moment(factor) if isinstance(factor, Tensor) else float(factor) * float(factor)
        return replace(self, square_of_factors=self.square_of_factors * square)

    def expected(self) -> float:
        """Expectation of the output's second moment over the layer's weights."""
        weights = second_moment(self.weight)
        bias = second_moment(self.bias) if self.bias is not None else 0.0
        return (weights * self._seen() + bias) * self.square_of_factors

    def _seen(self) -> float:
        """Sum of the squares of z that an output sees, mean over outputs and examples."""
        if self.layout != "convolution":
            return second_moment(self.z) * self.z.shape[-1]
        stride, padding, dilation, groups = self.geometry
        kernel = self.weight.shape[2:]
        spatial = self.z.dim() - 2
        if all(k == 1 for k in kernel) and not any(_tuple(padding, spatial)) and set(_tuple(stride, spatial)) == {1}:
            return second_moment(self.z) * self.weight.shape[1]
        with torch.no_grad():
            z = self.z.detach()
            squares = torch.linalg.vector_norm(z, dim=1, keepdim=True, dtype=wide(z)).square()
            convolve: Any = {1: nn.functional.conv1d, 2: nn.functional.conv2d, 3: nn.functional.conv3d}[spatial]
            seen: Tensor = convolve(squares, squares.new_ones(1, 1, *kernel), None, stride, padding, dilation)
            return float(seen.mean()) / float(groups)


def gain_of(layer: "Tail") -> float:
    """What a layer makes of the second moment at infinite width: mean square of a weight times its fan-in."""
    outputs = layer.weight.shape[-1 if layer.layout == "matrix" else 0]
    return second_moment(layer.weight) * layer.weight.numel() / outputs


def layer_of(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tail | None:
    """The layer that a function is called for, None where it is none of the kinds known here."""
    if name == "linear":
        z, weight, bias = _named(args, kwargs, ("input", "weight", "bias"))
        return _checked(z, weight, bias, "linear")
    if name in {"conv1d", "conv2d", "conv3d"}:
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        z, weight, bias, stride, padding, dilation, groups = _named(args, kwargs, names)
        if not isinstance(z, Tensor) or z.dim() != int(name[4]) + 2 or isinstance(padding, str):
            return None
        geometry = (1 if stride is None else stride, padding or 0, 1 if dilation is None else dilation, groups or 1)
        return _checked(z, weight, bias, "convolution", geometry)
    if name == "addmm" and len(args) == 3 and not kwargs:
        return _checked(args[1], args[2], args[0], "matrix")
    if name in {"matmul", "__matmul__", "mm"} and len(args) == 2:
        return _checked(args[0], args[1], None, "matrix")
    return None


def _named(args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    return [args[k] if k < len(args) else kwargs.get(name) for k, name in enumerate(names)]


def _checked(z: Any, weight: Any, bias: Any, layout: str, geometry: tuple[Any, ...] = ()) -> Tail | None:
    """None unless the weights are a parameter as it stands, and a signal of floats goes in."""
    own = isinstance(weight, nn.Parameter) and weight.dim() >= 2 and (bias is None or isinstance(bias, nn.Parameter))
    signal = isinstance(z, Tensor) and z.is_floating_point() and not isinstance(z, nn.Parameter)
    return Tail(z, weight, bias, layout, geometry) if own and signal else None


def is_held(layer: Tail) -> bool:
    """Whether autograd holds the layer's input anyway, so that keeping it costs no memory."""
    return torch.is_grad_enabled() and layer.weight.requires_grad


def _tuple(value: Any, count: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,) * count
