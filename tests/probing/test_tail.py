"""The expectation that every branch with independent last weights must meet, against many draws."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.probing.nets import batch, look

C = 8


class Around(nn.Module):
    """x + scale * layer(relu(norm x)), or another branch."""

    def __init__(self, layer: nn.Module, scale: float | Tensor = 1.0) -> None:
        super().__init__()
        self.layer = layer
        self.scale = nn.Parameter(scale) if isinstance(scale, Tensor) else scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.layer(torch.relu(x + 0.5))


class Attention(nn.Module):
    """A branch that is far from independent up to its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return x + self.out(nn.functional.scaled_dot_product_attention(q, k, v))


class Mixture(nn.Module):
    """Uniform weights and biases, a transposed view and a scale for each unit on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.gamma = nn.Linear(C, C), nn.Parameter(torch.linspace(0.1, 2.0, C))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.layer(x.transpose(1, 2)) * self.gamma).transpose(1, 2)


CASES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "linear": (lambda: Around(nn.Linear(C, C)), batch(C)),
    "scaled": (lambda: Around(nn.Linear(C, C), 0.3), batch(C)),
    "scale for each unit": (lambda: Mixture(), batch(C, C)),
    "convolution with padding": (lambda: Around(nn.Conv2d(C, C, 3, padding=1)), batch(C, 3, 3)),
    "grouped, dilated": (lambda: Around(nn.Conv2d(C, C, 3, padding=2, dilation=2, groups=4)), batch(C, 4, 4)),
    "one dimension": (lambda: Around(nn.Conv1d(C, C, 5, padding=2)), batch(C, 6)),
    "attention": (Attention, batch(5, C)),
}


def ratios(make: Callable[[], nn.Module], x: Tensor, draws: int) -> np.ndarray:
    torch.manual_seed(0)
    found = []
    for _ in range(draws):
        (addition,) = look(make(), x).additions
        assert addition.expected is not None
        found.append(addition.after.moments.second / addition.expected)
    return np.array(found)


@pytest.mark.parametrize("case", CASES)
def test_the_expectation_is_met(case: str) -> None:
    make, x = CASES[case]
    found = ratios(make, x, 200)
    assert abs(found.mean() - 1.0) < 4 * found.std(ddof=1) / 200**0.5


def test_weights_that_are_not_centred_are_caught() -> None:
    def made() -> nn.Module:
        layer = nn.Linear(C, C)
        nn.init.uniform_(layer.weight, 0.0, 0.5)
        return Around(layer)

    assert ratios(made, batch(C), 20).mean() > 1.2


def test_no_expectation_is_given_where_it_would_not_hold() -> None:
    shared = nn.Linear(C, C)
    weight_shared = look(nn.Sequential(Around(shared), Around(shared)), batch(C)).additions
    assert [a.expected is None for a in weight_shared] == [False, True]
    dropping = nn.Sequential(nn.Linear(C, C), nn.Dropout(0.5)).train()
    for layer in (dropping, nn.Sequential(nn.Linear(C, C), nn.ReLU()), nn.utils.parametrizations.weight_norm(shared)):
        (addition,) = look(Around(layer), batch(C)).additions
        assert addition.expected is None
    (kept,) = look(Around(dropping.eval()), batch(C)).additions
    assert kept.expected is not None
