"""Costs of regularised nets that are known, and a policy that must learn."""

from typing import Any

import pytest
import torch
from torch import nn

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.result import Result
from resexp.experiments.regularisers import ALL, Regularisers
from resexp.nets.blockdrop import BlockDrop
from resexp.nets.residual import ResidualNet
from resexp.nets.zoo import factory
from resexp.training.block_policy import policy_loss, train_policy, used_blocks
from resexp.training.branch_counts import branch_operations, operations
from resexp.training.data.dataset import Data, Examples
from resexp.training.regularised import lesion_error, mix_evenly

SMALL = {"seeds": 2, "limit": 64, "batch": 16, "epochs": 2, "width": 4, "depth": 8}
LAB = Lab("regularisers", seed=4)


def computed(**more: Any) -> Result:
    return Regularisers.parse({**SMALL, **more}).compute(LAB)


def net(name: str = "cifar-resnet:8,width=4,channels=1") -> ResidualNet:
    torch.manual_seed(0)
    made = factory(name)()
    assert isinstance(made, ResidualNet)
    return made


def labelled(inputs: torch.Tensor, targets: torch.Tensor) -> Data:
    examples = Examples(inputs, targets)
    return Data("made", examples, examples, classes=10)


def test_all_are_trained_beside_their_baselines_and_cost_what_they_do() -> None:
    result = computed(ghost=8)
    ends = {
        (row["quantity"], row["regulariser"]): row["mean"] for row in result.rows if row["epoch"] == SMALL["epochs"]
    }
    for name in ALL:
        assert ("test_error", name) in ends
        assert (("test_error_change", name) in ends) == (name not in ("none", "skipinit", "two-branches"))
    for name in ("none", "randomdrop", "shakedrop", "ghost", "skipinit", "skipinit-dropout"):
        assert ends["training_cost", name] == ends["evaluation_cost", name] == 1.0
    assert ends["test_error", "resdrop"] == ends["test_error", "stochastic-depth"]
    assert 0.4 < float(ends["training_cost", "stochastic-depth"] or 0) < 1.0
    assert float(ends["training_cost", "shake-shake"] or 0) > 1.5  # no fewer blocks than one a stage, of two branches
    assert ends["evaluation_cost", "two-branches"] == ends["evaluation_cost", "shake-shake"]
    assert len({ends["train_loss", name] for name in ALL if name not in ("resdrop", "blockdrop")}) == len(ALL) - 2


def test_baselines_are_trained_though_not_asked_for() -> None:
    result = computed(regulariser=("shake-shake",), epochs=1)
    assert {row["regulariser"] for row in result.rows} == {"none", "two-branches", "shake-shake"}


def test_an_even_mixture_is_shake_shake_in_evaluation() -> None:
    random = net("shake-shake:8-2x4d,channels=1,norm=layer")
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        wanted = random.eval()(x)
        assert not torch.allclose(random.train()(x), wanted)
        mix_evenly(random)
        torch.testing.assert_close(random.train()(x), wanted)


def test_operations_are_those_of_the_convolutions() -> None:
    """On 8 x 8 pixels: stem 9 x 4, branches of two convolutions of 9 c c' weights, a classifier."""
    branches = [2 * 64 * 9 * 2 * 16, 2 * 16 * 9 * (4 * 8 + 64), 2 * 4 * 9 * (8 * 16 + 256)]
    assert branch_operations(net(), (1, 8, 8)) == branches
    assert operations(net(), (1, 8, 8)) == 2 * 64 * 9 * 4 + sum(branches) + 2 * 16 * 10


def test_a_lesion_takes_out_one_block_after_another() -> None:
    """Blocks whose branches are zero are not missed; where the labels are the answers of the net, others are."""
    whole, x = net().eval(), torch.randn(64, 1, 8, 8)
    examples = Examples(x, whole(x).argmax(1))
    wrong = []
    for number in range(3):
        keep = torch.arange(3) != number
        wrong.append(float((whole(x, keep).argmax(1) != examples.targets).double().mean()))
    assert lesion_error(whole, examples) == sorted(wrong)[1] > 0
    for block in whole.blocks:
        for module in block.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.zeros_(module.weight)
    assert lesion_error(whole, Examples(x, whole(x).argmax(1))) == 0.0


def test_a_policy_learns_to_leave_out_blocks_that_do_nothing() -> None:
    """Two of three branches are zero; the third decides, since labels are the answers of the net with it."""
    whole, x = net().eval(), torch.randn(128, 1, 8, 8)
    for number in (0, 2):
        nn.init.zeros_(whole.blocks[number].branch[4].weight)  # conv, norm, relu, conv, norm
    with torch.no_grad():
        with_it, without = (whole(x, torch.tensor([True, kept, True])).argmax(1) for kept in (True, False))
    tells = with_it != without
    data = labelled(x[tells], with_it[tells])
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    selective = train_policy(whole, data, LAB, epochs=60, batch=len(data.train), penalty=1.0, width=4, number=0)
    error, used = used_blocks(selective, data.test)
    assert error < 0.1
    assert used[1] > 0.9
    assert max(used[0], used[2]) < 0.5
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())


def test_the_gradient_of_the_policy_is_that_of_its_expected_reward() -> None:
    """Mean of many draws against the derivative of the reward summed over all 2^K choices, by a policy of biases."""
    whole = net().eval()
    x = torch.randn(1, 1, 8, 8).expand(20_000, -1, -1, -1)
    y = whole(x[:1]).argmax(1).expand(len(x))

    class Biases(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logits = nn.Parameter(torch.tensor([0.3, -0.4, 0.8]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(x), -1)

    policy = Biases()
    torch.manual_seed(1)
    policy_loss(BlockDrop(whole, policy), x, y, penalty=0.7).backward()  # type: ignore[no-untyped-call]
    choices = torch.tensor([[bool(n >> k & 1) for k in range(3)] for n in range(8)])
    right = torch.cat([whole(x[:1], choice).argmax(1) == y[:1] for choice in choices])
    rewards = torch.where(right, 1 - choices.double().mean(1).square(), -0.7)
    used = torch.sigmoid(policy.logits)
    used = 0.8 * used + 0.2 * (1 - used)
    expected = (torch.where(choices, used, 1 - used).prod(1) * rewards).sum()
    (wanted,) = torch.autograd.grad(-expected, policy.logits)
    assert policy.logits.grad is not None
    torch.testing.assert_close(policy.logits.grad, wanted.float(), rtol=0.0, atol=0.01)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"regulariser": ("none", "none")}, "once"),
        ({"depth": 10}, "6 n \\+ 2"),
        ({"regulariser": ("shake",)}, "shake-shake"),
    ],
)
def test_what_has_no_meaning_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Regularisers.parse(values)
