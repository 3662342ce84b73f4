"""Speed of the engines against two plainly written baselines and the machine's limit: `make bench`.

All ways run in one process on one thread, interleaved; medians. The limit is the time of what nobody can avoid: the
random weights at the rate of the engine's own generator, and the matrix products at the rate torch reaches on them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", OMP_NUM_THREADS="1")  # read when numpy is imported

import numpy as np
import torch
from modules import modules, normed_modules
from textbook import textbook

from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab
from resexp.core.network import Engine
from resexp.core.schemes import Scheme, scheme
from resexp.signal.plan import plan
from resexp.signal.propagator import Propagator
from resexp.signal.stack import Stack
from resexp.signal.weights import NormalSource

Ways = dict[str, tuple[Callable[[], object], int]]
"""Each way to measure: what to time, and how many networks it measures."""


def residual(depth: int, width: int, batch: int) -> Stack:
    return Stack(depth, width, batch, scheme("residual", depth), "relu-linear", Initialisation("he"), "relu", "loss")


def engine(
    stack: Stack, chosen: Engine, rows: Sequence[int] | None = None, draws: int = 256, *, forward: bool = True
) -> tuple[Callable[[], object], int]:
    """One group of networks after another, and how many there are in a group."""
    lab, rows = Lab("variance"), range(stack.depth + 1) if rows is None else rows
    planned = plan(lab, stack, draws, len(rows), chosen)
    with torch.inference_mode():
        propagator = Propagator(lab, stack, planned, rows, forward=forward)
    groups = iter(range(10**9))

    def run() -> None:
        with torch.inference_mode():
            first = next(groups) * planned.tiles
            propagator.run(range(first, first + planned.tiles), slice(0, planned.group))

    return run, planned.networks


def limit(depth: int, width: int, batch: int, *, products: bool = True) -> tuple[Callable[[], object], int]:
    """Random weights once and both products of each block; without products, the weights of both passes alone."""
    lab, tile = Lab("variance"), 8
    with torch.inference_mode():
        source = NormalSource(lab)
        matrices = torch.randn(depth if products else 1, tile, width, width)  # backward needs them all again
        signal, product = torch.randn(2, tile, batch, width)

    def run() -> None:
        with torch.inference_mode():
            for block in range(depth):
                source.fill(matrices[block if products else 0], 0.1, "limit", block)
                if products:
                    torch.bmm(signal, matrices[block], out=product)
            for block in reversed(range(depth)):
                if products:
                    torch.bmm(signal, matrices[block].mT, out=product)
                else:
                    source.fill(matrices[0], 0.1, "limit", block)

    return run, tile


def shallow(depth: int, width: int, batch: int) -> Ways:
    rng = np.random.RandomState(0)
    ways: Ways = {
        "textbook, numpy float64": (lambda: textbook(rng, depth, width, batch), 1),
        "nn.Module with hooks": (lambda: modules(depth, width, batch), 1),
        "explicit": engine(residual(depth, width, batch), "explicit"),
        "limit of explicit": limit(depth, width, batch),
    }
    if 2 * batch <= width:
        ways["law"] = engine(residual(depth, width, batch), "law")
    return ways


def normed(depth: int, width: int, batch: int) -> Ways:
    stack = Stack(depth, width, batch, Scheme(0.0, 1.0), "linear-relu-bn", Initialisation("he"), "relu", "independent")
    return {
        "nn.Module with autograd": (lambda: normed_modules(depth, width, batch), 1),
        "explicit": engine(stack, "explicit", forward=False),
    }


def compare(title: str, ways: Ways, rounds: int, depth: int, ours: str, over: Sequence[str]) -> None:
    """Time the ways in turn; print medians a network and block, and how they compare with ours."""
    times: dict[str, list[float]] = {}
    for round_ in range(rounds + 2):
        for name, (run, networks) in ways.items():
            start = time.perf_counter()
            run()
            if round_ >= 2:
                times.setdefault(name, []).append((time.perf_counter() - start) / networks)
    medians = {name: statistics.median(t) for name, t in times.items()}
    print(f"\n{title:43} µs a network and block   over {ours}")
    for name, median in medians.items():
        print(f"  {name:42} {median / depth * 1e6:18.2f} {median / medians[ours]:17.2f}")
    for name in over:
        print(f"  {ours} over {name}: {medians[ours] / medians[name]:.2f}")


def memory_above_import(arguments: str) -> float:
    """Megabytes that a command takes at its peak beyond what importing torch takes."""
    peaks = []
    for code in ("import torch, resexp_cli.main", f"from resexp_cli.main import main; main({arguments.split()!r})"):
        before = f"{code}"
        done = subprocess.run(
            [sys.executable, "-c", f"import torch\ntry:\n    {before}\nexcept SystemExit: pass\n"
             "import sys; print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0], file=sys.stderr)"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(done.stderr.split()[-1]) / 1000)
    return peaks[1] - peaks[0]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--depth", type=int, default=50)
    arguments.add_argument("--width", type=int, default=100)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--deep", type=int, default=100_000)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    print(f"width {asked.width}, one thread, float32 (textbook float64), medians of {asked.rounds} rounds")
    for batch in (1, 100):
        over = ["limit of explicit"]
        ways = shallow(asked.depth, asked.width, batch)
        compare(f"depth {asked.depth}, batch {batch}", ways, asked.rounds, asked.depth, "explicit", over)
    compare("batchnorm, depth 24, batch 64", normed(24, asked.width, 64), asked.rounds, 24, "explicit", ())
    depth = asked.deep // 100
    rows = range(0, depth + 1, depth // 10)
    deep: Ways = {
        "explicit, weights drawn twice": engine(residual(asked.deep // 100, asked.width, 1), "explicit", rows),
        "its random numbers alone": limit(depth, asked.width, 1, products=False),
    }
    compare(f"depth {depth}, batch 1", deep, 3, depth, "explicit, weights drawn twice", ["its random numbers alone"])
    command = f"variance --depth {asked.deep} --batch 1 --draws 2 --no-save -q --format csv --engine"
    for name in ("law", "explicit"):
        memory = memory_above_import(f"{command} {name}")
        print(f"  memory above the import at depth {asked.deep}, {name}: {memory:.0f} MB")


if __name__ == "__main__":
    main()
