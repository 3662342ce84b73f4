"""Speed of dy/dx of scalar networks over a grid, against autograd and the machine's limit: part of `make bench`.

All ways run in one process on one thread, interleaved; medians. Each draws its own weights. The limit is the time of
what nobody can avoid: the random weights at the rate of the engine's own generator, and the products that take
activations and tangents through them.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from resexp.core.lab import Lab
from resexp.core.scalar_net import net_of
from resexp.signal.scalar_ensemble import Worker, gradients_of
from resexp.signal.scalar_weights import TILE
from resexp.signal.weights import NormalSource


def he_net(depth: int, width: int) -> nn.Module:
    """y of x, `depth` hidden layers, He initialisation, no biases."""
    layers: list[nn.Module] = []
    for fan_in in (1, *[width] * (depth - 1)):
        layers += [nn.Linear(fan_in, width, bias=False), nn.ReLU()]
        nn.init.normal_(layers[-2].weight, std=math.sqrt(2 / fan_in))
    return nn.Sequential(*layers, nn.Linear(width, 1, bias=False))


def point_by_point(depth: int, width: int, x: Tensor) -> list[Tensor]:
    """dy/dx at each input, one forward and one backward pass for each, as a notebook writes it."""
    net, gradients = he_net(depth, width), []
    for point in x:
        one = point.reshape(1, 1).requires_grad_()
        gradients.append(torch.autograd.grad(net(one), one)[0])
    return gradients


def batched(depth: int, width: int, x: Tensor) -> Tensor:
    """dy/dx at each input from one backward pass: without a norm an output depends on its own input alone."""
    net, grid = he_net(depth, width), x[:, None].clone().requires_grad_()
    return torch.autograd.grad(net(grid).sum(), grid)[0]


def ways(depth: int, width: int, points: int) -> dict[str, tuple[Callable[[], object], int]]:
    """Each way to measure: what to time, and how many networks it measures."""
    lab = Lab("autocorrelation")
    x = np.linspace(-2, 2, points)
    grid = torch.from_numpy(x).float()
    worker = Worker(lab, gradients_of(lab, net_of("he", depth=depth, width=width), x, depth), points, points // 2 + 1)
    source = NormalSource(lab)
    matrices = torch.empty(TILE, width, width)
    signal, product = torch.randn(2, TILE, 2 * points, width)
    tiles = iter(range(10**9))

    def engine() -> None:
        with torch.inference_mode():
            worker.run(next(tiles))

    def limit() -> None:
        with torch.inference_mode():
            for block in range(1, depth):
                source.fill(matrices, 0.1, "limit", block)
                torch.bmm(signal, matrices, out=product)

    return {
        "autograd, point by point": (lambda: point_by_point(depth, width, grid), 1),
        "autograd, one batch": (lambda: batched(depth, width, grid), 1),
        "resexp": (engine, TILE),
        "limit": (limit, TILE),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--depth", type=int, nargs="+", default=[24, 50])
    arguments.add_argument("--width", type=int, default=200)
    arguments.add_argument("--points", type=int, default=128)
    arguments.add_argument("--rounds", type=int, default=15)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    print(f"dy/dx at {asked.points} inputs, width {asked.width}, one thread, float32, {asked.rounds} rounds")
    for depth in asked.depth:
        times: dict[str, list[float]] = {}
        timed = ways(depth, asked.width, asked.points)
        for round_ in range(asked.rounds + 2):
            for name, (run, networks) in timed.items():
                start = time.perf_counter()
                run()
                if round_ >= 2:
                    times.setdefault(name, []).append((time.perf_counter() - start) / networks)
        medians = {name: statistics.median(t) for name, t in times.items()}
        ours = medians["resexp"]
        print(f"\ndepth {depth}:{'':22} ms a network   over resexp")
        for name, median in medians.items():
            print(f"  {name:28} {median * 1e3:14.2f} {median / ours:13.2f}")
        print(f"  time over the limit: {ours / medians['limit']:.2f}")


if __name__ == "__main__":
    main()
