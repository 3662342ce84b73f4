"""Nets side by side are what they are alone: outputs, gradients, and the first steps of training."""

import copy
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from resexp.core.lab import Lab
from resexp.nets import zoo
from resexp.training.batches import Batches
from resexp.training.data.cells import cells
from resexp.training.data.dataset import Data, Examples
from resexp.training.fit import fit
from resexp.training.initial import initialised
from resexp.training.plan import Plan, convolutions_alone
from resexp.training.side_by_side import CannotJoinError, SideBySide

LAB = Lab("side-by-side", seed=5, dtype="float64")
SMALL = "width=4,channels=2"
IMAGES = [
    f"cifar-resnet:8,{SMALL}",
    f"cifar-resnet:14-b,{SMALL}",
    f"cifar-resnet:11,{SMALL}",
    f"cifar-resnet:8-v2,{SMALL}",
    f"plain:8,{SMALL}",
    f"cifar-resnet:8,{SMALL},scheme=skipinit",
    f"cifar-resnet:8,{SMALL},scheme=rezero",
    f"cifar-resnet:8,{SMALL},scheme=fixup",
    f"cifar-resnet:8,{SMALL},scheme=rescaled",
    f"cifar-resnet:8,{SMALL},norm=group:2",
    f"cifar-resnet:8,{SMALL},norm=layer",
    f"cifar-resnet:8,{SMALL},norm=instance",
    f"cifar-resnet:8,{SMALL},norm=ghost:4",
    f"cifar-resnet:8,{SMALL},norm=renorm",
]
VECTORS = [
    "mlp:5x7,inputs=32,outputs=10,scheme=residual,norm=batch",
    "mlp:5x7,branch=2,inputs=32,outputs=10,scheme=fixup",
]


def images(examples: int = 24, side: int = 8) -> Data:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(examples, 2, side, side, generator=generator, dtype=torch.float64)
    y = torch.randint(10, (examples,), generator=generator)
    return Data("noise", Examples(x, y), Examples(x[:8], y[:8]), classes=10)


@pytest.mark.parametrize("name", [*IMAGES, *VECTORS])
def test_the_first_steps_are_those_of_separate_training(name: str) -> None:
    """Weights, buffers and losses after four steps of momentum and decay, in float64, against torch.optim.SGD."""
    data = images(side=4) if name in VECTORS else images()
    data = data.as_vectors() if name in VECTORS else data
    plan = Plan(epochs=2, batch=12, rate=0.05, weight_decay=1e-2, drops=(0.5,))
    nets = initialised(zoo.factory(name), LAB, 3)
    alone = copy.deepcopy(nets)
    assert SideBySide(nets).count == 3  # they can be joined
    history = fit(nets, data, plan, LAB)
    for number, net in enumerate(alone):
        losses = train_alone(net, data, plan, number)
        torch.testing.assert_close(history.step_loss[:, number], losses, rtol=1e-9, atol=1e-12)
        for key, value in net.state_dict().items():
            torch.testing.assert_close(nets[number].state_dict()[key], value, rtol=1e-7, atol=1e-9, msg=key)


@pytest.mark.parametrize("skips", ["true", "false"])
def test_u_nets_are_those_of_separate_training_pixel_by_pixel(skips: str) -> None:
    name = f"unet,depth=1,width=2,channels=1,norm=batch,skips={skips}"
    data = cells(LAB, train=12, test=2, side=8, border=8).to(LAB.torch_device, LAB.torch_dtype)
    plan = Plan(epochs=2, batch=6, rate=0.05, weight_decay=1e-2, drops=(0.5,))
    nets = initialised(zoo.factory(name), LAB, 3)
    alone = copy.deepcopy(nets)
    assert SideBySide(nets).count == 3
    history = fit(nets, data, plan, LAB)
    for number, net in enumerate(alone):
        losses = train_alone(net, data, plan, number)
        torch.testing.assert_close(history.step_loss[:, number], losses, rtol=1e-9, atol=1e-12)
        for key, value in net.state_dict().items():
            torch.testing.assert_close(nets[number].state_dict()[key], value, rtol=1e-7, atol=1e-9, msg=key)


