"""Learning which residual blocks of a trained net to use for an image: the policy of BlockDrop.

    gradient of   -(R(u) - R(best)) log pi(u | x),    u drawn from the policy, best its most probable choice

by the policy alone; the net stays as it is, in evaluation mode. R is resexp.nets.blockdrop.reward. The policy starts by
using every block with probability `FIRST`, so that the net answers as well as it did. The curriculum of the paper,
which lets the policy choose ever more of the last blocks, and its last step, in which net and policy are trained
together, are not part of this: nets here have few blocks.

Source: Wu et al. 2018, section 3.
"""

import math

import torch
from torch import Tensor, nn

from resexp.core.lab import Lab
from resexp.nets.blockdrop import BlockDrop, policy_for, reward
from resexp.nets.residual import ResidualNet
from resexp.training.batches import Batches
from resexp.training.data.dataset import Data, Examples

FIRST = 0.9
"""Probability of using a block before any training."""
RATE = 1e-2
"""Learning rate of Adam. In the few hundred steps of small data the 1e-3 of the published code moves nothing."""


def train_policy(
    net: ResidualNet, data: Data, lab: Lab, *, epochs: int, batch: int, penalty: float, width: int, number: int
) -> BlockDrop:
    """A net with a policy that was trained for it. number: of the net, which keys the random numbers."""
    device = data.train.inputs.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(lab.key("policy", number) % 2**63)
        policy = policy_for(net, channels=data.shape[0], width=width).to(device, data.train.inputs.dtype)
        last = [layer for layer in policy.modules() if isinstance(layer, nn.Linear)][-1]
        nn.init.constant_(last.bias, math.log(FIRST / (1 - FIRST)))
        whole = BlockDrop(net, policy)
        optimiser = torch.optim.Adam(policy.parameters(), RATE)
        batches = Batches(data.train, batch, lab, [number], shift=False, mirror=False)
        for epoch in range(1, epochs + 1):
            for x, y in batches.epoch(epoch):
                optimiser.zero_grad()
                policy_loss(whole, x[:, 0], y[:, 0], penalty).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    return whole.eval()


def policy_loss(whole: BlockDrop, x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """What the policy's gradient is of, a mean over the batch."""
    whole.train()
    whole.net.eval()
    keep, log_probability = whole.select(x)
    with torch.no_grad():
        best = whole.probabilities(x) > 0.5
        advantage = _reward(whole.net, x, y, keep, penalty) - _reward(whole.net, x, y, best, penalty)
    return -(advantage * log_probability).mean()


def _reward(net: ResidualNet, x: Tensor, y: Tensor, keep: Tensor, penalty: float) -> Tensor:
    return reward(keep, net(x, keep).argmax(1) == y, penalty).to(x.dtype)


@torch.no_grad()
def used_blocks(whole: BlockDrop, examples: Examples) -> tuple[Tensor, Tensor]:
    """Share of wrong examples, and share of them for which each block is used, (blocks,)."""
    whole.eval()
    keep = whole.select(examples.inputs)[0]
    wrong = whole.net(examples.inputs, keep).argmax(1) != examples.targets
    return wrong.double().mean(), keep.double().mean(0)
