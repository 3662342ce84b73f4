"""Gradients through chosen paths of a net of residual blocks: branch in some blocks, shortcut in the others.

A gradient at the end of a block first passes what follows the sum (the last ReLU of version 1), then either the branch
or the shortcut, never both, then what both share. A shortcut that changes the shape, by zeros or a projection, is the
skip of its block, as in Veit et al. 2016. Weights, statistics and masks are those of one forward pass of the whole net.
"""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.nets.residual import Residual, ResidualNet
from resexp.probing.inputs import Examples
from resexp.probing.needs import estimate
from resexp.probing.output import choose, random_labels
from resexp.probing.state import seeded, threads

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class NetPaths:
    """Gradients at the input of the first block over that at the output of the last.

    log_norm: (draws, K + 1, paths) natural logarithm of the norm through one sampled path of each length;
    energy: (draws, K + 1) squared norm of the sum over all paths of each length;
    ratios: (draws, K) norm of the whole gradient through the branch of each block over that through its shortcut.
    """

    log_norm: Numbers
    energy: Numbers
    ratios: Numbers


def chain_of(net: nn.Module, name: str) -> ResidualNet:
    """The net, if it is a chain of residual blocks with skips. Raises UsageError where it is not."""
    if not isinstance(net, ResidualNet):
        raise UsageError(
            f"--net {name}: is no chain of residual blocks with one branch each, such as cifar-resnet:56, resnet:18, "
            "wrn:16-4 or mlp:21x64,scheme=residual."
        )
    blocks = [block for block in net.blocks if isinstance(block, Residual)]
    if not blocks:
        raise UsageError(f"--net {name}: has no residual block.")
    if any(block.skip == 0.0 for block in blocks):
        raise UsageError(f"--net {name}: has no skip connections, so that every path takes every branch.")
    return net


