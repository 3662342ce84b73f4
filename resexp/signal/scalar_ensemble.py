"""Many networks with one scalar input: dy/dx of each over a grid, reduced to what its autocorrelation needs.

Tiles are spread over threads within a memory budget. They are always computed whole, so that the same command gives
the same bytes at any budget and any number of threads. Only one number a network and lag is kept.

Forward, with the statistics of the norm held fixed, the random read-out is averaged over analytically: given the last
layer, E[y'(x) y'(x')] is the inner product of the features' tangents. Backward there is one random read-out a network.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.lab import Lab
from resexp.core.scalar_net import ScalarNet
from resexp.signal.scalar_backward import WORKING_TENSORS, Gradients, segments, steps
from resexp.signal.scalar_weights import TILE
from resexp.signal.tangent import Tangents
from resexp.signal.threads import Work, nothing, over_threads

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Run = Callable[[int], tuple[Tensor, Integers]]
"""Gradients of the networks of a tile, (TILE, points, directions), and their exponents, (TILE,)."""

STATISTICS = 12 * 8  # bytes of a network and lag: numerators, denominators, and copies while they are judged
FORWARD_TENSORS = 5


@dataclass(frozen=True)
class Plan:
    """How an ensemble fits the memory budget.

    segment: layers whose signals are kept at a time for the backward pass; steps: layers a tile goes through;
    memory: bytes at the peak.
    """

    segment: int
    steps: int
    memory: int


def plan(lab: Lab, net: ScalarNet, points: int, draws: int, lags: int) -> Plan:
    """Choose the fastest way that fits lab.memory; raise UsageError with the estimate where none does."""
    statistics = draws * lags * STATISTICS
    memory = 0
    for segment in (net.depth, math.ceil(math.sqrt(net.depth))):
        memory = statistics + lab.threads * _memory(lab, net, points, lags, segment)
        if memory <= lab.memory:
            return Plan(segment, steps(net.depth, segment) if net.differentiated else net.depth, memory)
    raise lab.too_large(memory, f"width {net.width}, points {points}, draws {draws}")


def _memory(lab: Lab, net: ScalarNet, points: int, lags: int, segment: int) -> int:
    """Bytes of one thread."""
    item = 8 if lab.dtype == "float64" else 4
    signals = FORWARD_TENSORS
    if net.differentiated:
        signals = WORKING_TENSORS + segment + len(segments(net.depth, segment)) - 1
    drawing = TILE * net.width**2 * (2 * item + 12)
    products = 2 * points**2 * item + points * lags * 8
    return signals * TILE * points * net.width * item + drawing + products


def autocovariances(
    lab: Lab,
    net: ScalarNet,
    x: Floats,
    draws: int,
    lags: int,
    *,
    subtract_mean: bool = False,
    left_out: int | None = None,
) -> Floats:
    """Mean of y'(x_i) y'(x_{i + lag}) over the pairs of the grid x, (draws, lags): the first `lags` lags.

    subtract_mean: take each network's mean gradient over the grid off first;
    left_out: an input that counts in no pair, for the gradient does not exist there.
    The scale is a power of two common to all networks: the ratio of two entries is what counts.
    """
    planned = plan(lab, net, len(x), draws, lags)
    tiles = range(-(-draws // TILE))
    work, local = Work(lab, len(tiles) * planned.steps), threading.local()

    def run(tile: int) -> tuple[Floats, Integers]:
        with torch.inference_mode():
            if not hasattr(local, "worker"):
                gradients = gradients_of(lab, net, x, planned.segment, work.advance)
                local.worker = Worker(lab, gradients, len(x), lags, subtract_mean=subtract_mean, left_out=left_out)
            result: tuple[Floats, Integers] = local.worker.run(tile)
        return result

    by_lag, exponent = zip(*over_threads(run, tiles, lab.threads, work), strict=True)
    means, powers = np.concatenate(by_lag)[:draws], np.concatenate(exponent)[:draws]
    alive = means[:, 0] > 0
    top = int(powers[alive].max()) if alive.any() else 0
    return np.asarray(means * np.exp2(2.0 * np.minimum(powers - top, 0))[:, None])


class Worker:
    """Runs tiles and reduces their gradients by lag, in memory that is allocated once; one for each thread."""

    def __init__(
        self,
        lab: Lab,
        gradients: Run,
        points: int,
        lags: int,
        *,
        subtract_mean: bool = False,
        left_out: int | None = None,
    ) -> None:
        self._gradients, self._subtract_mean = gradients, subtract_mean
        self._left_out = slice(0, 0) if left_out is None else slice(left_out, left_out + 1)
        counted = np.ones(points)
        counted[self._left_out] = 0.0
        self._counted = int(counted.sum())
        # Products in the left half, zeros in the right one: then a diagonal is a column of a view with longer rows.
        rows = torch.zeros((points, 2 * points), dtype=lab.torch_dtype, device=lab.torch_device)
        self._products = rows[:, :points]
        self._diagonals = rows.as_strided((points, lags), (2 * points + 1, 1))  # [i, lag]: product of i and i + lag
        self._pairs = np.array([counted[: points - lag] @ counted[lag:] for lag in range(lags)])

    def run(self, tile: int) -> tuple[Floats, Integers]:
        """Means at each lag of these networks, (TILE, lags), over 2**(2 exponent) of each, (TILE,)."""
        gradients, exponent = self._gradients(tile)
        gradients[:, self._left_out] = 0.0
        if self._subtract_mean:
            gradients = gradients - gradients.sum(1, keepdim=True) / self._counted
            gradients[:, self._left_out] = 0.0
        sums = [self._by_lag(gradient) for gradient in gradients]
        return torch.stack(sums).cpu().double().numpy() / (self._pairs * gradients.shape[2]), exponent

    def _by_lag(self, gradient: Tensor) -> Tensor:
        """Sum over pairs at each lag, (lags,), of one network's gradient (points, directions)."""
        torch.mm(gradient, gradient.mT, out=self._products)
        return self._diagonals.sum(0, dtype=torch.float64 if gradient.device.type != "mps" else None)


