"""The residual block: schemes, order of layers, shortcuts, and nets without some of their blocks."""

import math

import pytest
import torch
from torch import nn

from resexp.core.initialisation import INITIALISATIONS, Initialisation, InitialisationName
from resexp.nets.blockdrop import BlockDrop, policy_for, reward
from resexp.nets.initialise import draw_
from resexp.nets.residual import Residual, ResidualNet, ZeroPad
from resexp.nets.zoo import factory


def net_of(name: str) -> ResidualNet:
    torch.manual_seed(0)
    net = factory(name)()
    assert isinstance(net, ResidualNet)
    return net


def block_of(net: ResidualNet, number: int) -> Residual:
    block = net.blocks[number]
    assert isinstance(block, Residual)
    return block


def kinds(module: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in module.modules() if not list(layer.children())]


@pytest.mark.parametrize("scheme", ["skipinit", "rezero", "fixup"])
def test_blocks_start_as_the_identity(scheme: str) -> None:
    net, h = net_of(f"cifar-resnet:14-v2,width=4,scheme={scheme}"), torch.randn(2, 4, 6, 6)
    block = block_of(net, 1)
    assert torch.equal(block(h), h)
    block(h).square().sum().backward()
    assert any(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in block.parameters()), (
        "it can leave it"
    )


@pytest.mark.parametrize(
    ("scheme", "skip", "alpha"),
    [
        ("residual", 1, 1),
        ("plain", 0, 1),
        ("rescaled", math.sqrt(0.5), math.sqrt(0.5)),
        ("stable", 1, 1 / math.sqrt(6)),
    ],
)
def test_scales_of_skip_and_branch(scheme: str, skip: float, alpha: float) -> None:
    """A net of depth 14 has 6 blocks."""
    block, h = block_of(net_of(f"cifar-resnet:14-v2,width=4,scheme={scheme}"), 1), torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(block(h), skip * h + alpha * block.branch(h))


@pytest.mark.parametrize(
    ("name", "power"), [("cifar-resnet:56,width=32", -1 / 2), ("cifar-resnet:83,width=32", -1 / 4)]
)
def test_fixup_scales_inner_layers_and_zeroes_the_last(name: str, power: float) -> None:
    net = net_of(f"{name},scheme=fixup")
    *inner, last = [layer for layer in block_of(net, -1).branch.modules() if isinstance(layer, nn.Conv2d)]
    assert last.weight.eq(0).all()
    for layer in inner:
        he = math.sqrt(2 / layer.weight[0].numel())
        assert layer.weight.std().item() == pytest.approx(he * 27**power, rel=0.03)
    assert net(torch.randn(2, 3, 8, 8)).eq(0).all()
    assert not {"BatchNorm2d", "GroupNorm"} & set(kinds(net))


@pytest.mark.parametrize("name", INITIALISATIONS)
def test_weights_have_the_variance_of_their_initialisation(name: InitialisationName) -> None:
    torch.manual_seed(0)
    weight = torch.empty(64, 32, 3, 3)
    draw_(weight, name, scale=0.5)
    variance = Initialisation(name).variance(32 * 9, 64 * 9) / 4
    assert weight.square().mean().item() == pytest.approx(variance, rel=0.03)


def test_order_of_layers() -> None:
    conv, norm, relu = "Conv2d", "BatchNorm2d", "ReLU"
    first, second = net_of("cifar-resnet:14-b,width=4"), net_of("cifar-resnet:14-b-v2,width=4")
    assert kinds(first.stem) == [conv, norm, relu]
    assert kinds(block_of(first, 2).before) == ["Identity"]
    assert kinds(block_of(first, 2).branch) == [conv, norm, relu, conv, norm]
    assert kinds(block_of(first, 2).shortcut) == [conv, norm]
    assert kinds(block_of(first, 2).after) == [relu]
    assert kinds(second.stem) == [conv]
    for number in (0, 2):  # the first block of the net, and one that adds channels, share their first activation
        assert kinds(block_of(second, number).before) == [norm, relu]
        assert kinds(block_of(second, number).branch) == [conv, norm, relu, conv]
    assert kinds(block_of(second, 2).shortcut) == [conv]
    assert kinds(block_of(second, 1).before) == ["Identity"]
    assert kinds(block_of(second, 1).branch) == [norm, relu, conv, norm, relu, conv]
    assert kinds(block_of(second, 1).after) == ["Identity"]
    assert kinds(second.head)[:2] == [norm, relu]


def test_zero_padding_takes_every_second_pixel() -> None:
    h = torch.randn(2, 3, 5, 5)
    out = ZeroPad(2, 2)(h)
    assert out.shape == (2, 5, 3, 3)
    torch.testing.assert_close(out[:, :3], h[:, :, ::2, ::2])
    assert out[:, 3:].eq(0).all()


@pytest.mark.parametrize("name", ["cifar-resnet:14,width=4", "cifar-resnet:14-v2,width=4", "plain:14,width=4"])
def test_a_block_that_is_not_kept_is_its_shortcut(name: str) -> None:
    net, x = net_of(name).eval(), torch.randn(3, 3, 8, 8)
    keep = torch.ones(6, dtype=torch.bool)
    torch.testing.assert_close(net(x, keep), net(x))
    keep[1] = False
    without = net_of(name).eval()
    without.blocks[1] = nn.Identity() if name.endswith("v2,width=4") else nn.ReLU()
    h = without.stem(x)
    for block in without.blocks:
        h = block(h)
    torch.testing.assert_close(net(x, keep), without.head(h))


def test_blocks_are_kept_image_by_image() -> None:
    net, x = net_of("cifar-resnet:14,width=4").eval(), torch.randn(4, 3, 8, 8)
    keep = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) > 0.4
    one_by_one = torch.cat([net(x[i : i + 1], keep[i]) for i in range(4)])
    torch.testing.assert_close(net(x, keep), one_by_one)


def test_blockdrop_computes_the_blocks_that_its_policy_chooses() -> None:
    torch.manual_seed(0)
    net = net_of("cifar-resnet:14,width=4")
    chosen = torch.tensor([True, False, True, False, False, True])
    dropper, x = BlockDrop(net, policy_for(net, width=4)).eval(), torch.randn(3, 3, 8, 8)
    head = list(dropper.policy.modules())[-1]
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.where(chosen, 3.0, -3.0))
    computed: list[int] = []
    for number in range(6):
        block_of(net, number).branch.register_forward_hook(lambda *_, number=number: computed.append(number))
    output = dropper(x)
    assert computed == [0, 2, 5]
    torch.testing.assert_close(output, net(x, chosen))


def test_blockdrop_explores_in_training_and_is_rewarded_for_few_blocks() -> None:
    torch.manual_seed(0)
    net = net_of("cifar-resnet:14,width=4")
    dropper = BlockDrop(net, policy_for(net, width=4))
    keep, log_probability = dropper.select(torch.randn(64, 3, 8, 8))
    assert 0 < keep.double().mean() < 1
    log_probability.sum().backward()
    assert all(tensor.grad is not None for tensor in dropper.policy.parameters())
    keep = torch.tensor([[True, False, False, False], [True, True, True, True], [True, True, False, False]])
    expected = torch.tensor([1 - 1 / 16, 0.0, -5.0], dtype=torch.float64)
    torch.testing.assert_close(reward(keep, torch.tensor([True, True, False]), 5.0), expected)
