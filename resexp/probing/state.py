"""Leaves a net and its surroundings as they were: buffers, training modes, threads, and the state of random numbers."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of torch, numpy and Python from this seed on; as they were afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed % 2**63)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Processor cores that torch uses within an operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def untouched(net: nn.Module, *, training: bool) -> Iterator[None]:
    """The net in training or evaluation mode; its modes and buffers as they were afterwards."""
    modes = {module: module.training for module in net.modules()}
    buffers = [(module, dict(module._buffers)) for module in net.modules() if module._buffers]
    copies = [(buffer, buffer.detach().clone()) for buffer in net.buffers()]
    net.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for module, own in buffers:
            module._buffers.update(own)
        _restore(copies)


@torch.no_grad()
def _restore(copies: list[tuple[Tensor, Tensor]]) -> None:
    for buffer, copy in copies:
        if not torch.equal(buffer, copy):  # its version does not tell: batch norm writes without counting
            buffer.copy_(copy)
