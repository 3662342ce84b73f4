"""Forward and backward pass of some networks of an ensemble through a stack."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.lab import Lab
from resexp.signal.layers import BatchNorm, Layer, PackedRelu, Scratch, activation
from resexp.signal.observer import Observer, Pass, Trail
from resexp.signal.plan import LAW_OUTSIDE, Plan, stretch
from resexp.signal.products import LawOfProduct, LawOfProductOfOne, Multiply, Product
from resexp.signal.stack import Stack
from resexp.signal.threads import nothing
from resexp.signal.weights import NormalBlocks, NormalSource

PRODUCTS = (Multiply, LawOfProduct)
WAYS = ("along", "across")


class Propagator:
    """Runs groups of networks, one after another, in memory that is allocated once.

    rows: blocks to record, in increasing order;
    forward: record the forward numbers, else the gradient's alone;
    advance: called after each block of each pass; what it raises ends the run.
    """

    def __init__(
        self,
        lab: Lab,
        stack: Stack,
        plan: Plan,
        rows: Sequence[int],
        advance: Callable[[], None] = nothing,
        *,
        forward: bool = True,
    ) -> None:
        self.lab, self.stack, self.plan, self.rows, self._wants_forward = lab, stack, plan, rows, forward
        self._advance = advance
        self._source = NormalSource(lab)
        self._h = self._empty(plan.networks, stack.batch, stack.width)
        self._outside = self._empty(0)  # normals of the law engine that are left for what is not a block
        self._scratch = Scratch(self._h)
        if plan.engine == "explicit":
            self._matrices = self._empty(stack.tile, stack.width, stack.width)
        self._kept: list[tuple[Tensor, int, int]] = []  # weights of each block and matrix, where they are kept
        self._tiles, self._members, self._block = range(plan.tiles), slice(0, plan.group), 0
        segment = 1 if plan.packed and not plan.keep_weights else min(plan.segment, stack.depth)
        relus = [PackedRelu(self._h, stack.depth) for kind in stack.layers() if kind == "activate" and plan.packed]
        self._normals: list[NormalBlocks] = []
        if plan.engine == "law":
            for matrix in range(stack.matrices):
                self._normals += [self._normal_blocks(f"weights {way} the signal", segment, matrix) for way in WAYS]
        self._branches = [self._branch(relus, block) for block in range(segment)]

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.lab.torch_dtype, device=self.lab.torch_device)

    def _normal_blocks(self, purpose: str, segment: int, matrix: int) -> NormalBlocks:
        stack, plan = self.stack, self.plan
        shape = (plan.tiles, plan.tile, stack.batch, stack.width)
        return NormalBlocks(self._source, self._empty, shape, stretch(stack), stack.depth, segment, purpose, matrix)

    def _branch(self, relus: list[PackedRelu], block: int) -> list[Layer]:
        """Layers of a branch, with the memory of one block of a segment (packed ReLUs: of all blocks)."""
        layers: list[Layer] = []
        matrix = relu = 0
        for kind in self.stack.layers():
            if kind == "norm":
                layers.append(BatchNorm(self._h, self._scratch))
            elif kind == "multiply":
                layers.append(self._product(matrix, block, changes_later=not layers))
                matrix += 1
            elif relus and self.stack.activation == "relu":
                layers.append(relus[relu])
                relu += 1
            else:
                layers.append(activation(self.stack.activation, self._h))
        return layers

    def _product(self, matrix: int, block: int, *, changes_later: bool) -> Product:
        """The product with a block's weights. changes_later: its input is h itself, which is updated in place."""
        stack = self.stack
        if self.plan.engine == "explicit":
            return Multiply(
                self._kept_weights(matrix, block) if self.plan.keep_weights else self._weights(matrix), self._scratch
            )
        along, across = self._normals[2 * matrix : 2 * matrix + 2]
        kind = LawOfProductOfOne if stack.batch == 1 else LawOfProduct
        return kind(
            self._scale(matrix) * math.sqrt(stack.init.variance(stack.width, stack.width)),
            lambda: along.at(self._tiles, self._block),
            lambda: across.at(self._tiles, self._block),
            self._scratch,
            keep=changes_later,
        )

    def _scale(self, matrix: int) -> float:
        return self.stack.scheme.inner if matrix < self.stack.matrices - 1 else 1.0

    def _weights(self, matrix: int) -> Callable[[], Tensor]:
        """What draws the weights of a layer for the networks and block at hand, (group, width, width)."""

        def weights() -> Tensor:
            return self._draw(self._matrices, self._block, matrix)[self._members]

        return weights

    def _kept_weights(self, matrix: int, block: int) -> Callable[[], Tensor]:
        """What returns the weights of a layer, (tile, width, width), which `run` draws."""
        out = torch.empty_like(self._matrices)
        self._kept.append((out, block, matrix))
        return lambda: out

    def _draw(self, out: Tensor, block: int, matrix: int) -> Tensor:
        place = (self._tiles[0], block, matrix)
        return self._source.fill_matrices(out, self.stack.init, self._scale(matrix), "weights", *place)

    def _normal(self, std: float, purpose: str, *shape: int) -> Tensor:
        """Normals outside the blocks, (networks, *shape)."""
        if self.plan.engine == "law":
            size = math.prod(shape)
            mine, self._outside = self._outside[:, :size], self._outside[:, size:]
            normals: Tensor = mine.reshape(-1, *shape) * std
            return normals
        return self._drawn(std, purpose, *shape)

    def _drawn(self, std: float, purpose: str, *shape: int) -> Tensor:
        whole = self._empty(len(self._tiles), self.plan.tile, *shape)
        for out, tile in zip(whole, self._tiles, strict=True):
            self._source.fill(out, std, purpose, tile)
        return whole[0][self._members] if len(whole) == 1 else whole.flatten(0, 1)

    def run(self, tiles: range, members: slice) -> Pass:
        """Propagate these networks forward and backward. members: of the one tile, where it is divided."""
        self._tiles, self._members = tiles, members
        # All of them first: between two blocks the generator's working memory would leave the cache.
        for kept in self._kept:
            self._draw(*kept)
        if self.plan.engine == "law":
            stack = self.stack
            # In one go: to seed a stream for each purpose would take longer than to draw so few numbers.
            self._outside = self._drawn(1.0, "outside the blocks", stack.batch * (LAW_OUTSIDE * stack.width + 1))
        observer = Observer(self.plan.networks, self.stack, self._scratch, self.rows, forward=self._wants_forward)
        h, checkpoints = self._forward(self._first_layer(), observer)
        g = self._cotangent(h, observer.trail.exponent)
        gradient = Trail(self.stack, self.plan.networks, self.rows, rescales=True)  # it is linear in the gradient
        self._backward(g, gradient, observer, checkpoints)
        return observer.result(gradient)

    def _forward(self, h: Tensor, observer: Observer) -> tuple[Tensor, list[Tensor]]:
        """Send h through all blocks; returns it, and copies of it at the start of each segment that will run again."""
        depth, segment = self.stack.depth, len(self._branches)
        again = segment < depth and not self.plan.packed
        checkpoints = []
        observer.see(h, 0)
        for block in range(depth):
            if again and block % segment == 0:
                checkpoints.append(h.clone())
            h = self._step(h, block, observer)
            observer.see(h, block + 1)
            self._advance()
        return h, checkpoints

    def _backward(self, g: Tensor, gradient: Trail, observer: Observer, checkpoints: list[Tensor]) -> None:
        """Take the gradient from the last block to the first, where segments were not kept after running them again."""
        depth, segment = self.stack.depth, len(self._branches)
        norm = gradient.see(g, 0, depth)
        for block in range(depth - 1, -1, -1):
            if checkpoints and (block + 1) % segment == 0 and block + 1 < depth:
                self._run_again(checkpoints[block // segment], block + 1 - segment, observer)
            g = self._step_back(g, block, norm)
            norm = gradient.see(g, depth - block, block)
            self._advance()

    def _run_again(self, h: Tensor, first: int, observer: Observer) -> None:
        """The segment that starts with block `first`, so that its layers know what the backward pass needs."""
        for block in range(first, first + len(self._branches)):
            h = self._step(h, block, None)
            observer.trail.rescale(h, block + 1)
            self._advance()

    def _first_layer(self) -> Tensor:
        stack = self.stack
        inputs = self._normal(1.0, "inputs", stack.batch, stack.width)
        if self.plan.engine == "law":
            std = math.sqrt(stack.init.variance(stack.width, stack.width))
            normals = self._normal(1.0, "first layer", stack.batch, stack.width)
            kind = LawOfProductOfOne if stack.batch == 1 else LawOfProduct
            product = kind(std, lambda: normals, lambda: normals, self._scratch, keep=False)
            return self._h.copy_(product.forward(inputs))
        self._source.fill_matrices(self._matrices, stack.init, 1.0, "first layer", self._tiles[0])
        return torch.bmm(inputs, self._matrices[self._members], out=self._h)

    def _step(self, h: Tensor, block: int, observer: Observer | None) -> Tensor:
        """Skip h + branch f(h), in the memory of h if there is a skip; a last product and the sum are one operation."""
        self._block, scheme = block, self.stack.scheme
        branch = self._branches[block % len(self._branches)]
        x = h
        for layer in branch[:-1]:
            x = layer.forward(x)
        last = branch[-1]
        if isinstance(last, PRODUCTS):
            norm = last.add_to(h, x, scheme.skip, scheme.branch)
            if observer is not None:
                observer.see_branch_input(x, block, norm)
            return h
        x = last.forward(x)
        if scheme.skip == 0.0:
            return x if scheme.branch == 1.0 else torch.mul(x, scheme.branch, out=self._h)
        return h.mul_(scheme.skip).add_(x, alpha=scheme.branch)

    def _step_back(self, g: Tensor, block: int, norm: Tensor | None) -> Tensor:
        """Skip g + branch (df/dh)^T g, which may reuse the memory of g. norm: of g, (networks,), where it is known."""
        self._block, scheme = block, self.stack.scheme
        branch = self._branches[block % len(self._branches)]
        last = branch[-1]
        if isinstance(last, PRODUCTS):
            through = last.backward(g, norm)
        else:
            through = last.backward(g if scheme.skip == 0.0 else self._scratch.beside(g).copy_(g))
        for layer in reversed(branch[:-1]):
            through = layer.backward(through)
        if scheme.skip == 0.0:
            return through if scheme.branch == 1.0 else through.mul_(scheme.branch)
        if scheme.skip != 1.0:
            g.mul_(scheme.skip)
        return g.add_(through, alpha=scheme.branch)

    def _cotangent(self, h: Tensor, exponent: NDArray[np.int64]) -> Tensor:
        """Gradient at the last block, up to a scale of each network, (networks, batch, width)."""
        stack = self.stack
        if stack.cotangent == "independent":
            return self._normal(1.0, "cotangent", stack.batch, stack.width)
        std = math.sqrt(stack.init.variance(stack.width, 1))
        readout = self._normal(std, "read-out", stack.width, 1)  # (networks, width, 1)
        if stack.cotangent == "sum":
            return readout.mT.repeat(1, stack.batch, 1)
        targets = self._normal(1.0, "targets", stack.batch, 1)
        # h is 2**-exponent times the true activations. The residual's own scale does not matter: the larger of output
        # and target keeps its size, and neither leaves float32.
        output = torch.bmm(h, readout) * _power_of_two(np.minimum(exponent, 0), h)
        residual = output - targets * _power_of_two(-np.maximum(exponent, 0), h)  # (networks, batch, 1)
        return residual @ readout.mT


def _power_of_two(exponent: NDArray[np.int64], like: Tensor) -> Tensor:
    """2**exponent of each network, (networks, 1, 1); exponents are not positive."""
    return torch.from_numpy(np.exp2(np.maximum(exponent, -1000).astype(np.float64))).to(like)[:, None, None]
