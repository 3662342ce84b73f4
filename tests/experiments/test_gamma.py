"""What is watched of gammas and branches, on nets whose answer is known."""

from dataclasses import replace

import pytest
import torch

from resexp.core.lab import Lab
from resexp.core.result import Result
from resexp.core.tabular import to_csv
from resexp.experiments.gamma import Gamma, variance, watch
from resexp.nets.residual import ResidualNet
from resexp.training.data.dataset import Data, Examples
from resexp.training.fit import Moment
from resexp.training.side_by_side import SideBySide

SMALL = {"blocks": 3, "width": 4, "limit": 64, "batch": 16, "epochs": 2, "seeds": 2}
LAB = Lab("gamma", seed=2)


def nets(count: int = 2) -> list[ResidualNet]:
    torch.manual_seed(0)
    made = [Gamma.parse(SMALL).net(1, 10) for _ in range(count)]
    return [net for net in made if isinstance(net, ResidualNet)]


def noise() -> Data:
    generator = torch.Generator().manual_seed(1)
    examples = Examples(torch.randn(32, 1, 8, 8, generator=generator), torch.zeros(32, dtype=torch.int64))
    return Data("noise", examples, examples, classes=10)


def test_gammas_and_shares_are_those_of_each_net_alone() -> None:
    """Side by side, and with gamma of the middle block set: the share of a branch goes as gamma^2 of its variance."""
    data, some = noise(), nets()
    shares = []
    for gamma in (1.0, 0.5, 0.0):
        for net in some:
            torch.nn.init.constant_(net.blocks[1].branch[3].weight, gamma)  # norm, relu, conv, norm, relu, conv
        both = watch(data)(Moment(0, 0, 1, SideBySide(some), slice(0, 2)))
        for number, net in enumerate(some):
            alone = watch(data)(Moment(0, 0, 1, SideBySide([net]), slice(number, number + 1)))
            torch.testing.assert_close(both["share"][number], alone["share"][0], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(both["gamma"], torch.tensor([[1.0, gamma, 1.0]] * 2))
        shares.append(both["share"][:, 1])
    of_skip = [share / (1 - share) for share in shares]  # v_branch / v_skip
    torch.testing.assert_close(of_skip[1], of_skip[0] / 4, rtol=1e-4, atol=0)
    assert shares[2].eq(0).all()
    for net in some:
        torch.nn.init.constant_(net.blocks[0].branch[1].weight, 0.0)  # conv, norm, relu, conv, after a shared norm
    assert watch(data)(Moment(0, 0, 1, SideBySide(some), slice(0, 2)))["share"][:, 0].eq(0).all()


def test_watching_changes_nothing() -> None:
    side = SideBySide(nets())
    before = {name: value.clone() for name, value in side.state_dict().items()}
    watch(noise())(Moment(0, 0, 1, side, slice(0, 2)))
    assert all(torch.equal(value, before[name]) for name, value in side.state_dict().items())


def test_a_variance_is_of_each_net() -> None:
    h = torch.tensor([1.0, -1.0, 3.0, -3.0, 5.0, 5.0, 0.0, 2.0]).view(4, 2).T.reshape(2, 4, 1, 1)
    torch.testing.assert_close(variance(h, 2), torch.tensor([5.0, 0.5]))


def test_true_labels_are_said_not_to_show_it() -> None:
    told = Gamma.parse({**SMALL, "labels": "true"}).compute(LAB)
    assert any("Does not show here" in note for note in told.notes)
    assert {f.quantity: f.verdict for f in told.families}["later_gammas_larger"] == "underpowered"  # two seeds


def ends(result: Result, quantity: str) -> float:
    value = [row["mean"] for row in result.rows if row["quantity"] == quantity][-1]
    assert isinstance(value, float)
    return value


def test_random_labels_are_harder_and_drawn_once() -> None:
    """The same labels in every epoch and for every net, others than the true ones, others for another seed."""
    longer = {**SMALL, "width": 8, "limit": 128, "epochs": 10}
    random, true = (Gamma.parse({**longer, "labels": labels}).compute(LAB) for labels in ("random", "true"))
    assert ends(random, "train_error") > ends(true, "train_error") + 0.1
    again = Gamma.parse(longer).compute(LAB)
    assert to_csv(random.columns, random.rows) == to_csv(again.columns, again.rows)
    other = Gamma.parse(longer).compute(replace(LAB, seed=3))
    assert to_csv(random.columns, random.rows) != to_csv(other.columns, other.rows)


@pytest.mark.parametrize(("least", "holds"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_order_is_asked_of_the_excess(least: float, holds: float) -> None:
    """With the gammas of a history set by hand: 1.5 in the last third against 1."""
    experiment = Gamma.parse({**SMALL, "least": least})
    history = experiment.train(LAB)
    gammas = torch.ones(3, 2, 3)
    gammas[-1, :, -1] = 1.5
    changed = replace(history, watched={**history.watched, "gamma": gammas})
    (row,) = (row for row in experiment.rows(changed) if row.quantity == "later_gammas_larger")
    assert row.samples.mantissa.tolist() == [holds] * 2
