"""BlockDrop: a small policy network looks at an image and says which residual blocks of a given net to use for it.

The policy is a ResNet-8 with one output a block. In evaluation a block is used where its probability exceeds one half,
and branches that are not used are not computed. In training blocks are drawn, and the policy learns from `reward`:

    1 - (blocks used / K)^2 if the answer is right, else -penalty

Source: Wu et al. 2018.
"""

import torch
from torch import Tensor, nn

from resexp.nets.cifar_resnet import cifar_resnet
from resexp.nets.residual import ResidualNet


class BlockDrop(nn.Module):
    """A net whose blocks are selected for each image by a policy (batch, channels, ...) -> (batch, blocks) of logits.

    `exploration` bounds the probabilities that are drawn from to 1 - exploration ... exploration.
    """

    def __init__(self, net: ResidualNet, policy: nn.Module, exploration: float = 0.8) -> None:
        super().__init__()
        self.net, self.policy, self.exploration = net, policy, exploration

    def probabilities(self, x: Tensor) -> Tensor:
        """Probabilities (batch, blocks) of using each block."""
        return torch.sigmoid(self.policy(x))

    def select(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Which blocks to use, (batch, blocks) true or false, and the log probability (batch) of that choice."""
        used = self.probabilities(x)
        if self.training:
            used = self.exploration * used + (1.0 - self.exploration) * (1.0 - used)
            keep = torch.bernoulli(used.detach()).bool()
        else:
            keep = used > 0.5
        return keep, torch.where(keep, used, 1.0 - used).log().sum(1)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the net with the selected blocks."""
        out: Tensor = self.net(x, self.select(x)[0])
        return out


def policy_for(net: ResidualNet, *, channels: int = 3, width: int = 16) -> nn.Module:
    """A ResNet-8 with one logit for each block of the net."""
    return cifar_resnet(depth=8, classes=len(net.blocks), channels=channels, width=width)


def reward(keep: Tensor, correct: Tensor, penalty: float) -> Tensor:
    """Reward (batch) of using the blocks `keep` (batch, blocks) with answers that are `correct` (batch) or not."""
    used = keep.double().mean(1)
    return torch.where(correct, 1.0 - used.square(), -penalty)
