"""Modes of a net that are put back afterwards: evaluation, by running statistics or the batch's, and kept buffers."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn


def normalises_by_batch(module: nn.Module) -> bool:
    """Whether a module in training mode normalises by the statistics of the batch, and keeps running ones."""
    return "running_mean" in module._buffers


@contextmanager
def evaluating(net: nn.Module, *, batch_statistics: bool) -> Iterator[None]:
    """Evaluation mode, norms by the batch where asked for; modes and running statistics are as they were afterwards."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    for module in net.modules():
        module.training = batch_statistics and normalises_by_batch(module)
    try:
        with keeping_buffers(net) if batch_statistics else nullcontext():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def keeping_buffers(net: nn.Module) -> Iterator[None]:
    """Running statistics and other buffers are as they were afterwards."""
    kept = [(buffer, buffer.clone()) for buffer in net.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)
