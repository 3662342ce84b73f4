"""Nets whose convolutions are followed by batch normalisation, which takes the scale of their weights out again.

What is scaled, what is watched of weights and outputs, and how decay is turned into an exponential learning rate.

Source: Li and Arora 2020.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from resexp.training.data.dataset import Data
from resexp.training.fit import Moment
from resexp.training.modes import keeping_buffers
from resexp.training.objective import classification, evaluate
from resexp.training.side_by_side import Link, SideBySide

SHRINKAGE = 1e-3
"""What the convolutions are multiplied by, for scaled_output_difference."""
PROBE = 128
"""Test examples whose outputs are compared."""


def exponential(shrinkage: float) -> Callable[[Moment], None]:
    """Multiply the gradients of convolutions by a^(-2t-1) at step t, as a learning rate of their own would."""

    def look(moment: Moment) -> None:
        for link in _convolutions(moment.net):
            if link.joined.grad is not None:
                link.joined.grad.mul_(shrinkage ** (-2 * moment.step - 1))

    return look


def watch(data: Data, *, keep_weights: bool) -> Callable[[Moment], Mapping[str, Tensor]]:
    """Norms (nets, layers), outputs (nets, numbers) and what scaling does to them, error (nets,), weights (nets, n)."""
    probe = data.test.inputs[:PROBE]

    @torch.no_grad()
    def look(moment: Moment) -> Mapping[str, Tensor]:
        net = moment.net
        links, nets = _convolutions(net), range(net.count)
        outputs = _outputs(net, probe)
        kept = [link.joined.clone() for link in links]
        for link in links:
            link.joined.mul_(SHRINKAGE)
        scaled = _outputs(net, probe)
        for link, before in zip(links, kept, strict=True):
            link.joined.copy_(before)
        seen = {
            "norms": torch.stack([torch.stack([link.of(n).norm() for link in links]) for n in nets]),
            "outputs": outputs,
            "scaled_difference": difference(scaled, outputs),
            "error_by_batch": evaluate(net, data.test, classification(), batch_statistics=True)[1],
        }
        if keep_weights:
            seen["weights"] = torch.stack([torch.cat([link.of(n).flatten() for link in links]) for n in nets])
        return seen

    return look


def difference(these: Tensor, those: Tensor) -> Tensor:
    """Largest difference (nets,) of outputs (nets, numbers), over the root mean square of those."""
    return (these - those).abs().amax(1) / those.square().mean(1).sqrt()


def set_epsilon(net: nn.Module, epsilon: float) -> None:
    """Let all batch normalisations of a net add another number to the variance."""
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.eps = epsilon


def _convolutions(net: SideBySide) -> list[Link]:
    """Weights of the convolutions."""
    return [link for link in net.links if link.own[0].dim() == 4]


def _outputs(net: SideBySide, inputs: Tensor) -> Tensor:
    """Outputs (nets, examples * classes) by the statistics of these inputs; buffers are as they were afterwards."""
    net.train()
    with keeping_buffers(net):
        out: Tensor = net(inputs.unsqueeze(1).expand(-1, net.count, *inputs.shape[1:]))  # (examples, nets, classes)
    return out.transpose(0, 1).flatten(1)


def geometric_mean(values: Tensor) -> Tensor:
    """Over the layers, of (nets, layers)."""
    return values.log().mean(1).exp()
