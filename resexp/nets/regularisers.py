"""Regularisers of a residual branch f, by name. In training random, in evaluation their expectation.

    stochastic-depth:0.5   b f, one draw b a mini-batch; a branch that is dropped is not computed (Huang et al. 2016)
    resdrop:0.5            the same: what Yamada et al. 2016 call stochastic depth
    randomdrop:0.5         b f, one draw an image, and a rate that can rise during training (Prince 2023, section 11.6)
    shakedrop:0.5          (b + a - b a) f, backward (b + c - b c); a in [-1, 1], c in [0, 1] (Yamada et al. 2019)
    dropout:0.3            dropout of units before the last layer of the branch (Zagoruyko and Komodakis 2016)
    none                   f

The number is the probability of dropping: of a unit for dropout, else of the last of L blocks, and block l drops with
rate l/L times that (the linear rule of Huang et al. 2016). E[b] is the probability of keeping, so evaluation multiplies
f by it; E[b + a - b a] is the same, since E[a] = 0. Shake-Shake needs two branches: see ShakeShake.
"""

import torch
from torch import Tensor, nn

from resexp.core.errors import UsageError, nearest

REGULARISERS = ("stochastic-depth", "resdrop", "randomdrop", "shakedrop", "dropout", "none")
DEFAULT_RATE = 0.5


def parse(text: str) -> tuple[str, float]:
    """Name and rate of a regulariser written `stochastic-depth` or `stochastic-depth:0.5`."""
    name, colon, number = text.partition(":")
    if name not in REGULARISERS:
        names = ", ".join(REGULARISERS)
        raise UsageError(f"There is no regulariser '{text}'{nearest(name, REGULARISERS)}; there are {names}.")
    try:
        rate = float(number) if colon else DEFAULT_RATE
    except ValueError:
        rate = -1.0
    if not 0.0 <= rate < 1.0:
        raise UsageError(f"The regulariser '{text}' needs a probability from 0 to below 1, as in '{name}:0.5'.")
    return name, rate


def regularised(text: str, branch: nn.Module, number: int, blocks: int) -> nn.Module:
    """The branch of block `number`, 1 to `blocks`, with the named regulariser; dropout is inside the branch already."""
    name, last = parse(text)
    rate = last * number / blocks
    if name in ("stochastic-depth", "resdrop"):
        return StochasticDepth(branch, rate)
    if name == "randomdrop":
        return RandomDrop(branch, rate)
    return ShakeDrop(branch, rate) if name == "shakedrop" else branch


class StochasticDepth(nn.Module):
    """b f(h) with one b a mini-batch; (1 - rate) f(h) in evaluation."""

    def __init__(self, branch: nn.Module, rate: float) -> None:
        super().__init__()
        self.branch, self.rate = branch, rate

    def forward(self, h: Tensor) -> Tensor:
        """f(h) or a single zero in training; shape (batch, channels, *space) or ()."""
        if self.training and torch.rand(()).item() < self.rate:
            return h.new_zeros(())
        f: Tensor = self.branch(h)
        return f if self.training else (1.0 - self.rate) * f


class RandomDrop(nn.Module):
    """b f(h) with one b an image; (1 - rate) f(h) in evaluation."""

    def __init__(self, branch: nn.Module, rate: float) -> None:
        super().__init__()
        self.branch, self.last_rate, self.rate = branch, rate, rate

    def ramp(self, progress: float) -> None:
        """Drop with `progress` times the rate: from 0 at the start of training to 1 at its end."""
        self.rate = progress * self.last_rate

    def forward(self, h: Tensor) -> Tensor:
        """f(h) of some images and zero for the others in training."""
        f: Tensor = self.branch(h)
        return (an_image(f).uniform_() >= self.rate) * f if self.training else (1.0 - self.rate) * f


class ShakeDrop(nn.Module):
    """b f(h), or f(h) times random numbers that differ between forward and backward pass.

    b is drawn for each image, as a and c are. Uniform a in [-1, 1] and c in [0, 1].
    """

    def __init__(self, branch: nn.Module, rate: float) -> None:
        super().__init__()
        self.branch, self.rate = branch, rate

    def forward(self, h: Tensor) -> Tensor:
        """(b + a - b a) f(h) with gradient (b + c - b c); (1 - rate) f(h) in evaluation."""
        f: Tensor = self.branch(h)
        if not self.training:
            return (1.0 - self.rate) * f
        keep = an_image(f).uniform_() >= self.rate
        one = f.new_ones(())
        return shaken(
            f, torch.where(keep, one, an_image(f).uniform_(-1.0, 1.0)), torch.where(keep, one, an_image(f).uniform_())
        )


class ShakeShake(nn.Module):
    """a f1(h) + (1 - a) f2(h), with gradients c and 1 - c; (f1(h) + f2(h)) / 2 in evaluation.

    a and c are independent, uniform in [0, 1] and drawn for each image. Source: Gastaldi 2017 (Shake-Shake-Image).
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, h: Tensor) -> Tensor:
        """Both branches, mixed."""
        f1: Tensor = self.first(h)
        f2: Tensor = self.second(h)
        if not self.training:
            return 0.5 * (f1 + f2)
        a, c = an_image(f1).uniform_(), an_image(f1).uniform_()
        return shaken(f1, a, c) + shaken(f2, 1.0 - a, 1.0 - c)


def an_image(f: Tensor) -> Tensor:
    """An empty tensor (batch, 1, ...) with one number for each image of f."""
    return f.new_empty(len(f), *[1] * (f.dim() - 1))


def shaken(f: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """`forward` times f, with the gradient of `backward` times f."""
    return backward * f + ((forward - backward) * f).detach()
