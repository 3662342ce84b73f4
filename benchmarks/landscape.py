"""A loss surface of a trained-size net on the digits against the bare forward passes of its points: processor seconds.

The bare passes are those of one net in torch's own layout, in evaluation mode and without gradients, on the same
examples, as many as the grid has points; the surface moves the weights to each point and takes the loss there. Both run
alternately for some of the grid's rows, and the best of several rounds counts.
"""

import argparse
import time
from collections.abc import Callable

import torch

from resexp.nets import zoo
from resexp.training.data.load import load
from resexp.training.landscape import Plane, filter_normalised, one_thread, row_points
from resexp.training.objective import classification

WANTED = 2.0
"""Most that a surface may take, in bare forward passes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=51)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(f"{asked.points} x {asked.points} points, torch {torch.__version__}, one thread; seconds of a core")
    print(f"{'net':<18}{'examples':>9}{'mode':>7}{'forward':>9}{'surface':>9}{'ratio':>7}{'wanted':>8}")
    with one_thread():
        for family in ("plain:32", "cifar-resnet:32", "cifar-resnet:56"):
            for examples in (128, 1437):
                for mode in ("eval", "train"):
                    forward, surface = measure(family, examples, mode, asked.points, asked.rows, asked.rounds)
                    print(
                        f"{family:<18}{examples:>9}{mode:>7}{forward:>9.1f}{surface:>9.1f}{surface / forward:>7.2f}"
                        f"{WANTED:>8}",
                        flush=True,
                    )


def measure(family: str, examples: int, mode: str, points: int, rows: int, rounds: int) -> tuple[float, float]:
    """Seconds of the forward passes of all points, and of the surface, from some rows of the grid."""
    data = load("digits").limited(examples).train
    net = zoo.factory(f"{family},width=8,channels=1")().train(mode == "train")
    generator = torch.Generator().manual_seed(0)
    plane = Plane(net, (filter_normalised(net, generator), filter_normalised(net, generator)), data)
    x = torch.linspace(-1, 1, points).tolist()

    @torch.no_grad()
    def bare() -> None:
        for _ in range(rows * points):
            net(data.inputs)

    def surface() -> None:
        for y in x[:rows]:
            plane.losses(row_points(x, y), classification(), batch_statistics=mode == "train")

    best = [float("inf")] * 2
    for _ in range(rounds):
        best = [min(known, seconds(job)) for known, job in zip(best, (bare, surface), strict=True)]
    return best[0] * points / rows, best[1] * points / rows


def seconds(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


if __name__ == "__main__":
    main()
