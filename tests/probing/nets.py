"""Small nets by hand: every way of adding a shortcut, and sums that are none."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from resexp.probing.guard import Guard
from resexp.probing.passes import Inputs, Pass, run

WIDTH = 8


class Layered(nn.Module):
    """A block whose forward is a function of itself and its input."""

    def __init__(self, forward: Callable[["Layered", Tensor], Tensor], width: int = WIDTH) -> None:
        super().__init__()
        self.layer, self.other, self.third = (nn.Linear(width, width) for _ in range(3))
        self.scale = nn.Parameter(torch.ones(width))
        self.matrix = nn.Parameter(torch.randn(width, width) / width**0.5)
        self.rectify = nn.ReLU(inplace=True)
        self.does = forward

    def branch(self, x: Tensor) -> Tensor:
        return self.layer(torch.relu(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.does(self, x)


def chain(forward: Callable[[Layered, Tensor], Tensor], blocks: int = 2, width: int = WIDTH) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(Layered(forward, width) for _ in range(blocks)))


class Convolutional(nn.Module):
    """A block with two convolutions, a norm after each, and the sum written in place."""

    def __init__(self, norm: Callable[[int], nn.Module], *, stride: int = 1, channels: int = 4, out: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([norm(out), norm(out)])
        self.shortcut = nn.Conv2d(channels, out, 1, stride) if stride > 1 or channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[0](self.first(x))
        y = self.norms[1](self.second(functional.relu(y, inplace=True)))
        y += self.shortcut(x)
        return functional.relu(y, inplace=True)


def look(net: nn.Module, *inputs: Tensor, copy_views: bool = False, loss: str = "direction") -> Pass:
    generator = torch.Generator().manual_seed(0)
    guard = Guard(1 << 34, torch.device("cpu"))
    given = Inputs(inputs, {}, len(inputs[0]))
    return run(net, given, loss, generator, guard, copy_views=copy_views)  # type: ignore[arg-type]


def batch(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(4, *shape, generator=torch.Generator().manual_seed(seed))
