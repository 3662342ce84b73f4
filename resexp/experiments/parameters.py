"""How many parameters a network has: fully connected, one residual block, a bottleneck block, or any net by name.

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

Other names, such as resnet:50 or densenet:bc-100-12, are nets of the zoo (resexp.nets.zoo), built without memory for
their weights and counted tensor by tensor, gammas and betas always with them. Published numbers stand beside where they
are known, and where papers and ports differ a note says by how many and why. With --batch, a forward pass is counted
too: operations are twice the multiply-accumulates, as torch's counter has them; activation_bytes is what training holds
after it for the backward pass: every tensor that autograd saves, shared storage once, without the weights.

Source: Prince 2023, problems 11.8 and 11.10, figures 11.7 to 11.9; He et al. 2016 for the bottleneck; the published
numbers name theirs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, Literal, Self, get_args

from pydantic import model_validator

from resexp.core.errors import nearest
from resexp.core.experiment import param
from resexp.core.result import Value
from resexp.core.table import Table
from resexp.nets.zoo import FAMILIES
from resexp.theory import sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import nn

    from resexp.nets.accounting import Part
    from resexp.nets.published import Published

Net = Literal["mlp", "block", "bottleneck"]
FORMULAS: tuple[Net, ...] = get_args(Net)
"""Nets that are counted by formula here, in plain names; all others are built."""

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

    net: tuple[str, ...] = param(
        ("mlp",),
        "nets: mlp, block, bottleneck, or names such as resnet:50, wrn:28-10, unet",
        positional=True,
        min_length=1,
    )
    inputs: int = param(1, "input units (mlp)", ge=1)
    outputs: int = param(1, "output units (mlp)", ge=1)
    layers: int = param(10, "hidden layers L (mlp)", ge=1, le=100_000)
    width: int = param(20, "hidden units D per layer (mlp)", ge=1)
    channels: int = param(512, "channels C into and out of the block (block, bottleneck)", ge=1)
    inner: int = param(128, "channels N inside the block (bottleneck)", ge=1)
    kernel: int = param(3, "side k of the square kernel, in pixels (block, bottleneck)", ge=1)
    batchnorm: bool = param(False, "count the gammas and betas of batch normalisation")
    bias: bool = param(True, "count biases")

    batch: int | None = param(
        None, "inputs of a forward pass whose operations and activations are counted (named nets)", ge=1
    )

    version: ClassVar[int] = 2  # activation_bytes is what training holds
    axes = ("net", "layer", "kind")
    columns = ("net", "layer", "kind", "parameters")
    sketched: ClassVar[bool] = True
    quick: ClassVar = {}
    examples = (
        "parameters mlp --layers 10 --width 20",
        "parameters block --channels 512 --batchnorm",
        "parameters bottleneck --channels 512 --inner 128 --batchnorm",
        "parameters resnet:50 resnet:200 wrn:28-10 unet",
        "parameters resnet:50 densenet:121 --plot results/parameters.svg",
    )

    @model_validator(mode="after")
    def _applies(self) -> Self:
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        for name, nets in NETS_WITH.items():
            # A default that is spelled out is let through: a stored cell has every parameter spelled out.
            if not set(nets) & set(self.net) and getattr(self, name) != defaults[name]:
                raise ValueError(
                    f"--{name} has no meaning for {', '.join(self.net)}; it belongs to {' and '.join(nets)}."
                )
        for net in self.net:
            family = net.partition(",")[0].partition(":")[0]
            known = (*FORMULAS, *FAMILIES)
            if family not in known:
                raise ValueError(f"There is no net '{net}'{nearest(family, known)}; known are {', '.join(known)}.")
        if len(set(self.net)) < len(self.net):
            raise ValueError(f"net {', '.join(self.net)}: one of them stands twice.")
        return self

    def table(self) -> Iterator[dict[str, Value]]:
        """One row for each net, layer and kind, and a total for each net."""
        for net in self.net:
            total = 0
            for layer, kind, size in self._parts(net):
                total += size
                yield {"net": net, "layer": layer, "kind": kind, "parameters": size}
            yield {"net": net, "layer": "total", "kind": "all", "parameters": total}

    def sketch(self, axis: "Axes") -> None:
        """Draw parameters up to each layer, from the input to the output: where a net has them."""
        for net in self.net:
            by_layer: dict[str, int] = {}
            for layer, _, size in self._parts(net):
                by_layer[layer] = by_layer.get(layer, 0) + size
            sums = [0, *accumulate(by_layer.values())]
            share = [k / len(by_layer) for k in range(len(sums))]
            axis.plot(share, sums, drawstyle="steps-pre", lw=1.2, label=f"{net}: {sums[-1]:,}")
        axis.set_xlabel("share of the layers, from the input on")
        axis.set_ylabel("parameters so far")
        axis.grid(alpha=0.25, linewidth=0.5)
        axis.legend(fontsize=7, frameon=False)

    def _parts(self, net: str) -> Iterator[tuple[str, str, int]]:
        if net in FORMULAS:
            for layer in self._layers(net):
                for kind, size in self._kinds(layer).items():
                    yield layer.name, kind, size
            return
        for part in _built(net).parts:
            yield part.layer, part.kind, part.parameters

    def headlines(self) -> Iterator[tuple[str, float | int, float | int | None]]:
        """Each total against its closed form or its published number; for a bottleneck also the block it stands for."""
        for net in self.net:
            name = "parameters" if len(self.net) == 1 else f"parameters of {net}"
            if net not in FORMULAS:
                yield from self._named(net, name)
                continue
            total = self._total(net)
            yield name, total, self._closed_form(net)
            if net == "bottleneck":
                plain = self._total("block")
                yield "parameters_of_plain_block", plain, self._closed_form("block")
                yield "plain_block_over_bottleneck", plain / total, None

    def _named(self, net: str, name: str) -> Iterator[tuple[str, float | int, float | int | None]]:
        from resexp.nets.accounting import cost
        from resexp.nets.zoo import input_shape

        built = _built(net)
        total = sum(part.parameters for part in built.parts)
        exact = [one for one in _published(net) if one.to == 1]
        yield name, total, exact[0].parameters + exact[0].difference if exact else None
        if self.batch is None:
            return
        spent = cost(built.net, input_shape(net), self.batch)
        suffix = "" if len(self.net) == 1 else f" of {net}"
        yield f"operations{suffix}", spent.operations, None
        yield f"activation_bytes{suffix}", spent.activations, None

    def notes(self) -> Iterator[str]:
        """Say what was counted, and what others counted."""
        if set(self.net) & set(FORMULAS):
            biases = "biases" if self.bias else "no biases"
            where = "hidden unit" if "mlp" in self.net else "input channel of each convolution"
            normalisation = f"gamma and beta for each {where}" if self.batchnorm else "no batch normalisation"
            yield f"Counted: weights, {biases}, {normalisation}."
        for net in self.net:
            for one in _published(net) if net not in FORMULAS else ():
                rounded = f", rounded to {one.to:,}" if one.to > 1 else ""
                differs = f"; {one.difference:+,} here" if one.difference else ""
                why = f": {one.note}" if one.note else ""
                yield f"{net}: {one.parameters:,} in {one.source}{rounded}{differs}{why}."

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


@dataclass(frozen=True)
class Built:
    """A net without memory for its weights, and its parameter tensors."""

    net: "nn.Module"
    parts: "tuple[Part, ...]"


@lru_cache(maxsize=8)
def _built(name: str) -> Built:
    from resexp.nets.accounting import on_meta, parts
    from resexp.nets.zoo import factory

    net = on_meta(factory(name))
    return Built(net, tuple(parts(net)))


def _published(name: str) -> "tuple[Published, ...]":
    from resexp.nets.published import published

    return tuple(published(name))
