"""Forward pass alone, block by block: what a block got, what its branch gave, which units were on.

Networks are those of the engine with real matrices (the same keys of the same streams), and memory does not grow with
depth. A positively homogeneous net is brought back into range by exact powers of two between blocks, so what is read
off a block must not depend on the scale of its input: signs, cosines, ratios.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.lab import Lab, no_progress
from resexp.signal.layers import BatchNorm, Layer, Scratch, activation
from resexp.signal.stack import Stack
from resexp.signal.threads import Work, over_threads
from resexp.signal.weights import NormalSource

FAR = 2.0**20  # root mean square beyond which a signal is brought back
READING_TENSORS = 6  # what a reader may hold beside a block
STATISTICS = 6 * 8  # bytes of one number a network and block, and copies of it while it is judged

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """One block of the networks of a tile; the tensors are overwritten by the next. All are (networks, batch, width).

    skip: h before the block; activated: output of each activation in the branch, positive where a ReLU is on;
    branch: f(h); after: skip scale * h + branch scale * f(h).
    """

    skip: Tensor
    activated: tuple[Tensor, ...]
    branch: Tensor
    after: Tensor


Reader = Callable[[Block], Mapping[str, Tensor]]
"""Numbers of a block by name, (networks,) each."""


class ForwardPass:
    """Runs tiles of networks, one after another, in memory that is allocated once."""

    def __init__(self, lab: Lab, stack: Stack) -> None:
        self._lab, self._stack = lab, stack
        self._source = NormalSource(lab)
        self._h, self._after = self._empty(stack.batch), self._empty(stack.batch)
        self._scratch = Scratch(self._h)
        self._weights = self._empty(stack.width)
        self._layers = [self._layer(kind) for kind in stack.layers()]

    def _empty(self, rows: int) -> Tensor:
        shape = (self._stack.tile, rows, self._stack.width)
        return torch.empty(shape, dtype=self._lab.torch_dtype, device=self._lab.torch_device)

    def _layer(self, kind: str) -> Layer | None:
        """A layer of a branch; None for a product with weights."""
        if kind == "norm":
            return BatchNorm(self._h, self._scratch)
        return activation(self._stack.activation, self._h) if kind == "activate" else None

    def run(self, tile: int) -> Iterator[Block]:
        """The blocks of this tile's networks, one after another."""
        stack, source = self._stack, self._source
        inputs = source.draw((stack.tile, stack.batch, stack.width), 1.0, "inputs", tile)
        torch.bmm(inputs, source.fill_matrices(self._weights, stack.init, 1.0, "first layer", tile), out=self._h)
        del inputs
        for block in range(stack.depth):
            activated, branch = self._branch(self._h, tile, block)
            torch.mul(self._h, stack.scheme.skip, out=self._after).add_(branch, alpha=stack.scheme.branch)
            yield Block(self._h, activated, branch, self._after)
            self._h, self._after = self._after, self._h
            if stack.is_homogeneous:
                bring_back(self._h)

    def _branch(self, h: Tensor, tile: int, block: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """Outputs of the activations, and f(h)."""
        stack, activated = self._stack, list[Tensor]()
        x, matrix = h, 0
        for kind, layer in zip(stack.layers(), self._layers, strict=True):
            if layer is not None:
                x = layer.forward(x)
                activated += [x] if kind == "activate" else []
                continue
            scale = stack.scheme.inner if matrix < stack.matrices - 1 else 1.0
            self._source.fill_matrices(self._weights, stack.init, scale, "weights", tile, block, matrix)
            x = torch.bmm(x, self._weights, out=self._scratch.beside(x))
            matrix += 1
        return tuple(activated), x


def bring_back(h: Tensor) -> None:
    """Divide, in place, each network's h (networks, batch, width) that ran away by a power of two: no digit changes."""
    norm = torch.linalg.vector_norm(h, dim=(1, 2)).double().cpu().numpy()
    size = norm / math.sqrt(h[0].numel())  # root mean square
    if size.min() > 1 / FAR and size.max() < FAR:
        return
    usable = np.isfinite(size) & (size > 0)
    shift = np.where(usable, np.round(np.log2(np.where(usable, size, 1.0))), 0.0)
    h.mul_(torch.from_numpy(np.exp2(-shift)).to(h)[:, None, None])


def read_off(lab: Lab, stack: Stack, draws: int, read: Reader) -> dict[str, Numbers]:
    """What `read` says of every block of `draws` networks, (depth, draws) each; at any number of threads the same."""
    tiles, local = range(-(-draws // stack.tile)), threading.local()
    work = Work(lab, len(tiles) * stack.depth)

    def run(tile: int) -> dict[str, Numbers]:
        rows: dict[str, list[Tensor]] = {}
        with torch.inference_mode():
            if not hasattr(local, "forward_pass"):
                local.forward_pass = ForwardPass(lab, stack)
            for block in local.forward_pass.run(tile):
                for name, numbers in read(block).items():
                    rows.setdefault(name, []).append(numbers)
                work.advance()
            return {name: torch.stack(row).double().cpu().numpy() for name, row in rows.items()}

    parts = over_threads(run, tiles, lab.threads, work)
    return {name: np.concatenate([part[name] for part in parts], axis=1)[:, :draws] for name in parts[0]}


def memory(lab: Lab, stack: Stack, draws: int, numbers: int) -> int:
    """Bytes of reading `numbers` numbers a block off; raises UsageError where lab.memory does not hold them."""
    item = 8 if lab.dtype == "float64" else 4
    tensors = 5 + sum(kind != "multiply" for kind in stack.layers()) + READING_TENSORS
    signal = tensors * stack.tile * stack.batch * stack.width * item
    weights = stack.tile * stack.width**2 * (2 * item + 12)
    needed = lab.threads * (signal + weights) + draws * stack.depth * numbers * STATISTICS
    return lab.afford(needed, f"depth {stack.depth}, width {stack.width}, batch {stack.batch}, draws {draws}")


def seconds(lab: Lab, stack: Stack, draws: int, read: Reader) -> float:
    """Seconds of reading off `draws` networks, from a few blocks of one tile of them run here."""
    short = replace(stack, depth=min(stack.depth, 4))
    quiet = replace(lab, progress=no_progress, threads=1)
    read_off(quiet, short, stack.tile, read)
    start = time.perf_counter()
    read_off(quiet, short, stack.tile, read)
    blocks = -(-draws // stack.tile) * (stack.depth + 1)
    return (time.perf_counter() - start) / (short.depth + 1) * blocks / lab.threads