def train_alone(net: nn.Module, data: Data, plan: Plan, number: int) -> torch.Tensor:
    """Losses of a loop as people write it, on the same mini-batches."""
    assert isinstance(plan.rate, float)
    optimiser = torch.optim.SGD(net.parameters(), lr=plan.rate, momentum=plan.momentum, weight_decay=plan.weight_decay)
    losses = []
    batches = Batches(data.train, plan.batch, LAB, [number], shift=False, mirror=False)
    net.train()
    for epoch in (1, 2):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * (0.1 if epoch == 2 else 1.0)
        for x, y in batches.epoch(epoch):
            optimiser.zero_grad()
            loss = cross_entropy(net(x[:, 0]), y[:, 0])
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
    return torch.stack(losses)


@pytest.mark.parametrize(("dtype", "rate", "off"), [("float64", 1e200, 1e-9), ("float32", 1e30, 1e-3)])
def test_a_net_that_diverges_leaves_the_others_alone(
    dtype: Literal["float32", "float64"], rate: float, off: float
) -> None:
    """The first net at a rate that makes it nan within an epoch, beside one at its own rate."""
    lab = replace(LAB, dtype=dtype)
    data, name = images().to(lab.torch_device, lab.torch_dtype), f"cifar-resnet:8,{SMALL},norm=none"
    plan = Plan(epochs=3, batch=12, rate=(rate, 0.01), weight_decay=0.0)
    nets = initialised(zoo.factory(name), lab, 2)
    alone = copy.deepcopy(nets[1:])
    history = fit(nets, data, plan, lab)
    assert history.diverged[0] in {1, 2, 3}
    assert history.diverged[1] is None
    assert history.train_loss[-1, 0].isnan()
    assert history.test_error[-1].isnan().tolist() == [True, False]  # not the share of whatever class nan falls into
    single = fit(alone, data, replace(plan, rate=0.01), lab, first=1)
    torch.testing.assert_close(history.train_loss[:, 1], single.train_loss[:, 0], rtol=off, atol=0)


def test_decay_reaches_only_what_the_plan_says() -> None:
    """At rate zero but for decay nothing moves by gradients: with gradient zero, convolutions alone shrink."""
    nets = initialised(zoo.factory(f"cifar-resnet:8,{SMALL}"), LAB, 2)
    before = copy.deepcopy(nets[1].state_dict())
    data = images()
    plan = Plan(epochs=1, batch=24, rate=0.5, momentum=0.0, weight_decay=0.1, decays=convolutions_alone)

    def no_gradient(moment: object) -> None:
        for link in moment.net.links:  # type: ignore[attr-defined]
            if link.joined.grad is not None:
                link.joined.grad.zero_()

    fit(nets, data, plan, LAB, before_step=no_gradient)
    for name, value in nets[1].named_parameters():
        factor = 1 - 0.5 * 0.1 if value.dim() == 4 else 1.0
        torch.testing.assert_close(value.detach(), before[name] * factor, msg=name)


def test_what_mixes_channels_is_not_joined() -> None:
    with pytest.raises(CannotJoinError, match="Dense"):
        SideBySide([zoo.factory("densenet:40-12")() for _ in range(2)])
    nets = [zoo.factory(f"cifar-resnet:{depth},{SMALL}")() for depth in (8, 14)]
    with pytest.raises(CannotJoinError):
        SideBySide(nets)


def test_nets_that_cannot_be_joined_are_trained_alone() -> None:
    """Weight normalisation is not known here; the curves of two such nets are those of each."""
    data, plan = images(), Plan(epochs=1, batch=12, rate=0.01)
    nets = initialised(zoo.factory(f"cifar-resnet:8,{SMALL},norm=weight"), LAB, 2)
    alone = copy.deepcopy(nets[1:])
    both = fit(nets, data, plan, LAB)
    assert torch.equal(both.step_loss[:, 1], fit(alone, data, plan, LAB, first=1).step_loss[:, 0])
