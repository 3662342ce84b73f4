"""A probe leaves the net, its surroundings and the random numbers as they were."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import resexp
from resexp.core.errors import ResexpError
from resexp.probing.marking import ATTRIBUTE
from tests.probing.nets import Convolutional, batch


class Net(nn.Module):
    """Batch norms, dropout, a frozen layer, a shared weight, a module in evaluation, a buffer that forward replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Convolutional(lambda c: nn.BatchNorm2d(c)) for _ in range(2)), nn.Dropout(0.1))
        self.head, self.tied = nn.Linear(4, 4), nn.Linear(4, 4)
        self.tied.weight = self.head.weight
        self.blocks[0].first.weight.requires_grad_(False)  # type: ignore[union-attr]
        self.register_buffer("calls", torch.zeros(()))
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        if self.fails:
            raise ValueError("on purpose")
        return self.tied(self.head(self.blocks(x).mean((2, 3))))


def everything(net: nn.Module) -> dict[str, object]:
    state = {name: value.clone() for name, value in net.state_dict().items()}
    return {
        **state,
        "torch": torch.get_rng_state(),
        "numpy": torch.tensor(np.random.get_state()[1].astype(np.int64)),  # type: ignore[index, union-attr]
        "python": torch.tensor(random.getstate()[1]),
        "modes": torch.tensor([m.training for m in net.modules()]),
        "grad": torch.tensor([p.requires_grad for p in net.parameters()]),
        "threads": torch.tensor(torch.get_num_threads()),
    }


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(fails: bool) -> None:
    net = Net()
    net.blocks[1].eval()
    net.head.weight.grad = torch.ones_like(net.head.weight)
    net.fails = fails
    before = everything(net)
    if fails:
        with pytest.raises(ResexpError, match="on purpose"):
            resexp.probe(net, batch(4, 6, 6), draws=2)
    else:
        resexp.probe(net, batch(4, 6, 6), draws=3, seed=5)
    after = everything(net)
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name  # type: ignore[arg-type]
    assert torch.equal(net.head.weight.grad, torch.ones_like(net.head.weight))
    assert net.tied.weight is net.head.weight
    assert all(p.grad is None for p in net.parameters() if p is not net.head.weight)
    for module in net.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert all(ATTRIBUTE not in vars(t) for t in (*net.parameters(), *net.buffers()))


def test_the_net_goes_on_training_as_if_nothing_had_been() -> None:
    def trained(probed: bool) -> Tensor:
        torch.manual_seed(0)
        net = Net()
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        for step in range(3):
            if probed:
                resexp.probe(net, batch(4, 6, 6), draws=2)
            optimiser.zero_grad()
            net(batch(4, 6, 6, seed=step)).square().mean().backward()
            optimiser.step()
        return nn.utils.parameters_to_vector(net.parameters())

    assert torch.equal(trained(probed=True), trained(probed=False))
