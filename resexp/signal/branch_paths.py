"""Gradients through chosen paths of a residual stack: the branch in some blocks, the skip in the others.

    g[k] = a g[k+1] + b J_k' g[k+1],     J_k' = (1/sigma)(I - 11'/B - zz'/B) (1(z > 0) * W[k]' . )      with BN, else
                                         J_k' = 1(h[k] > 0) * W[k]' .

The network is run forward once. Going back, a sampled path takes J_k' in the blocks it was given and nothing but the
factor a in the others (Veit et al. 2016). Beside the samples, the sums over all paths of each length l go back exactly:
S_l <- a S_l + b J_k' S_(l-1), so that their total is the gradient itself.

Sampled paths carry their powers of two apart; sums are kept in range by the growth of the whole gradient.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.lab import Lab, no_progress
from resexp.signal.forward import bring_back
from resexp.signal.stack import Stack
from resexp.signal.threads import Work, over_threads
from resexp.signal.weights import NormalSource

EPS = 1e-5
RESCALE = 16  # blocks between two looks at how large the gradients of sampled paths are
TENSORS = 4  # of all gradients at hand: themselves, through the branch, and what an operation makes

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PathGradients:
    """Gradients at the first block over that at the last.

    log_norm: (draws, K + 1, paths) natural logarithm of the norm through one sampled path of each length;
    energy: (draws, K + 1) squared norm of the sum over all paths of each length, up to a factor for each network.
    """

    log_norm: Numbers
    energy: Numbers


@dataclass(frozen=True)
class _Saved:
    """What the backward pass of a block needs. on: (networks, batch, width); z, inverse: of batch normalisation."""

    on: Tensor
    z: Tensor | None = None
    inverse: Tensor | None = None  # (networks, 1, width)


def path_gradients(lab: Lab, stack: Stack, draws: int, paths: int) -> PathGradients:
    """Gradients through `paths` random paths of each length in each of `draws` networks, and through all of them."""
    tiles = range(-(-draws // stack.tile))
    work = Work(lab, 2 * len(tiles) * stack.depth)

    def run(tile: int) -> PathGradients:
        with torch.inference_mode():
            return _Tile(lab, stack, tile, work.advance).run(paths)

    parts = over_threads(run, tiles, lab.threads, work)
    return PathGradients(
        np.concatenate([part.log_norm for part in parts])[:draws],
        np.concatenate([part.energy for part in parts])[:draws],
    )


class _Tile:
    """The networks of one tile."""

    def __init__(self, lab: Lab, stack: Stack, tile: int, advance: Callable[[], None]) -> None:
        self._lab, self._stack, self._tile, self._advance = lab, stack, tile, advance
        self._source = NormalSource(lab)
        shape = (stack.tile, stack.width, stack.width)
        self._weights = torch.empty(shape, dtype=lab.torch_dtype, device=lab.torch_device)

    def run(self, paths: int) -> PathGradients:
        stack = self._stack
        saved = self._forward()
        shape = (stack.tile, stack.batch, stack.width)
        last = self._source.draw(shape, 1.0, "direction", self._tile)
        taken = self._sampled(paths)  # (networks, lengths * paths, blocks)
        rows = taken.shape[1]
        g = torch.zeros((stack.tile, rows + stack.depth + 1, *shape[1:]), dtype=last.dtype, device=last.device)
        g[:, : rows + 1] = last[:, None]  # the sum over paths of length 0 is the last gradient itself
        exponent = np.zeros((stack.tile, rows))
        skip, branch = self._scales()
        for k in range(stack.depth - 1, -1, -1):
            through = self._through_branch(g, saved[k], k)
            chosen = taken[:, :, k]
            g[:, :rows][chosen] = through[:, :rows][chosen]
            g[:, rows:].mul_(skip)
            g[:, rows + 1 :].add_(through[:, rows:-1], alpha=branch)
            if k % RESCALE == 0:
                exponent += _rescale(g[:, :rows])
            self._advance()
        norm, energy = _norm(g[:, :rows]), _norm(g[:, rows:]) ** 2
        with np.errstate(divide="ignore"):
            log = np.log(norm) + math.log(2) * exponent - np.log(_norm(last[:, None]))
        lengths = np.arange(stack.depth + 1)[:, None]
        factors = lengths * math.log(stack.scheme.branch) + (stack.depth - lengths) * math.log(stack.scheme.skip)
        return PathGradients(log.reshape(stack.tile, stack.depth + 1, paths) + factors, energy)

    def _scales(self) -> tuple[float, float]:
        """Skip and branch for the sums; without normalisation over the growth of the gradient's norm."""
        scheme = self._stack.scheme
        if scheme.batchnorm:
            return scheme.skip, scheme.branch
        size = math.sqrt(scheme.skip**2 + scheme.branch**2 * self._stack.init.gain() / 2)
        return scheme.skip / size, scheme.branch / size

    def _sampled(self, paths: int) -> Tensor:
        """Which blocks each path takes the branch of: a random set of l of them for each length l."""
        stack = self._stack
        random = np.random.Generator(self._lab.bit_stream("paths", self._tile))
        order = random.random((stack.tile, stack.depth + 1, paths, stack.depth)).argsort(-1).argsort(-1)
        taken = order < np.arange(stack.depth + 1)[:, None, None]
        return torch.from_numpy(taken.reshape(stack.tile, -1, stack.depth)).to(self._lab.torch_device)

    def _matrices(self, block: int) -> Tensor:
        """Weights of a block, (networks, inputs, outputs); drawn again on the way back."""
        return self._source.fill_matrices(self._weights, self._stack.init, 1.0, "weights", self._tile, block)

    def _forward(self) -> list[_Saved]:
        stack, found = self._stack, list[_Saved]()
        x = self._source.draw((stack.tile, stack.batch, stack.width), 1.0, "inputs", self._tile)
        h = x @ self._source.fill_matrices(self._weights, stack.init, 1.0, "first layer", self._tile)
        for k in range(stack.depth):
            z = h
            if stack.scheme.batchnorm:
                centred = h - h.mean(1, keepdim=True)
                inverse = (centred.square().mean(1, keepdim=True) + EPS).rsqrt()
                z = centred * inverse
                found.append(_Saved(z > 0, z, inverse))
            else:
                found.append(_Saved(z > 0))
            h = stack.scheme.skip * h + stack.scheme.branch * (z.clamp_min(0) @ self._matrices(k))
            if stack.is_homogeneous:
                bring_back(h)
            self._advance()
        return found

    def _through_branch(self, g: Tensor, saved: _Saved, block: int) -> Tensor:
        """J' g, g: (networks, gradients, batch, width)."""
        u = (g.flatten(1, 2) @ self._matrices(block).transpose(1, 2)).view(g.shape)
        u.mul_(saved.on[:, None])
        if saved.z is None or saved.inverse is None:
            return u
        z = saved.z[:, None]
        along = (u * z).mean(2, keepdim=True)
        return u.sub_(u.mean(2, keepdim=True)).sub_(z * along).mul_(saved.inverse[:, None])


