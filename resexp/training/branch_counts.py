"""How often branches that may be dropped are computed, and what that saves.

Counts are buffers, so that a training that goes on from a checkpoint goes on counting.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resexp.nets.regularisers import StochasticDepth
from resexp.nets.residual import ResidualNet


class CountedBranch(nn.Module):
    """A branch, and the number of mini-batches it was computed for in training."""

    computed: Tensor

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.register_buffer("computed", torch.zeros((), dtype=torch.float64))

    def forward(self, h: Tensor) -> Tensor:
        """f(h)."""
        if self.training:
            self.computed += 1
        out: Tensor = self.branch(h)
        return out


def count_branches(net: ResidualNet) -> None:
    """Count the branches of blocks with stochastic depth from now on."""
    for module in net.modules():
        if isinstance(module, StochasticDepth):
            module.branch = CountedBranch(module.branch)


def computed(net: ResidualNet) -> list[float]:
    """Mini-batches for which each counted branch was computed."""
    return [float(module.computed) for module in net.modules() if isinstance(module, CountedBranch)]


@torch.no_grad()
def operations(net: nn.Module, shape: Sequence[int], keep: Tensor | None = None) -> int:
    """Operations, twice the multiply-adds, for one example in evaluation; keep: (blocks,) of a ResidualNet."""
    device = next(net.parameters()).device
    x = torch.zeros(1, *shape, device=device, dtype=next(net.parameters()).dtype)
    net.eval()
    with FlopCounterMode(display=False) as counter:
        net(x) if keep is None else net(x, keep)
    return int(counter.get_total_flops())


def branch_operations(net: ResidualNet, shape: Sequence[int]) -> list[int]:
    """Operations of each branch for one example."""
    blocks = len(net.blocks)
    whole = operations(net, shape)
    return [whole - operations(net, shape, torch.arange(blocks) != number) for number in range(blocks)]
