"""Residual networks computed in one number format, never rescaled, until their signals leave its range.

    h[0] = W x,    h[k+1] = skip h[k] + branch W relu(n(h[k])),    n nothing or batch normalisation
    g[K] ~ N(0, 1),    g[k] = skip g[k+1] + branch 1(h[k] > 0) W'g[k+1]

Activations, weights and gradients are numbers of the format. A block multiplies them, adds up, and rounds to the
format. Sums of float16 and bfloat16 products are carried in float32, as torch and every accelerator do; they are
written here as products of float32 tensors that hold numbers of the format, because torch's own are slow on some
processors, and on others their bfloat16 instructions put subnormal numbers to zero. Weights are drawn in float32 and
rounded, so that all formats see the same networks.

The gradient must not see the activations overflow, which they do at about the same depth. The signs it needs come from
a second forward pass in the same format whose signal is brought back into range by powers of two: without biases those
change no digit.

Of each signal the largest magnitude decides. It is infinite (or not a number) as soon as one activation is, and below
the smallest normal number when all are; the same holds of its square, computed in the format.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab
from resexp.core.schemes import Scheme
from resexp.signal.threads import Work, nothing, over_threads
from resexp.signal.weights import NormalSource

Array = NDArray[np.float64]
Signal = Literal["activation", "square", "gradient"]
End = Literal["overflow", "underflow"]
ENDS: tuple[End, ...] = ("overflow", "underflow")


@dataclass(frozen=True)
class FiniteNet:
    """A stack and the format it is computed in. depth: blocks; width: units and inputs; batch: examples.

    number_format: name of a floating-point type of torch.
    """

    depth: int
    width: int
    batch: int
    scheme: Scheme
    init: Initialisation
    number_format: str

    @property
    def tile(self) -> int:
        """Networks that share a random stream and one batched product."""
        return 8 if self.width <= 512 else 2

    @property
    def format(self) -> torch.dtype:
        """Type that signals and weights are numbers of."""
        found: torch.dtype = getattr(torch, self.number_format)
        return found

    @property
    def accumulator(self) -> torch.dtype:
        """Type that products are added up in."""
        return torch.float32 if self.format.itemsize == 2 else self.format

    @property
    def has_gradient(self) -> bool:
        """Whether the backward pass is run: signs are kept from a rescaled pass, which a normalised net has not."""
        return not self.scheme.batchnorm

    @property
    def steps(self) -> int:
        """Blocks that a tile goes through, forward and backward, at most."""
        return self.depth * (2 if self.has_gradient else 1)


def first_blocks_out(lab: Lab, net: FiniteNet, draws: int) -> dict[tuple[Signal, End], Array]:
    """First block at which each signal of each network left the range at each end, (draws,); nan where it did not.

    For the gradient, the number of blocks below the last one.
    """
    tiles = range(-(-draws // net.tile))
    work = Work(lab, len(tiles) * net.steps)

    def run(tile: int) -> dict[tuple[Signal, End], Array]:
        taken = 0

        def advance() -> None:
            nonlocal taken
            taken += 1
            work.advance()

        with torch.inference_mode():
            found = _Tile(lab, net, tile, keeps_weights(lab, net), advance).first_blocks_out()
        work.advance(net.steps - taken)  # blocks beyond those at which every network was out
        return found

    parts = over_threads(run, tiles, lab.threads, work)
    return {key: np.concatenate([part[key] for part in parts])[:draws] for key in parts[0]}


def largest_of_one(lab: Lab, net: FiniteNet) -> dict[Signal, Array]:
    """Largest activation of the first network at block 0, 1, ... and largest gradient at the last block and below.

    (blocks,) each, as far as they lie inside the range.
    """
    torch.set_num_threads(1)
    found: dict[Signal, Array] = {}
    with torch.inference_mode():
        for signal, largest in _Tile(lab, net, 0, keeps_weights(lab, net)).largest().items():
            out = [_departures(signal, largest)[signal, end][0] for end in ENDS]
            inside = int(np.nanmin([*out, len(largest)]))
            found[signal] = largest[:inside, 0].double().cpu().numpy()
    return found


def estimate_seconds(lab: Lab, net: FiniteNet, draws: int) -> float:
    """Seconds that `draws` networks would take, from one tile of at most sixteen blocks, run twice."""
    torch.set_num_threads(1)
    short = replace(net, depth=min(net.depth, 16))
    elapsed = []
    with torch.inference_mode():
        for tile in range(2):
            start = time.perf_counter()
            _Tile(lab, short, tile, keeps_weights(lab, net)).largest()
            elapsed.append(time.perf_counter() - start)
    return min(elapsed) / (short.depth + 1) * (net.depth + 1) * -(-draws // net.tile) / lab.threads


def memory(lab: Lab, net: FiniteNet) -> int:
    """Bytes at the peak. Raises UsageError where they exceed the lab's budget."""
    needed = _memory(lab, net, keeps_weights(lab, net))
    return lab.afford(needed, f"depth {net.depth}, width {net.width}, batch {net.batch}")


def keeps_weights(lab: Lab, net: FiniteNet) -> bool:
    """Whether weights fit the budget from the forward to the backward pass; otherwise they are drawn twice."""
    return net.has_gradient and _memory(lab, net, keep=True) <= lab.memory


def _memory(lab: Lab, net: FiniteNet, keep: bool) -> int:
    item = net.accumulator.itemsize
    matrices = net.tile * net.width**2 * (item * (net.depth + 1 if keep else 2) + 12)
    signal = net.tile * net.batch * net.width
    return lab.threads * (matrices + signal * (net.depth * net.has_gradient + 8 * item))


