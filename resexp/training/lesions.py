"""Lesions of trained nets: layers or blocks that are left out, or that stand in each other's places.

A lesion is an order, (places,): which layer stands at each place, GONE where the place's own layer is left out and what
comes in goes through its shortcut alone: as it is, or where a layer changes the shape, strided and with zeros in the
channels that are new. A net's weights are never trained again.

Source: Veit et al. 2016, section 4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from resexp.nets.residual import Residual, ResidualNet, ZeroPad
from resexp.training.data.dataset import Examples
from resexp.training.modes import evaluating

Order = tuple[int, ...]
Numbers = NDArray[np.float64]

GONE = -1
CHUNK = 256
"""Examples at once, whose activations before every layer are kept."""


@dataclass(frozen=True)
class Layer:
    """What can be left out: a residual block, or a layer of VGG; `without` is what stays in its place."""

    whole: nn.Module
    without: nn.Module


@dataclass(frozen=True)
class Chain:
    """A net as stem, layers that can be left out, and head."""

    net: nn.Module
    stem: nn.Module
    layers: Sequence[Layer]
    head: nn.Module

    @property
    def intact(self) -> Order:
        """The order of the net as it is."""
        return tuple(range(len(self.layers)))

    @torch.no_grad()
    def errors(self, examples: Examples, orders: Sequence[Order], *, batch_statistics: bool = False) -> Numbers:
        """Share of wrong examples with each lesion, (orders,), in evaluation mode.

        batch_statistics: batch normalisation by the statistics of the examples themselves, up to 256 at a time, which
        are those that the lesion leaves.
        """
        wrong = torch.zeros(len(orders), dtype=torch.int64)
        with evaluating(self.net, batch_statistics=batch_statistics):
            for x, y in _chunks(examples):
                before = self._states(x)
                for number, order in enumerate(orders):
                    first = next((k for k, layer in enumerate(order) if layer != k), len(order))
                    h = before[first]
                    for place in range(first, len(order)):
                        layer = order[place]
                        h = self.layers[place].without(h) if layer == GONE else self.layers[layer].whole(h)
                    wrong[number] += (self.head(h).argmax(1) != y).sum().cpu()
        return (wrong.double() / len(examples)).numpy()

    @torch.no_grad()
    def stages(self, one: Tensor) -> list[list[int]]:
        """Layers that can stand in each other's places, those of one shape in and out. one: (1, *shape)."""
        with evaluating(self.net, batch_statistics=False):
            shapes = [h.shape for h in self._states(one)]
        found: dict[torch.Size, list[int]] = {}
        for layer in self.intact:
            if shapes[layer] == shapes[layer + 1]:
                found.setdefault(shapes[layer], []).append(layer)
        return [stage for stage in found.values() if len(stage) > 1]

    def _states(self, x: Tensor) -> list[Tensor]:
        """What enters each layer, and the head."""
        states = [self.stem(x)]
        for layer in self.layers:
            states.append(layer.whole(states[-1]))
        return states


class _Without(nn.Module):
    """A residual block without its branch."""

    def __init__(self, block: Residual) -> None:
        super().__init__()
        self.block = block

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.block(h, keep=torch.zeros(1, dtype=torch.bool, device=h.device))
        return out


def chain_of(net: nn.Module) -> Chain:
    """A chain of blocks, or a VGG: convolution, norm and ReLU are a layer, and poolings stay where they are."""
    if isinstance(net, ResidualNet):
        blocks = [block for block in net.blocks if isinstance(block, Residual)]
        return Chain(net, net.stem, [Layer(block, _Without(block)) for block in blocks], net.head)
    if not isinstance(net, nn.Sequential):
        raise TypeError(f"{type(net).__name__} is no chain of layers")
    modules = list(net)
    starts = [n for n, module in enumerate(modules) if isinstance(module, nn.Conv2d)]
    layers, pooled = list[Layer](), list[nn.Module]()
    for start, end in zip(starts, [*starts[1:], len(modules)], strict=True):
        convolution, *rest = modules[start:end]
        assert isinstance(convolution, nn.Conv2d)
        last = next(n for n, module in enumerate(rest) if isinstance(module, nn.ReLU)) + 1
        new = convolution.out_channels - convolution.in_channels
        kept = [ZeroPad(new, 1)] if new else []
        layers.append(Layer(nn.Sequential(*pooled, convolution, *rest[:last]), nn.Sequential(*pooled, *kept)))
        pooled = rest[last:]
    return Chain(net, nn.Identity(), layers, nn.Sequential(*pooled))


def _chunks(examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
    """Equal parts of the examples, as no batch statistics are to be of few."""
    parts = -(-len(examples) // CHUNK)
    yield from zip(examples.inputs.tensor_split(parts), examples.targets.tensor_split(parts), strict=True)


def deletion(layers: int, gone: Sequence[int]) -> Order:
    """The order without some layers."""
    return tuple(GONE if layer in gone else layer for layer in range(layers))


def random_deletion(random: np.random.Generator, layers: int, count: int) -> Order:
    """The order without `count` random layers."""
    return deletion(layers, random.choice(layers, count, replace=False).tolist())


def movable(stages: Sequence[Sequence[int]]) -> list[int]:
    """Numbers of layers that can be out of their places at once, ascending: never one alone of a stage."""
    reached = {0}
    for stage in stages:
        reached = {n + m for n in reached for m in (0, *range(2, len(stage) + 1))}
    return sorted(reached - {0})


def random_permutation(random: np.random.Generator, layers: int, stages: Sequence[Sequence[int]], count: int) -> Order:
    """An order in which exactly `count` random layers, of those `movable`, stand in another's place of their stage."""
    everywhere = np.concatenate([np.asarray(stage) for stage in stages])
    while True:
        chosen = set(random.choice(everywhere, count, replace=False).tolist())
        moved = [[layer for layer in stage if layer in chosen] for stage in stages]
        if all(len(some) != 1 for some in moved):
            break
    order = list(range(layers))
    for some in moved:
        for place, layer in zip(some, _deranged(random, some), strict=True):
            order[place] = layer
    return tuple(order)


def _deranged(random: np.random.Generator, items: Sequence[int]) -> list[int]:
    """The items in an order in which none is where it was."""
    while True:
        found: list[int] = random.permutation(np.asarray(items, dtype=np.int64)).tolist()
        if all(new != old for new, old in zip(found, items, strict=True)):
            return found


def kendall_tau(order: Order) -> float:
    """Rank correlation of a permutation with the order of the net: 1 where it is that, -1 where it is reversed."""
    places = np.asarray(order)
    later = np.triu_indices(len(places), 1)
    return float(np.sign(places[later[1]] - places[later[0]]).mean()) if len(places) > 1 else 1.0
