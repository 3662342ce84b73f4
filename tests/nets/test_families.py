"""Each family at a small size, forward and backward, and what sets it apart."""

import pytest
import torch
from torch import Tensor, nn

from resexp.core.errors import UsageError
from resexp.nets import unet, vnet, zoo
from resexp.nets.blocks import Unit
from resexp.nets.densenet import channels_after, dense_block
from resexp.nets.highway import HighwayLayer
from resexp.nets.hourglass import StackedHourglass
from resexp.nets.recipe import Recipe
from resexp.nets.shake_shake import ShiftedSkip
from resexp.nets.unet_plus_plus import UNetPlusPlus

SMALL = {
    "resnet:2-1-1-1-basic,width=8,classes=5": ((3, 64, 64), (5,)),
    "resnet:1-1-1-1-bottleneck-v2,width=8,classes=5": ((3, 64, 64), (5,)),
    "cifar-resnet:8-b,width=4": ((3, 16, 16), (10,)),
    "cifar-resnet:11-v2,width=4": ((3, 16, 16), (10,)),
    "cifar-resnet:8,width=4,scheme=fixup": ((3, 16, 16), (10,)),
    "plain:8,width=4": ((3, 16, 16), (10,)),
    "wrn:10-2,width=4,drop=dropout:0.3": ((3, 16, 16), (10,)),
    "resnext:11-2x4d,width=8": ((3, 16, 16), (10,)),
    "shake-shake:8-2x8d": ((3, 16, 16), (10,)),
    "densenet:bc-10-4": ((3, 16, 16), (10,)),
    "densenet:7-4": ((3, 16, 16), (10,)),
    "vgg:11,width=4,hidden=16,classes=5": ((3, 32, 32), (5,)),
    "highway:4,width=8,inputs=12": ((12,), (10,)),
    "mlp:5x8,branch=2,scheme=residual,norm=batch,outputs=3": ((1,), (3,)),
    "mlp:5x8,branch=2,scheme=fixup": ((1,), (1,)),
    "unet,depth=2,width=4": ((1, 44, 48), (2, 4, 8)),
    "unet:padded,depth=2,width=4,norm=batch": ((1, 8, 12), (2, 8, 12)),
    "unet3d,depth=1,width=2": ((3, 20, 22, 20), (3, 4, 6, 4)),
    "vnet,width=4,channels=2": ((2, 16, 16, 16), (2, 16, 16, 16)),
    "unet++,depth=3,width=4": ((1, 16, 16), (1, 16, 16)),
    "hourglass:2,width=16,joints=3": ((3, 64, 64), (3, 16, 16)),
}


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    taken, given = SMALL[name]
    net = zoo.factory(name)()
    output = net(torch.randn(4, *taken))
    outputs = output if isinstance(output, list) else [output]
    assert [tuple(scores.shape) for scores in outputs] == [(4, *given)] * len(outputs)
    sum(scores.square().sum() for scores in outputs).backward()
    for parameter, tensor in net.named_parameters():
        assert tensor.grad is not None, parameter
        assert tensor.grad.isfinite().all(), parameter


def test_a_closed_gate_carries_its_input_on() -> None:
    layer, h = HighwayLayer(6, -2.0, "he"), torch.randn(3, 6)
    assert layer.gate.bias.eq(-2).all()
    nn.init.zeros_(layer.gate.weight)
    gate = torch.sigmoid(torch.tensor(-2.0))
    torch.testing.assert_close(layer(h), gate * layer.transform(h).relu() + (1 - gate) * h)


def test_skip_of_shake_shake_sees_two_kinds_of_pixels() -> None:
    skip, h = ShiftedSkip(Recipe("none"), Unit(1, 2, 2, stride=2)), torch.rand(1, 1, 4, 4, requires_grad=True)
    here, beside = skip(h).unbind(1)
    seen = [
        torch.autograd.grad(half.sum(), h, retain_graph=True)[0][0, 0].nonzero().tolist() for half in (here, beside)
    ]
    assert seen == [
        [[0, 0], [0, 2], [2, 0], [2, 2]],
        [[1, 1]],
    ]  # a shift by one leaves zeros at the left and at the top


