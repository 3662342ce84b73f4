"""How many parameters a network has: fully connected, one residual block, or a bottleneck block.

    mlp         inputs -> D -> ... -> D -> outputs, with L hidden layers of D units
                D (inputs + (L - 1) D + outputs) weights, L D + outputs biases, 2 L D of batch normalisation
    block       one k x k convolution from C channels to C
                k^2 C^2 weights, C biases, 2 C of batch normalisation
    bottleneck  1 x 1 from C channels to N, k x k from N to N, 1 x 1 from N back to C
                2 C N + k^2 N^2 weights, 2 N + C biases, 2 (C + 2 N) of batch normalisation

Batch normalisation has a gamma and a beta for each normalised unit: in mlp every hidden unit, in the blocks every input
channel of each convolution (BN, ReLU, convolution). Running means and variances are not learned and not counted.
A normalisation before ReLU but after a linear layer makes that layer's bias redundant; it is counted all the same
unless --no-bias. All numbers are exact.

Problem 11.8: 3,841 parameters with biases, 4,241 with batch normalisation too. Problem 11.10, with both: 2,360,832 for
the block of 512 channels, 280,832 for the bottleneck with 128 inside.

Source: Prince 2023, problems 11.8 and 11.10, figure 11.7; He et al. 2016 for the bottleneck.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.experiment import param
from resexp.core.result import Value
from resexp.core.table import Table
from resexp.theory import sizes

Net = Literal["mlp", "block", "bottleneck"]

NETS_WITH: dict[str, tuple[Net, ...]] = {
    "inputs": ("mlp",),
    "outputs": ("mlp",),
    "layers": ("mlp",),
    "width": ("mlp",),
    "channels": ("block", "bottleneck"),
    "inner": ("bottleneck",),
    "kernel": ("block", "bottleneck"),
}
"""Parameters that only some nets have."""


@dataclass(frozen=True)
class Layer:
    """A linear layer or convolution, weight (outputs, inputs, kernel, kernel), and the units normalised with it."""

    name: str
    inputs: int
    outputs: int
    kernel: int = 1
    normalised: int = 0


class Parameters(Table):
    """Number of parameters of a network, layer by layer and kind by kind."""

    net: Net = param("mlp", "fully connected net, one convolution of a residual block, or bottleneck", positional=True)
    inputs: int = param(1, "input units (mlp)", ge=1)
    outputs: int = param(1, "output units (mlp)", ge=1)
    layers: int = param(10, "hidden layers L (mlp)", ge=1, le=100_000)
    width: int = param(20, "hidden units D per layer (mlp)", ge=1)
    channels: int = param(512, "channels C into and out of the block (block, bottleneck)", ge=1)
    inner: int = param(128, "channels N inside the block (bottleneck)", ge=1)
    kernel: int = param(3, "side k of the square kernel, in pixels (block, bottleneck)", ge=1)
    batchnorm: bool = param(False, "count the gammas and betas of batch normalisation")
    bias: bool = param(True, "count biases")

    axes = ("layer", "kind")
    columns = ("layer", "kind", "parameters")
    quick: ClassVar = {}
    examples = (
        "parameters mlp --layers 10 --width 20",
        "parameters block --channels 512 --batchnorm",
        "parameters bottleneck --channels 512 --inner 128 --batchnorm",
    )

    @model_validator(mode="after")
    def _applies(self) -> Self:
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        for name, nets in NETS_WITH.items():
            # A default that is spelled out is let through: a stored cell has every parameter spelled out.
            if self.net not in nets and getattr(self, name) != defaults[name]:
                raise ValueError(f"--{name} has no meaning for {self.net}; it belongs to {' and '.join(nets)}.")
        return self

    def table(self) -> Iterator[dict[str, Value]]:
        """One row for each layer and kind, then the total."""
        total = 0
        for layer in self._layers(self.net):
            for kind, size in self._kinds(layer).items():
                total += size
                yield {"layer": layer.name, "kind": kind, "parameters": size}
        yield {"layer": "total", "kind": "all", "parameters": total}

    def headlines(self) -> Iterator[tuple[str, float | int, float | int | None]]:
        """The total against its closed form; for a bottleneck also the block it stands in for."""
        total = self._total(self.net)
        yield "parameters", total, self._closed_form(self.net)
        if self.net == "bottleneck":
            plain = self._total("block")
            yield "parameters_of_plain_block", plain, self._closed_form("block")
            yield "plain_block_over_bottleneck", plain / total, None

    def notes(self) -> Iterator[str]:
        """Say what was counted."""
        biases = "biases" if self.bias else "no biases"
        where = "hidden unit" if self.net == "mlp" else "input channel of each convolution"
        normalisation = f"gamma and beta for each {where}" if self.batchnorm else "no batch normalisation"
        yield f"Counted: weights, {biases}, {normalisation}."

    def _layers(self, net: Net) -> Iterator[Layer]:
        if net == "mlp":
            for number in range(1, self.layers + 1):
                inputs = self.inputs if number == 1 else self.width
                yield Layer(f"hidden {number}", inputs, self.width, normalised=self.width)
            yield Layer("output", self.width, self.outputs)
        elif net == "block":
            yield self._convolution("convolve", self.channels, self.channels, self.kernel)
        else:
            yield self._convolution("reduce", self.channels, self.inner, 1)
            yield self._convolution("convolve", self.inner, self.inner, self.kernel)
            yield self._convolution("expand", self.inner, self.channels, 1)

    def _convolution(self, name: str, inputs: int, outputs: int, kernel: int) -> Layer:
        return Layer(f"{name} {kernel}x{kernel}", inputs, outputs, kernel, normalised=inputs)

    def _kinds(self, layer: Layer) -> dict[str, int]:
        """Size of each parameter tensor of a layer that is there and counted."""
        sizes_by_kind = {
            "weights": layer.outputs * layer.inputs * layer.kernel**2,
            "biases": layer.outputs * self.bias,
            "gammas": layer.normalised * self.batchnorm,
            "betas": layer.normalised * self.batchnorm,
        }
        return {kind: size for kind, size in sizes_by_kind.items() if size}

    def _total(self, net: Net) -> int:
        return sum(sum(self._kinds(layer).values()) for layer in self._layers(net))

    def _closed_form(self, net: Net) -> int:
        counted = {"bias": self.bias, "batchnorm": self.batchnorm}
        if net == "mlp":
            return sizes.mlp(self.inputs, self.outputs, self.layers, self.width, **counted)
        if net == "block":
            return sizes.block(self.channels, self.kernel, **counted)
        return sizes.bottleneck(self.channels, self.inner, self.kernel, **counted)
