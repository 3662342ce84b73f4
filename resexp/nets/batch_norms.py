"""Relatives of batch normalisation: ghost batches, renormalisation, and Monte Carlo statistics at test time.

All take activations (batch, channels, *space) and start, like torch's, with gamma = 1, beta = 0, mean 0, variance 1.

Sources: Hoffer et al. 2017; Ioffe 2017; Teye et al. 2018.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm


class AnyBatchNorm(_BatchNorm):
    """Batch normalisation with any number of dimensions of space."""

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"Expected (batch, channels, *space), not {tuple(x.shape)}.")


class GhostBatchNorm(AnyBatchNorm):
    """Splits the batch into ghost batches of at least `ghost` examples, each with its own statistics.

    The running statistics take in one ghost batch after the other. With ghost >= batch it is batch normalisation.
    """

    def __init__(self, channels: int, ghost: int) -> None:
        super().__init__(channels)
        self.ghost = ghost

    def forward(self, x: Tensor) -> Tensor:
        """Each ghost batch by its own statistics in training, all by the running ones in evaluation."""
        if not self.training:
            return super().forward(x)
        return torch.cat(
            [super(GhostBatchNorm, self).forward(part) for part in x.tensor_split(max(1, len(x) // self.ghost))]
        )


class BatchRenorm(nn.Module):
    """Batch normalisation corrected towards the running statistics, so that training and evaluation agree.

        xhat = (x - mu_B) / sigma_B * r + d,   r = clip(sigma_B / sigma, 1 / r_max, r_max)
                                               d = clip((mu_B - mu) / sigma, -d_max, d_max)

    r and d are constants to the gradient and use mu, sigma from before the update. Running statistics are the mean and
    the deviation sigma itself. r_max = 1, d_max = 0 is batch normalisation.
    """

    running_mean: Tensor
    running_deviation: Tensor

    def __init__(
        self, channels: int, *, eps: float = 1e-5, momentum: float = 0.01, r_max: float = 3.0, d_max: float = 5.0
    ) -> None:
        super().__init__()
        self.eps, self.momentum, self.r_max, self.d_max = eps, momentum, r_max, d_max
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_deviation", torch.ones(channels))

    def limit(self, step: int) -> None:
        """Set r_max and d_max as in the paper: 1 and 0 for 5,000 steps, then growing to 3 at 40,000 and 5 at 25,000."""
        self.r_max = 1.0 + 2.0 * min(max((step - 5_000) / 35_000, 0.0), 1.0)
        self.d_max = 5.0 * min(max((step - 5_000) / 20_000, 0.0), 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (batch, channels, *space)."""
        if not self.training:
            return self._affine((x - along(self.running_mean, x)) / along(self.running_deviation, x))
        mean, variance = moments(x)
        deviation = (variance + self.eps).sqrt()
        with torch.no_grad():
            r = (deviation / self.running_deviation).clamp(1.0 / self.r_max, self.r_max)
            d = ((mean - self.running_mean) / self.running_deviation).clamp(-self.d_max, self.d_max)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_deviation.lerp_(deviation, self.momentum)
        return self._affine((x - along(mean, x)) / along(deviation, x) * along(r, x) + along(d, x))

    def _affine(self, normalised: Tensor) -> Tensor:
        return along(self.weight, normalised) * normalised + along(self.bias, normalised)


class MonteCarloBatchNorm(AnyBatchNorm):
    """Batch normalisation that can be shown a training batch, whose statistics it then uses in evaluation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.watching = False
        self.shown: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """As batch normalisation, but in evaluation by the statistics of the batch that was shown, if one was."""
        if self.training:
            return super().forward(x)
        if self.watching:
            self.shown = moments(x)
        if self.shown is None:
            return super().forward(x)
        return batch_norm(x, *self.shown, self.weight, self.bias, training=False, eps=self.eps)


@torch.no_grad()
def monte_carlo(net: nn.Module, x: Tensor, batches: Iterable[Tensor]) -> Tensor:
    """Outputs (passes, batch, ...) of a net in evaluation, normalised in each pass by another training batch.

    Their mean is the prediction and their spread its uncertainty. Every layer takes its statistics from the same batch.
    """
    return torch.stack([_forward_as_in(net, batch, x) for batch in batches])


def _forward_as_in(net: nn.Module, batch: Tensor, x: Tensor) -> Tensor:
    layers = [layer for layer in net.modules() if isinstance(layer, MonteCarloBatchNorm)]
    try:
        for layer in layers:
            layer.watching = True
        net(batch)
        for layer in layers:
            layer.watching = False
        output: Tensor = net(x)
        return output
    finally:
        for layer in layers:
            layer.watching, layer.shown = False, None


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (channels) of x (batch, channels, *space)."""
    variance, mean = torch.var_mean(x, [d for d in range(x.dim()) if d != 1], correction=0)
    return mean, variance


def along(channels: Tensor, x: Tensor) -> Tensor:
    """A vector (channels) shaped to broadcast against x (batch, channels, *space)."""
    return channels.view(1, -1, *[1] * (x.dim() - 2))