def gradients_of(lab: Lab, net: ScalarNet, x: Floats, segment: int, advance: Callable[[], None] = nothing) -> Run:
    """The way dy/dx of this net is taken, in memory allocated here. segment: see Plan; advance: told of each layer."""
    if net.differentiated:
        return Gradients(lab, net, x, segment, advance).run
    return Tangents(lab, net, x, advance).run


def one_gradient(lab: Lab, net: ScalarNet, x: Floats, left_out: int | None = None) -> Floats:
    """dy/dx of the first network with a random read-out over the grid x, (points,), over its root mean square.

    left_out: an input at which it is given as nan, for it does not exist there.
    """
    torch.set_num_threads(1)
    segment = plan(lab, net, len(x), TILE, lags=1).segment
    with torch.inference_mode():
        if net.differentiated:
            gradients = Gradients(lab, net, x, segment).run(0)[0].squeeze(2)
        else:
            gradients = Tangents(lab, net, x).gradient(0)
        gradient = gradients[0].cpu().double().numpy()
    if left_out is not None:
        gradient[left_out] = np.nan
    size = float(np.sqrt(np.nanmean(np.square(gradient))))
    return np.asarray(gradient / size if size > 0 else gradient)


def estimate_seconds(lab: Lab, net: ScalarNet, x: Floats, draws: int, lags: int) -> float:
    """Seconds of so many networks, from tiles of one layer and of at most five, run three times each here."""
    torch.set_num_threads(1)
    planned = plan(lab, net, len(x), draws, lags)
    layers = min(net.depth, 5)
    least, tile = (_seconds_of_a_tile(lab, replace(net, depth=depth), x, lags) for depth in (1, layers))
    each = max(tile - least, 0.0) / max(layers - 1, 1)
    again = planned.steps / (2 * net.depth) if net.differentiated else 1.0
    tiles = -(-draws // TILE)
    return (least + again * each * (net.depth - 1)) * tiles / min(lab.threads, tiles)


def _seconds_of_a_tile(lab: Lab, net: ScalarNet, x: Floats, lags: int) -> float:
    elapsed = []
    with torch.inference_mode():
        worker = Worker(lab, gradients_of(lab, net, x, net.depth), len(x), lags)
        for tile in range(3):
            start = time.perf_counter()
            worker.run(tile)
            elapsed.append(time.perf_counter() - start)
    return min(elapsed)
