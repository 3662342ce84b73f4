"""Training of several seeds against a plain PyTorch loop as people write it: seconds of one core, and ratios.

The plain loop trains one seed after another: a Dataset that gives one normalised image at a time, a DataLoader, the net
in torch's own layout, torch.optim.SGD, the loss read off after every step. Ours trains the seeds side by side
(resexp/training). Both run one epoch of residual-20 with widths 8, 16 and 32 with an evaluation on the test part,
alternately, and the best of several rounds counts; seconds are of the processor, so that other work on the machine
matters less. `DataLoader` is the plain loop's loading alone.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from resexp.core.lab import Lab
from resexp.nets import zoo
from resexp.training.data.dataset import Data, Examples
from resexp.training.data.load import load
from resexp.training.fit import fit
from resexp.training.initial import initialised
from resexp.training.plan import Plan

WANTED = {128: 1.7, 32: 2.5}
"""Least ratio a seed at 8 seeds, by batch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side-by-side", type=int, default=0, help="most nets that train as one [default: the plan's]")
    parser.add_argument("--quick", action="store_true", help="digits alone")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sets = [load("digits")] if asked.quick else [load("digits"), cifar_shaped()]
    print(f"residual-20, widths 8/16/32, {asked.seeds} seeds, torch {torch.__version__}, one thread")
    print("seconds of a core, a seed and epoch")
    print(f"{'data':<12}{'batch':>6}{'plain loop':>12}{'DataLoader':>12}{'side by side':>14}{'ratio':>8}{'wanted':>8}")
    for data in sets:
        for batch, wanted in WANTED.items():
            plain, loading, ours = measure(data, batch, asked.seeds, asked.rounds, asked.side_by_side)
            print(
                f"{data.name:<12}{batch:>6}{plain:>12.3f}{loading:>12.3f}{ours:>14.3f}{plain / ours:>8.2f}{wanted:>8}",
                flush=True,
            )


def cifar_shaped(examples: int = 1024) -> Data:
    """Noise in the shape of CIFAR-10: what is timed does not depend on the pixels."""
    generator = torch.Generator().manual_seed(0)
    parts = [
        Examples(torch.randn(count, 3, 32, 32, generator=generator), torch.randint(10, (count,), generator=generator))
        for count in (examples, examples // 4)
    ]
    return Data("CIFAR shape", parts[0], parts[1], classes=10)


def measure(data: Data, batch: int, seeds: int, rounds: int, side_by_side: int) -> tuple[float, float, float]:
    """Processor seconds a seed and epoch: of the plain loop, of its DataLoader alone, of ours."""
    make = zoo.factory(f"cifar-resnet:20,width=8,channels={data.shape[0]}")
    plan = Plan(epochs=1, batch=batch, **({"side_by_side": side_by_side} if side_by_side else {}))
    lab = Lab("benchmark")
    nets = initialised(make, lab, seeds)
    one = initialised(make, lab, 1)[0]
    best = [float("inf")] * 3
    for _ in range(rounds):
        best[0] = min(best[0], seconds(lambda: plain_epoch(one, data, batch)))
        best[1] = min(best[1], seconds(lambda: list(loader(data.train, batch, shuffle=True))))
        best[2] = min(best[2], seconds(lambda: fit(nets, data, plan, lab)) / seeds)
    return best[0], best[1], best[2]


def seconds(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


class Images(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """One image after another from bytes, as a class for a data set is usually written."""

    def __init__(self, examples: Examples) -> None:
        x = examples.inputs
        low, high = x.min(), x.max()
        self.bytes = ((x - low) / (high - low) * 255).to(torch.uint8)
        self.labels = examples.targets
        scaled = self.bytes.float() / 255
        self.mean, self.deviation = scaled.mean((0, 2, 3))[:, None, None], scaled.std((0, 2, 3))[:, None, None]

    def __len__(self) -> int:
        return len(self.bytes)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        return (self.bytes[number].float() / 255 - self.mean) / self.deviation, self.labels[number]


def loader(examples: Examples, batch: int, *, shuffle: bool) -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(Images(examples), batch_size=batch, shuffle=shuffle, drop_last=shuffle)


def plain_epoch(net: nn.Module, data: Data, batch: int) -> float:
    """One epoch of one seed, as in the PyTorch tutorials."""
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    net.train()
    total = 0.0
    for x, y in loader(data.train, batch, shuffle=True):
        optimiser.zero_grad()
        outputs = net(x)
        loss = cross_entropy(outputs, y)
        loss.backward()
        optimiser.step()
        total += loss.item()
    net.eval()
    wrong = 0
    with torch.no_grad():
        for x, y in loader(data.test, batch, shuffle=False):
            wrong += int((net(x).argmax(1) != y).sum())
    return total + wrong


if __name__ == "__main__":
    main()
