"""Two small nets to try the probe on, as factories of the kind that it takes."""

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """h + W relu(h), W with He's variance, no bias."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.layer = nn.Linear(width, width, bias=False)
        nn.init.normal_(self.layer.weight, std=(2.0 / width) ** 0.5)

    def forward(self, h: Tensor) -> Tensor:
        """One block."""
        out: Tensor = h + self.scale * self.layer(torch.relu(h))
        return out


def residual_mlp(depth: int = 16, width: int = 64, scale: float = 1.0) -> nn.Module:
    """A residual net without normalisation, whose second moment doubles with each block."""
    return nn.Sequential(*(Block(width, scale) for _ in range(depth)), nn.Linear(width, 10))


class PreNormLayer(nn.Module):
    """h + attention(norm h), then h + MLP(norm h)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        """One layer."""
        normed = self.first(h)
        h = h + self.attention(normed, normed, normed, need_weights=False)[0]
        out: Tensor = h + self.mlp(self.second(h))
        return out


def prenorm_transformer(depth: int = 12, width: int = 64, heads: int = 4, vocabulary: int = 256) -> nn.Module:
    """A language model with a norm before each branch."""
    layers = [PreNormLayer(width, heads) for _ in range(depth)]
    return nn.Sequential(nn.Embedding(vocabulary, width), *layers, nn.LayerNorm(width), nn.Linear(width, vocabulary))


residual_mlp.input = "64"  # type: ignore[attr-defined]
prenorm_transformer.input = "tokens:32"  # type: ignore[attr-defined]
