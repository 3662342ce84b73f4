"""Speed of the explicit engine against two plainly written baselines and the machine's limit: `make bench`.

All ways run in one process on one thread, interleaved; medians. The limit is the time of what nobody can avoid: the
random weights at the rate of the engine's own generator, and the matrix products at the rate torch reaches on them.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from modules import modules
from textbook import textbook

from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab
from resexp.core.schemes import scheme
from resexp.signal.propagator import Propagator
from resexp.signal.stack import Stack
from resexp.signal.weights import NormalSource


def ways(depth: int, width: int, batch: int) -> dict[str, tuple[Callable[[], object], int]]:
    """Each way to measure: what to time, and how many networks it measures."""
    lab = Lab("variance")
    chosen = scheme("residual", depth)
    stack = Stack(depth, width, batch, chosen, "relu-linear", Initialisation("he"), "relu", "loss")
    rng = np.random.RandomState(0)
    with torch.inference_mode():
        propagator = Propagator(lab, stack, stack.tile, keep_weights=True)
        source = NormalSource(lab)
        matrices = torch.randn(depth, stack.tile, width, width)  # backward needs them all again
        signal, product = torch.randn(2, stack.tile, batch, width)
    tiles = iter(range(10**9))

    def engine() -> None:
        with torch.inference_mode():
            propagator.run(next(tiles), slice(0, stack.tile))

    def limit() -> None:
        with torch.inference_mode():
            for block in range(depth):
                source.fill(matrices[block], 0.1, "limit", block)
                torch.bmm(signal, matrices[block], out=product)
            for block in reversed(range(depth)):
                torch.bmm(signal, matrices[block].mT, out=product)

    return {
        "textbook, numpy float64": (lambda: textbook(rng, depth, width, batch), 1),
        "nn.Module with hooks": (lambda: modules(depth, width, batch), 1),
        "resexp, explicit": (engine, stack.tile),
        "limit": (limit, stack.tile),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--depth", type=int, default=50)
    arguments.add_argument("--width", type=int, default=100)
    arguments.add_argument("--rounds", type=int, default=30)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    print(f"depth {asked.depth}, width {asked.width}, one thread, float32 (textbook float64), {asked.rounds} rounds")
    for batch in (1, 100):
        times: dict[str, list[float]] = {}
        timed = ways(asked.depth, asked.width, batch)
        for round_ in range(asked.rounds + 3):
            for name, (run, networks) in timed.items():
                start = time.perf_counter()
                run()
                if round_ >= 3:
                    times.setdefault(name, []).append((time.perf_counter() - start) / networks)
        medians = {name: statistics.median(t) for name, t in times.items()}
        ours = medians["resexp, explicit"]
        print(f"\nbatch {batch}:{'':20} µs a network and block   over resexp")
        for name, median in medians.items():
            print(f"  {name:28} {median / asked.depth * 1e6:18.1f} {median / ours:17.2f}")
        print(f"  time over the limit: {ours / medians['limit']:.2f}")


if __name__ == "__main__":
    main()