class _Tile:
    """Networks that run side by side. Tensors are (networks, batch, width).

    keep: weights from the forward to the backward pass; advance: called after each block of each pass.
    """

    def __init__(self, lab: Lab, net: FiniteNet, tile: int, keep: bool, advance: Callable[[], None] = nothing) -> None:
        self._lab, self._net, self._tile, self._keep, self._advance = lab, net, tile, keep, advance
        self._source = NormalSource(lab)
        self._kept = dict[int, Tensor]()

    def first_blocks_out(self) -> dict[tuple[Signal, End], Array]:
        """First block out at each end, (networks,) each, of the activations, their squares and the gradient."""
        largest = self.largest()
        largest = {"activation": largest["activation"], "square": largest["activation"].square(), **largest}
        return {key: blocks for signal, x in largest.items() for key, blocks in _departures(signal, x).items()}

    def largest(self) -> dict[Signal, Tensor]:
        """Largest magnitude of the activations, and where there is one of the gradient, (blocks, networks)."""
        activations, off = self._forward()
        return {"activation": activations, **({"gradient": self._backward(off)} if self._net.has_gradient else {})}

    def _forward(self) -> tuple[Tensor, list[Tensor]]:
        """The largest magnitude at block 0, 1, ... (blocks, networks), and the units that are off in each block."""
        net = self._net
        inputs = self._normal("inputs").to(net.accumulator)
        h = torch.bmm(inputs, self._draw("first layer")).to(net.format)
        largest, off, kept_in_range = [_largest(h)], list[Tensor](), h
        for block in range(net.depth):
            inside = _is_inside(largest[-1])
            if not (inside or net.has_gradient):
                break
            w = self._weights(block)
            if inside:
                h = self._block(h, w).to(net.format)
                largest.append(_largest(h))
            if net.has_gradient:
                off.append(kept_in_range <= 0)
                kept_in_range = _brought_back(self._block(kept_in_range, w)).to(net.format)
            self._advance()
        return torch.stack(largest), off

    def _block(self, h: Tensor, w: Tensor) -> Tensor:
        """Skip h + branch W relu(n(h)) before it is rounded to the format."""
        scheme = self._net.scheme
        x = torch.clamp_min(self._normalised(h) if scheme.batchnorm else h, 0.0)
        return torch.baddbmm(h.to(w.dtype), x.to(w.dtype), w, beta=scheme.skip, alpha=scheme.branch)

    def _normalised(self, h: Tensor) -> Tensor:
        """Each unit to mean 0 and variance 1 over the batch."""
        wide = h.to(self._net.accumulator)
        centred = wide - wide.mean(1, keepdim=True)
        deviation = centred.square().mean(1, keepdim=True).sqrt()
        return torch.where(deviation > 0, centred / deviation, 0.0).to(self._net.format)

    def _backward(self, off: list[Tensor]) -> Tensor:
        """The largest magnitude of the gradient at the last block and below, (blocks, networks)."""
        net, scheme = self._net, self._net.scheme
        g = self._normal("cotangent")
        largest = [_largest(g)]
        for block in reversed(range(net.depth)):
            if not _is_inside(largest[-1]):
                break
            w, wide = self._weights(block), g.to(net.accumulator)
            through = torch.bmm(wide, w.mT).masked_fill_(off[block], 0.0)
            g = through.mul_(scheme.branch).add_(wide, alpha=scheme.skip).to(net.format)
            largest.append(_largest(g))
            self._advance()
        return torch.stack(largest)

    def _normal(self, purpose: str) -> Tensor:
        """Independent standard normals of the format, (networks, batch, width)."""
        net = self._net
        out = torch.empty((net.tile, net.batch, net.width), dtype=net.format, device=self._lab.torch_device)
        return self._source.fill(out, 1.0, purpose, self._tile)

    def _weights(self, block: int) -> Tensor:
        """Weights of a block, numbers of the format in the accumulator's type, (networks, width, width)."""
        if not self._keep:
            return self._draw("weights", block)
        if block not in self._kept:
            self._kept[block] = self._draw("weights", block)
        return self._kept[block]

    def _draw(self, purpose: str, *position: int) -> Tensor:
        net = self._net
        out = torch.empty((net.tile, net.width, net.width), dtype=net.accumulator, device=self._lab.torch_device)
        self._source.fill_matrices(out, net.init, 1.0, purpose, self._tile, *position)
        return out.to(net.format).to(net.accumulator)


def _largest(x: Tensor) -> Tensor:
    """Largest magnitude of each network, (networks,); nan where there is one."""
    return x.abs().amax((1, 2))


def _is_inside(largest: Tensor) -> bool:
    """Whether some network is still between the ends of the range."""
    return bool((torch.isfinite(largest) & (largest >= _smallest(largest))).any())


def _smallest(x: Tensor) -> float:
    """The smallest normal number of x's type."""
    return float(torch.finfo(x.dtype).smallest_normal)


def _brought_back(h: Tensor) -> Tensor:
    """Each network's h over a power of two near its largest magnitude."""
    _, exponent = torch.frexp(_largest(h))
    return torch.ldexp(h, -exponent[:, None, None])


def _departures(signal: Signal, largest: Tensor) -> dict[tuple[Signal, End], Array]:
    """First row at which each network's largest magnitude is out at either end, (networks,). largest: (rows, ...)."""
    return {
        (signal, "overflow"): _first(~torch.isfinite(largest)),
        (signal, "underflow"): _first(largest < _smallest(largest)),
    }


def _first(out: Tensor) -> Array:
    """Row of the first true value in each column, nan where there is none."""
    found = out.cpu().numpy()
    return np.where(found.any(axis=0), found.argmax(axis=0), math.nan)
