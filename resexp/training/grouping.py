"""How many nets train as one.

On a processor, as many as keep the widest activations of all of them within its cache, and two at least: beyond that
memory is what takes the time. Measured with residual-20 of widths 8 and 16, on 8 x 8 and 32 x 32 pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from resexp.training.data.dataset import Examples
from resexp.training.plan import Plan
from resexp.training.side_by_side import CannotJoinError, SideBySide

CACHE = 2**20
"""Bytes of one activation of all nets: with what else an operation reads and writes, a second-level cache."""
FEWEST, MOST = 2, 16
MOST_ON_GPU = 64


def groups(nets: Sequence[nn.Module], examples: Examples, plan: Plan) -> list[SideBySide]:
    """The nets in groups that train as one; each alone where they cannot be joined."""
    try:
        most = plan.side_by_side or most_side_by_side(nets[0], examples, plan.batch)
        return [SideBySide(nets[first : first + most]) for first in range(0, len(nets), most)]
    except CannotJoinError:
        return [SideBySide([net]) for net in nets]


def most_side_by_side(net: nn.Module, examples: Examples, batch: int) -> int:
    """How many such nets are best joined at that batch."""
    if examples.inputs.device.type != "cpu":
        return MOST_ON_GPU
    one = examples.inputs[:1]
    size = batch * widest(net, one) * one.element_size()
    return max(FEWEST, min(MOST, CACHE // max(1, size)))


@torch.no_grad()
def widest(net: nn.Module, one: Tensor) -> int:
    """Most numbers that a layer of the net gives for one example (1, *shape); the net is left as it was."""
    largest = 0

    def note(_: nn.Module, __: Any, output: object) -> None:
        nonlocal largest
        largest = max(largest, output.numel() if isinstance(output, Tensor) else 0)

    hooks = [module.register_forward_hook(note) for module in net.modules()]
    modes = {module: module.training for module in net.modules()}
    try:
        net.eval()(one)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return largest
