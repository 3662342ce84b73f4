"""Nets at their initialisation, drawn from keyed seeds."""

from collections.abc import Callable

import torch
from torch import nn

from resexp.core.lab import Lab


def initialised(make: Callable[[], nn.Module], lab: Lab, count: int, purpose: str = "weights") -> list[nn.Module]:
    """Nets 0 to `count` - 1 on the lab's device and in its dtype; float64 runs start from the same numbers as float32.

    make: builds a net, such as resexp.nets.zoo.factory("cifar-resnet:20") gives; purpose: keys the random numbers
    together with the net's number.
    """
    nets = []
    for number in range(count):
        with torch.random.fork_rng([]):
            torch.manual_seed(lab.key(purpose, number) % 2**63)
            nets.append(make().to(lab.torch_device, lab.torch_dtype))
    return nets
