"""The residual block, and a net that is a chain of them.

    h[k+1] = after(skip * shortcut(g) + alpha * branch(g)),   g = before(h[k])

`before` is what shortcut and branch share (in He et al. 2016, the first activation of a block that changes the number
of channels), `after` is the last ReLU of version 1. Scales come from resexp.core.schemes; skip = 0 is a plain net.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """One block; `learned` makes alpha a scalar parameter, as in SkipInit and ReZero."""

    def __init__(
        self,
        branch: nn.Module,
        shortcut: nn.Module | None = None,
        *,
        skip: float = 1.0,
        alpha: float = 1.0,
        learned: bool = False,
        before: nn.Module | None = None,
        after: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.before = before or nn.Identity()
        self.shortcut = shortcut or nn.Identity()
        self.branch = branch
        self.after = after or nn.Identity()
        self.skip = skip
        self.alpha = nn.Parameter(torch.tensor(alpha)) if learned else alpha

    def forward(self, h: Tensor, keep: Tensor | None = None) -> Tensor:
        """The next h; examples whose `keep` (batch) is false go through the shortcut alone.

        A plain block that is not kept is replaced by its shortcut, unscaled. In evaluation the branch is not computed
        for what is not kept; in training it is, so that batch statistics are those of the whole batch.
        """
        h = self.before(h)
        short: Tensor = self.shortcut(h)
        if keep is None:
            return self._after(self._join(h, short))
        kept = keep.bool().expand(len(h))
        alone = short * self.skip if self.skip else short
        if self.training:
            return self._after(torch.where(kept.view(-1, *[1] * (short.dim() - 1)), self._join(h, short), alone))
        out = alone.clone()
        if kept.any():
            out[kept] = self._join(h[kept], short[kept])
        return self._after(out)

    def _join(self, h: Tensor, short: Tensor) -> Tensor:
        branch: Tensor = self.branch(h)
        if not isinstance(self.alpha, float) or self.alpha != 1.0:
            branch = self.alpha * branch
        if self.skip == 0.0:
            return branch
        return (short if self.skip == 1.0 else self.skip * short) + branch

    def _after(self, h: Tensor) -> Tensor:
        out: Tensor = self.after(h)
        return out


class ResidualNet(nn.Module):
    """stem -> blocks -> head."""

    def __init__(self, stem: nn.Module, blocks: Sequence[Residual], head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.head = head

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Outputs (batch, classes); `keep` (blocks) or (batch, blocks) says which blocks are there."""
        h = self.stem(x)
        for number, block in enumerate(self.blocks):
            h = block(h, None if keep is None else keep[..., number])
        out: Tensor = self.head(h)
        return out


class ZeroPad(nn.Module):
    """Shortcut A of He et al. 2015: every `stride`-th pixel, and zeros in the channels that are new."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels, self.stride = new_channels, stride

    def forward(self, h: Tensor) -> Tensor:
        """From h (batch, channels, *space) to (batch, channels + new, *space / stride)."""
        strided = h[(slice(None), slice(None), *[slice(None, None, self.stride)] * (h.dim() - 2))]
        return torch.cat([strided, strided.new_zeros(len(h), self.new_channels, *strided.shape[2:])], 1)
