"""Normalisers against torch's or their definition."""

import pytest
import torch
from torch import Tensor, nn

from resexp.nets import norms, zoo
from resexp.nets.batch_norms import BatchRenorm, GhostBatchNorm, MonteCarloBatchNorm, monte_carlo


def normalised(x: Tensor, dimensions: list[int], eps: float = 1e-5) -> Tensor:
    variance, mean = torch.var_mean(x, dimensions, correction=0, keepdim=True)
    return (x - mean) / (variance + eps).sqrt()


def test_ghost_batches_of_the_whole_batch_are_batch_normalisation() -> None:
    ghost, batch, x = GhostBatchNorm(3, 8), nn.BatchNorm2d(3), torch.randn(8, 3, 4, 4)
    torch.testing.assert_close(ghost(x), batch(x))
    torch.testing.assert_close(ghost.state_dict(), batch.state_dict())
    torch.testing.assert_close(ghost.eval()(x), batch.eval()(x))


def test_ghost_batches_are_normalised_each_alone() -> None:
    ghost, batch, x = GhostBatchNorm(3, 4), nn.BatchNorm1d(3), torch.randn(11, 3)
    parts = (x[:6], x[6:])  # 11 examples are two ghost batches of at least 4
    torch.testing.assert_close(ghost(x), torch.cat([batch(part) for part in parts]))
    torch.testing.assert_close(ghost.running_var, batch.running_var)


def test_renormalisation_without_correction_is_batch_normalisation() -> None:
    renorm, batch = BatchRenorm(3, r_max=1.0, d_max=0.0).double(), nn.BatchNorm2d(3).double()
    x, u = (
        torch.randn(5, 3, 2, 2, dtype=torch.float64, requires_grad=True),
        torch.randn(5, 3, 2, 2, dtype=torch.float64),
    )
    torch.testing.assert_close(renorm(x), batch(x))
    ours, theirs = (torch.autograd.grad(norm(x), x, u)[0] for norm in (renorm, batch))
    torch.testing.assert_close(ours, theirs)


def test_renormalisation_without_limits_trains_with_what_it_evaluates_with() -> None:
    renorm, x = BatchRenorm(3, r_max=1e9, d_max=1e9), 3 + 2 * torch.randn(6, 3)
    renorm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    renorm.running_deviation.copy_(torch.tensor([1.0, 0.5, 2.0]))
    evaluated = renorm.eval()(x)
    torch.testing.assert_close(renorm.train()(x), evaluated)


def test_renormalisation_clips_and_moves_its_mean_and_deviation() -> None:
    renorm, x = BatchRenorm(1, momentum=0.1, r_max=2.0, d_max=0.5), 10 + 5 * torch.randn(64, 1)
    mean, deviation = x.mean(), (x.var(correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(renorm(x), normalised(x, [0]) * 2.0 + 0.5)  # against mean 0 and deviation 1
    torch.testing.assert_close(renorm.running_mean[0], 0.1 * mean)
    torch.testing.assert_close(renorm.running_deviation[0], 0.9 + 0.1 * deviation)


def test_renormalisation_holds_r_and_d_constant_in_the_gradient() -> None:
    renorm = BatchRenorm(2, r_max=3.0, d_max=5.0)
    x = torch.randn(6, 2, requires_grad=True)
    u = torch.randn(6, 2)
    r = (x.var(0, correction=0) + 1e-5).sqrt().detach()
    (ours,) = torch.autograd.grad(renorm(x), x, u)
    (theirs,) = torch.autograd.grad(normalised(x, [0]) * r, x, u)
    torch.testing.assert_close(ours, theirs)


def test_limits_of_renormalisation_open_during_training() -> None:
    renorm = BatchRenorm(1)
    found = []
    for step in (0, 5_000, 15_000, 22_500, 40_000):
        renorm.limit(step)
        found.append((renorm.r_max, renorm.d_max))
    assert found == [(1, 0), (1, 0), (1 + 4 / 7, 2.5), (2, 4.375), (3, 5)]


def test_monte_carlo_takes_the_statistics_of_a_training_batch() -> None:
    net = nn.Sequential(MonteCarloBatchNorm(3), nn.Linear(3, 4, bias=False), MonteCarloBatchNorm(4)).eval()
    x, batches = torch.randn(5, 3), [1 + torch.randn(7, 3), 2 * torch.randn(9, 3)]
    before = net(x)
    outputs = monte_carlo(net, x, batches)
    for batch, output in zip(batches, outputs, strict=True):
        both = torch.cat([batch, x])
        for layer in (None, net[1]):
            both = layer(both) if layer else both
            variance, mean = torch.var_mean(both[: len(batch)], 0, correction=0)
            both = (both - mean) / (variance + 1e-5).sqrt()
        torch.testing.assert_close(output, both[len(batch) :])
    torch.testing.assert_close(net(x), before)
    assert not torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize(
    ("name", "shape", "dimensions"),
    [
        ("layer", (4, 6, 3, 3), [1, 2, 3]),
        ("layer", (4, 6), [1]),
        ("instance", (4, 6, 3, 3), [2, 3]),
        ("batch", (4, 6), [0]),
    ],
)
def test_what_is_averaged_over(name: str, shape: tuple[int, ...], dimensions: list[int]) -> None:
    x = torch.randn(shape)
    torch.testing.assert_close(norms.norm(name, 6, len(shape) - 2)(x), normalised(x, dimensions))


def test_groups_of_channels() -> None:
    x = torch.randn(4, 6, 3, 3)
    grouped = normalised(x.view(4, 2, 3, 3, 3), [2, 3, 4]).view_as(x)
    torch.testing.assert_close(norms.norm("group:2", 6, 2)(x), grouped)
    assert [norms.groups(channels, None) for channels in (256, 64, 16, 6, 2)] == [32, 16, 4, 1, 1]


def test_weight_normalisation_leaves_a_length_and_a_direction() -> None:
    torch.manual_seed(0)
    layer = norms.on_layer("weight", nn.Conv2d(3, 5, 3))
    length, direction = (tensor for name, tensor in layer.named_parameters() if name != "bias")
    x = torch.randn(2, 3, 4, 4)
    before = layer(x)
    with torch.no_grad():
        direction.mul_(7.0)
    torch.testing.assert_close(layer(x), before)
    with torch.no_grad():
        length.mul_(2.0)
    bias = layer.bias
    assert isinstance(bias, Tensor)
    torch.testing.assert_close(layer(x) - bias.view(-1, 1, 1), 2 * (before - bias.view(-1, 1, 1)))


@pytest.mark.parametrize("name", [*norms.NORMS, "ghost:2", "group:2"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_normaliser_goes_into_every_block(name: str, version: str) -> None:
    net = zoo.factory(f"cifar-resnet:8-{version},width=4,norm={name}")()
    net(torch.randn(4, 3, 8, 8)).sum().backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in net.parameters())
    assert net.eval()(torch.randn(1, 3, 8, 8)).isfinite().all()
