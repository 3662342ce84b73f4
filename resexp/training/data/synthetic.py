"""Data sets that are made: a regression task with a known teacher, and random labels for inputs of any other set.

Source: Zhang et al. 2017, Understanding deep learning requires rethinking generalization (random labels).
"""

from dataclasses import replace

import torch

from resexp.core.lab import Lab
from resexp.training.data.dataset import Data, Examples

TEACHER_UNITS = 64


def regression(
    lab: Lab, *, examples: int = 1024, test: int = 256, inputs: int = 10, outputs: int = 1, noise: float = 0.0
) -> Data:
    """Targets t(x) + noise e with x, e ~ N(0, 1) and t a random net of one hidden layer of 64 ReLUs, E t^2 about 1.

    inputs: (examples, inputs); targets: (examples, outputs).
    """
    generator = torch.Generator().manual_seed(lab.key("regression") % 2**63)
    hidden = torch.randn(inputs, TEACHER_UNITS, generator=generator) * (2 / inputs) ** 0.5
    readout = torch.randn(TEACHER_UNITS, outputs, generator=generator) / TEACHER_UNITS**0.5
    x = torch.randn(examples + test, inputs, generator=generator)
    y = (x @ hidden).relu() @ readout + noise * torch.randn(examples + test, outputs, generator=generator)
    train = slice(examples)
    return Data("regression", Examples(x[train], y[train]), Examples(x[examples:], y[examples:]), classes=0)


def with_random_labels(data: Data, lab: Lab) -> Data:
    """The same inputs with labels drawn uniformly, once for all, in training and in test."""
    generator = torch.Generator().manual_seed(lab.key("random labels") % 2**63)
    parts = (
        Examples(part.inputs, torch.randint(data.classes, (len(part),), generator=generator))
        for part in (data.train, data.test)
    )
    return replace(data, name=f"{data.name} with random labels", train=next(parts), test=next(parts))
