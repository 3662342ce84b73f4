"""Regularisers: what is random in training, and that evaluation is its expectation."""

import math

import pytest
import torch
from torch import Tensor, nn

from resexp.nets.regularisers import RandomDrop, ShakeDrop, ShakeShake, StochasticDepth, regularised
from resexp.nets.zoo import factory

IMAGES = 4096


class Times(nn.Module):
    """A branch that counts how often it is computed."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.calls = factor, 0

    def forward(self, h: Tensor) -> Tensor:
        self.calls += 1
        return self.factor * h


def coefficients(branch: nn.Module) -> tuple[Tensor, Tensor]:
    """What each of many images is multiplied by, forward and backward."""
    h = torch.ones(IMAGES, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    f = branch(h)
    (gradient,) = torch.autograd.grad(f.sum(), h)
    return f.detach().flatten(), gradient.flatten()


@pytest.mark.parametrize(
    "branch",
    [RandomDrop(nn.Identity(), 0.3), ShakeDrop(nn.Identity(), 0.3), ShakeShake(Times(1.0), Times(3.0))],
    ids=lambda branch: type(branch).__name__,
)
def test_evaluation_is_the_expectation_of_training(branch: nn.Module) -> None:
    torch.manual_seed(1)
    trained = coefficients(branch.train())[0]
    (evaluated,) = coefficients(branch.eval())[0].unique()
    assert abs(trained.mean() - evaluated) < 4 * trained.std() / math.sqrt(IMAGES)
    assert trained.std() > 0.4


def test_stochastic_depth_drops_a_whole_batch_and_does_not_compute_it() -> None:
    torch.manual_seed(2)
    times = Times(2.0)
    branch, h = StochasticDepth(times, 0.25), torch.ones(3, 1, 2, 2)
    outputs = [(h + branch(h)).unique().tolist() for _ in range(2000)]
    assert all(output in ([1.0], [3.0]) for output in outputs)
    assert abs(times.calls / 2000 - 0.75) < 4 * math.sqrt(0.25 * 0.75 / 2000)
    assert sum(output == [3.0] for output in outputs) == times.calls
    assert branch.eval()(h).unique().tolist() == [2.0 * 0.75]


def test_shake_shake_mixes_each_image_by_itself_and_the_two_passes_independently() -> None:
    torch.manual_seed(3)
    forward, backward = coefficients(ShakeShake(Times(1.0), Times(0.0)))  # a and c themselves
    for mix in (forward, backward):
        assert mix.min() >= 0
        assert mix.max() <= 1
        assert abs(mix.var() - 1 / 12) < 0.005
    assert abs(torch.corrcoef(torch.stack([forward, backward]))[0, 1]) < 4 / math.sqrt(IMAGES)
    whole = coefficients(ShakeShake(nn.Identity(), nn.Identity()))
    torch.testing.assert_close(whole[0], torch.ones_like(whole[0]))
    torch.testing.assert_close(whole[1], torch.ones_like(whole[1]))


def test_shake_drop_shakes_only_what_it_does_not_keep() -> None:
    torch.manual_seed(4)
    forward, backward = coefficients(ShakeDrop(nn.Identity(), 0.4))
    kept = backward == 1.0
    assert abs(kept.double().mean() - 0.6) < 4 * math.sqrt(0.24 / IMAGES)
    assert forward[kept].eq(1.0).all()
    a, c = forward[~kept], backward[~kept]
    assert -1 <= a.min() < -0.9 < 0.9 < a.max() <= 1
    assert 0 <= c.min() < 0.1 < 0.9 < c.max() <= 1
    assert abs(torch.corrcoef(torch.stack([a, c]))[0, 1]) < 4 / math.sqrt(len(a))


@pytest.mark.parametrize("name", ["stochastic-depth", "resdrop", "randomdrop", "shakedrop"])
def test_rates_grow_linearly_over_the_blocks(name: str) -> None:
    branches = [regularised(f"{name}:0.4", nn.Identity(), number, 4) for number in range(1, 5)]
    rates = [1 - branch.eval()(torch.ones(1, 1)).item() for branch in branches]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_random_drop_can_rise_during_training() -> None:
    branch = RandomDrop(nn.Identity(), 0.4)
    branch.ramp(0.5)
    assert branch.eval()(torch.ones(1)).item() == pytest.approx(0.8)


@pytest.mark.parametrize("drop", ["stochastic-depth:0.9", "randomdrop:0.9", "shakedrop:0.9", "dropout:0.3"])
def test_regularisers_of_a_net_are_random_in_training_only(drop: str) -> None:
    torch.manual_seed(5)
    net, x = factory(f"cifar-resnet:8,width=4,norm=layer,drop={drop}")(), torch.randn(2, 3, 8, 8)
    assert len({net(x).sum().item() for _ in range(20)}) > 1
    assert len({net.eval()(x).sum().item() for _ in range(2)}) == 1