def path_gradients(
    lab: Lab,
    name: str,
    make: Callable[[], nn.Module],
    examples: Examples,
    *,
    draws: int,
    paths: int,
    training: bool,
) -> NetPaths:
    """Gradients through `paths` random paths of each length, and the sums over all, of nets that `make` gives."""
    one_at_a_time, done = threading.Lock(), count(1)

    def run(draw: int) -> tuple[Numbers, Numbers, Numbers]:
        generator = torch.Generator().manual_seed(lab.key("inputs", draw) % 2**63)
        with one_at_a_time:  # torch has one state of random numbers for all threads
            with seeded(lab.key("weights", draw)):
                net = chain_of(make(), name).to(lab.torch_device, lab.torch_dtype).train(training)
            with seeded(lab.key("forward", draw)):
                crossings, last = cross(net, examples.make(net, generator).positional[0], generator)
        found = through_paths(crossings, last, np.random.Generator(lab.bit_stream("paths", draw)), paths)
        lab.progress(next(done), draws)
        return found

    with threads(1), ThreadPoolExecutor(min(lab.threads, draws)) as pool:
        try:
            log_norm, energy, ratios = zip(*pool.map(run, range(draws)), strict=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return NetPaths(np.stack(log_norm), np.stack(energy), np.stack(ratios))


def through_paths(
    crossings: "list[Crossing]", last: Tensor, random: np.random.Generator, paths: int
) -> tuple[Numbers, Numbers, Numbers]:
    """Of one net and one batch: log norms (K + 1, paths), energies (K + 1), ratios (K). The crossings are used up."""
    blocks = len(crossings)
    taken = random.random((blocks + 1, paths, blocks)).argsort(-1).argsort(-1) < np.arange(blocks + 1)[:, None, None]
    sampled = {(length, path): last for length in range(blocks + 1) for path in range(paths)}
    sums, ratios = [last], np.empty(blocks)
    for k in range(blocks - 1, -1, -1):
        crossing = crossings.pop()
        for (length, path), g in sampled.items():
            through = crossing.branch if taken[length, path, k] else crossing.skip
            sampled[length, path] = through(g)
        by_skip, by_branch = [crossing.skip(g) for g in sums], [crossing.branch(g) for g in sums]
        ratios[k] = _norm(_total(by_branch)) / _norm(_total(by_skip))
        sums = [
            by_skip[0],
            *(skip + branch for skip, branch in zip(by_skip[1:], by_branch, strict=False)),
            by_branch[-1],
        ]
    norms = np.array([[_norm(sampled[length, path]) for path in range(paths)] for length in range(blocks + 1)])
    with np.errstate(divide="ignore"):
        log_norm = np.log(norms) - math.log(_norm(last))
    return log_norm, np.array([_norm(g) for g in sums]) ** 2, ratios


class Crossing:
    """One block with its graph, which a gradient at its output crosses by either way."""

    def __init__(self, block: Residual, h: Tensor) -> None:
        self._input = h.detach().requires_grad_()
        shared = block.before(self._input)
        self._skip = block.shortcut(shared) * block.skip
        self._branch = block.branch(shared) * block.alpha
        self._sum = self._skip + self._branch
        self.output: Tensor = block.after(self._sum)

    def skip(self, g: Tensor) -> Tensor:
        """The gradient at the block's input through the shortcut alone."""
        return self._back(self._skip, g)

    def branch(self, g: Tensor) -> Tensor:
        """The gradient at the block's input through the branch alone."""
        return self._back(self._branch, g)

    def _back(self, way: Tensor, g: Tensor) -> Tensor:
        if self.output is not self._sum:
            (g,) = torch.autograd.grad(self.output, self._sum, g, retain_graph=True)
        (back,) = torch.autograd.grad(way, self._input, g, retain_graph=True)
        return back


def cross(net: ResidualNet, inputs: Tensor, generator: torch.Generator) -> tuple[list[Crossing], Tensor]:
    """The blocks with their graphs, and the gradient at the output of the last one."""
    crossings: list[Crossing] = []
    with torch.enable_grad():
        try:
            h = net.stem(inputs)
            for block in net.blocks:
                assert isinstance(block, Residual)
                crossings.append(Crossing(block, h))
                h = crossings[-1].output
            end = h.detach().requires_grad_()
            loss, _ = random_labels(choose(net.head(end)).tensor, generator)
        except (RuntimeError, ValueError) as error:
            if "out of memory" in str(error) or "allocate memory" in str(error):
                raise
            shape = "x".join(map(str, inputs.shape[1:]))
            told = str(error).partition("\n")[0]
            raise UsageError(f"--input: the net refuses {len(inputs)} examples of {shape}: {told}") from None
        (last,) = torch.autograd.grad(loss, end)
    if _norm(last) == 0.0:
        raise UsageError(
            "The gradient at the last block is zero: the weights of the net's head are, as Fixup's at first."
        )
    return crossings, last


def _total(gradients: list[Tensor]) -> Tensor:
    return torch.stack(gradients).sum(0)


def _norm(g: Tensor) -> float:
    return float(torch.linalg.vector_norm(g, dtype=torch.float64))


def memory(
    make: Callable[[], nn.Module], name: str, examples: Examples, *, paths: int, number: int, training: bool
) -> int | None:
    """Bytes of one net, its graph, and all gradients at hand; None for a net that does not run without numbers.

    number: bytes of one number. Raises UsageError for a net that is no chain of blocks.
    """
    with seeded(0), torch.device("meta"):
        net = chain_of(make().train(training), name)
    of_pass = estimate(make, examples, training=training, number=number)
    if of_pass is None:
        return None
    h = net.stem(examples.make(net, torch.Generator()).positional[0])
    largest = int(h.numel())
    for block in net.blocks:
        h = block(h)
        largest = max(largest, int(h.numel()))
    return of_pass + (len(net.blocks) + 1) * (paths + 4) * largest * number