def _norm(g: Tensor) -> Numbers:
    """Norms of gradients (networks, gradients, batch, width), (networks, gradients)."""
    return np.asarray(torch.linalg.vector_norm(g, dim=(2, 3), dtype=torch.float64).cpu().numpy())


def _rescale(g: Tensor) -> Numbers:
    """Divide each gradient in place by a power of two that brings its norm near one; return the exponents."""
    norm = _norm(g)
    usable = np.isfinite(norm) & (norm > 0)
    shift = np.where(usable, np.round(np.log2(np.where(usable, norm, 1.0))), 0.0)
    g.mul_(torch.from_numpy(np.exp2(-shift)).to(g)[:, :, None, None])
    return shift


def memory(lab: Lab, stack: Stack, paths: int) -> int:
    """Bytes of a tile on each thread; raises UsageError where lab.memory does not hold them."""
    item = 8 if lab.dtype == "float64" else 4
    gradients = (stack.depth + 1) * (paths + 1)
    signal = stack.tile * stack.batch * stack.width
    kept = stack.depth * signal * (1 + (item if stack.scheme.batchnorm else 0))
    choices = stack.tile * gradients * stack.depth * 3 * 8
    weights = stack.tile * stack.width**2 * (2 * item + 12)
    needed = lab.threads * (TENSORS * gradients * signal * item + kept + choices + weights)
    return lab.afford(needed, f"blocks {stack.depth}, width {stack.width}, batch {stack.batch}, paths {paths}")


def seconds(lab: Lab, stack: Stack, draws: int, paths: int) -> float:
    """Seconds of `draws` networks, from one tile of them with at most eight blocks, run here."""
    short = replace(stack, depth=min(stack.depth, 8))
    quiet = replace(lab, progress=no_progress, threads=1)
    path_gradients(quiet, short, stack.tile, paths)
    start = time.perf_counter()
    path_gradients(quiet, short, stack.tile, paths)
    larger = stack.depth * (stack.depth + 1) / (short.depth * (short.depth + 1))
    return (time.perf_counter() - start) * larger * -(-draws // stack.tile) / lab.threads