def test_dense_block_of_figure_11_9() -> None:
    assert channels_after(3, 32, 3) == [3, 35, 67, 99]
    block, image = dense_block(Recipe(), 3, 32, 3, bottleneck=False), torch.randn(2, 3, 8, 8)
    maps = block(image)
    assert maps.shape[1] == 99
    torch.testing.assert_close(maps[:, :3], image)
    torch.testing.assert_close(maps[:, :67], block[:2](image))


def test_unet_takes_572_and_gives_388() -> None:
    with torch.device("meta"):
        assert zoo.factory("unet")()(torch.zeros(1, 1, 572, 188)).shape == (1, 2, 388, 4)
        assert zoo.factory("unet3d")()(torch.zeros(1, 3, 116, 132, 132)).shape == (1, 3, 28, 44, 44)
    assert unet.side_out(572, 4, padded=False) == 388
    assert zoo.factory("unet,depth=1,width=2")()(torch.zeros(1, 1, 18, 20)).shape == (1, 2, 2, 4)
    assert zoo.input_shape("unet") == (1, 572, 572)
    assert zoo.input_shape("unet3d") == (3, 116, 132, 132)
    assert zoo.input_shape("unet3d,depth=4") == (3, 188, 188, 188)


def test_unet_says_which_sides_fit() -> None:
    with torch.device("meta"), pytest.raises(UsageError, match=r"side of 571 pixels .* 556 or 572 does"):
        zoo.factory("unet")()(torch.zeros(1, 1, 572, 571))
    with pytest.raises(UsageError, match="depth 4; 188 does"):
        unet.check_side(100, 4, padded=False)


def test_what_comes_from_the_way_down_is_cropped_in_the_middle() -> None:
    way = torch.arange(7 * 9.0).view(1, 1, 7, 9)
    torch.testing.assert_close(unet.cropped(way, torch.zeros(1, 1, 4, 5)), way[..., 1:5, 2:7])


def test_shallow_outputs_of_unet_plus_plus_do_not_see_deep_nodes() -> None:
    net = zoo.factory("unet++,depth=3,width=4,supervision=true")()
    assert isinstance(net, UNetPlusPlus)
    outputs = net(torch.randn(2, 1, 16, 16))
    assert len(outputs) == 3
    outputs[1].sum().backward()
    reached = {name for name, tensor in net.named_parameters() if tensor.grad is not None}
    assert {name.split(".")[1] + name.split(".")[2] for name in reached if name.startswith("node")} == {
        "00", "01", "02", "10", "11", "20",
    }  # fmt: skip


def test_each_hourglass_sees_the_heatmaps_before_it_and_none_after() -> None:
    net = zoo.factory("hourglass:3,width=16,joints=3")()
    assert isinstance(net, StackedHourglass)
    net(torch.randn(2, 3, 64, 64))[1].sum().backward()

    def reached(module: nn.Module) -> bool:
        return all(tensor.grad is not None for tensor in module.parameters())

    assert reached(net.heatmaps[0])
    assert reached(net.heatmaps_back[0])
    assert not any(reached(part[2]) for part in (net.hourglasses, net.heatmaps))


def test_vnet_sees_as_far_as_the_paper_says() -> None:
    """Receptive fields of table 1 of Milletari et al.; an up-convolution counts as one pixel of the finer map there."""
    fields, field, step = [], 1, 1
    down, up = vnet.CONVOLUTIONS["paper"]
    for level, convolutions in enumerate(down):
        field += step if level else 0
        step = 1 << level
        field += 4 * step * convolutions
        fields.append(field)
    for convolutions in up:
        step //= 2
        field += step + 4 * step * convolutions
        fields.append(field)
    assert fields == [5, 22, 72, 172, 372, 476, 528, 546, 551]


def test_stage_of_vnet_is_residual_and_the_first_repeats_its_input() -> None:
    stage = vnet.stage(Recipe("none", dimensions=3), 1, 4, 1, vnet.Repeat(4))
    for tensor in stage.branch.parameters():
        nn.init.zeros_(tensor)
    volume: Tensor = torch.rand(2, 1, 4, 4, 4)
    torch.testing.assert_close(stage(volume), volume.expand(2, 4, 4, 4, 4))
