"""The module way: torch.nn, forward hooks, retain_grad, one network at a time. A baseline, kept plain."""

import math

import torch
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        nn.init.normal_(self.linear.weight, std=math.sqrt(2 / width))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.linear(torch.relu(h))


class ResidualNet(nn.Module):
    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width, bias=False)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.readout = nn.Linear(width, 1, bias=False)
        for layer in (self.first, self.readout):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / width))

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.blocks(self.first(x)))


def modules(depth: int, width: int, batch: int) -> tuple[list, list, list, list]:
    """Second moment, batch variance and mean of h, second moment of the gradient, at each block of one network."""
    net = ResidualNet(depth, width)
    seen: list[Tensor] = []

    def see(_: nn.Module, __: tuple, output: Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    for module in (net.first, *net.blocks):
        module.register_forward_hook(see)
    loss = nn.functional.mse_loss(net(torch.randn(batch, width)), torch.randn(batch, 1))
    loss.backward()
    hidden = [h.detach() for h in seen]
    return (
        [h.square().mean().item() for h in hidden],
        [h.var(0, unbiased=False).mean().item() for h in hidden],
        [h.mean().item() for h in hidden],
        [h.grad.square().mean().item() for h in seen if h.grad is not None],
    )


def normed_modules(depth: int, width: int, batch: int) -> list[float]:
    """Squared gradient after each layer of one plain net, Linear -> ReLU -> BatchNorm, by autograd."""
    layers = [
        nn.Sequential(nn.Linear(width, width, bias=False), nn.ReLU(), nn.BatchNorm1d(width, affine=False, eps=1e-30))
        for _ in range(depth)
    ]
    for layer in layers:
        nn.init.normal_(layer[0].weight, std=math.sqrt(2 / width))
    h = torch.randn(batch, width, requires_grad=True)
    seen = [h]
    for layer in layers:
        h = layer(h)
        h.retain_grad()
        seen.append(h)
    (h * torch.randn_like(h)).sum().backward()
    return [x.grad.square().mean().item() for x in seen if x.grad is not None]
