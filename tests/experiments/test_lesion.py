"""Lesions: what is cut is cut, and what is moved is moved."""

import numpy as np
import pytest
import torch
from torch import nn

from resexp.core.assessment import assess
from resexp.core.lab import Lab
from resexp.core.result import STATISTICS_COLUMNS, Result
from resexp.experiments.lesion import CLAIMS, SINGLE, Lesion
from resexp.nets import zoo
from resexp.nets.residual import ResidualNet
from resexp.nets.small_vgg import small_vgg
from resexp.training import lesions
from resexp.training.data.dataset import Examples

SMALL = {"depth": 14, "width": 2, "seeds": 2, "limit": 64, "batch": 32, "epochs": 2, "choices": 2}


def net(name: str) -> nn.Module:
    """A net whose norms are no identities and whose running statistics are not the batch's."""
    torch.manual_seed(3)
    made = small_vgg(side=8, width=4, channels=1, classes=10) if name == "vgg" else zoo.factory(name)()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.3, 0.3)  # type: ignore[arg-type]
    return made


def examples(count: int) -> Examples:
    random = torch.Generator().manual_seed(5)
    return Examples(torch.randn(count, 1, 8, 8, generator=random), torch.randint(10, (count,), generator=random))


def outputs(made: nn.Module, x: torch.Tensor, order: lesions.Order) -> torch.Tensor:
    """Outputs by the chain, one order at a time and without anything kept."""
    chain = lesions.chain_of(made)
    h = chain.stem(x)
    for place, layer in enumerate(order):
        h = chain.layers[place].without(h) if layer == lesions.GONE else chain.layers[layer].whole(h)
    head: torch.Tensor = chain.head(h)
    return head


def error(given: torch.Tensor, data: Examples) -> float:
    """Share of wrong examples."""
    return float((given.argmax(1) != data.targets).double().mean())


@pytest.mark.parametrize("name", ["cifar-resnet:14,width=4,channels=1", "plain:14,width=4,channels=1", "vgg"])
@torch.no_grad()
def test_a_chain_is_its_net_and_lesions_are_what_they_say(name: str) -> None:
    made, data = net(name).eval(), examples(300)
    chain = lesions.chain_of(made)
    places = len(chain.layers)
    assert places == (7 if name == "vgg" else 6)
    swapped = chain.stages(data.inputs[:1])[0][:2]
    order = list(chain.intact)
    order[swapped[0]], order[swapped[1]] = swapped[1], swapped[0]
    orders = [chain.intact, lesions.deletion(places, [2]), lesions.deletion(places, range(places)), tuple(order)]
    found = [outputs(made, data.inputs, lesion) for lesion in orders]
    torch.testing.assert_close(found[0], made(data.inputs))
    assert all((found[0] - other).abs().max() > 1e-3 for other in found[1:])
    assert chain.errors(data, orders) == pytest.approx([error(given, data) for given in found])


@torch.no_grad()
def test_a_deleted_block_is_the_shortcut_alone() -> None:
    made, data = net("cifar-resnet:14,width=4,channels=1").eval(), examples(200)
    assert isinstance(made, ResidualNet)
    keep = torch.tensor([True, True, False, True, False, True])
    found = lesions.chain_of(made).errors(data, [lesions.deletion(6, [2, 4])])
    assert found[0] == pytest.approx(error(made(data.inputs, keep), data))


def test_batch_statistics_are_those_of_the_lesioned_net_and_leave_nothing_behind() -> None:
    made, data = net("cifar-resnet:14,width=4,channels=1"), examples(200)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    order = lesions.deletion(6, [1])
    found = [lesions.chain_of(made).errors(data, [order], batch_statistics=b)[0] for b in (False, True)]
    assert made.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    with torch.no_grad():
        expected = error(outputs(made.train(), data.inputs, order), data)
    assert found[1] == pytest.approx(expected)
    assert found[0] != found[1]


def test_permutations_move_as_many_as_said_and_only_within_stages() -> None:
    random, stages = np.random.default_rng(0), [[0, 1, 2, 3, 4], [6, 7], [9]]
    stages = [stage for stage in stages if len(stage) > 1]
    assert lesions.movable(stages) == [2, 3, 4, 5, 6, 7]
    assert lesions.movable([[1, 2], [5, 6]]) == [2, 4]
    for count in lesions.movable(stages):
        for _ in range(20):
            order = lesions.random_permutation(random, 10, stages, count)
            assert sorted(order) == list(range(10))
            moved = {place for place, layer in enumerate(order) if place != layer}
            assert len(moved) == count
            assert all({order[place] for place in stage} == set(stage) for stage in stages)
            assert lesions.kendall_tau(order) < 1
    assert lesions.kendall_tau((0, 1, 2, 3)) == 1
    assert lesions.kendall_tau((3, 2, 1, 0)) == -1
    assert lesions.kendall_tau((1, 0, 2, 3)) == pytest.approx(1 - 2 / 6)


def run(**more: object) -> Result:
    return Lesion.parse({**SMALL, **more}).compute(Lab("lesion", seed=1))


def test_rows_are_the_declared_ones() -> None:
    whole = run()
    assert whole.columns == ("net", "number", "quantity", *STATISTICS_COLUMNS)
    places = {(row["quantity"], row["net"]) for row in whole.rows}
    assert {("error_without_layer", kind) for kind in ("residual", "plain", "vgg")} <= places
    intact = {row["net"]: row["mean"] for row in whole.rows if row["quantity"] == "error_by_number_deleted"}
    assert set(intact) == {"residual", "plain", "vgg"}
    for quantity in ("path_energy_share", "path_energy_share_at_start"):
        shares = [row["mean"] for row in whole.rows if row["quantity"] == quantity]
        assert len(shares) == 7
        assert sum(x for x in shares if isinstance(x, float)) == pytest.approx(1)


def test_verdicts_are_on_the_median_over_layers() -> None:
    """One layer that hurts does not count against a residual net, one that does not counts not for a plain one."""
    experiment = Lesion.parse({"seeds": 8})

    def verdicts(residual: list[float], plain: list[float]) -> dict[str, str]:
        measured = {}
        for kind, errors in {"residual": residual, "plain": plain, "vgg": plain}.items():
            found = {(quantity, k): [e] * 8 for quantity in SINGLE for k, e in enumerate(errors, 1)}
            shares = {(q, n): [0.5] * 8 for q in ("path_energy_share", "path_energy_share_at_start") for n in (0, 1)}
            found |= {("error_by_number_deleted", 0): [0.0] * 8} | (shares if kind == "residual" else {})
            measured[kind] = None, found
        rows = experiment.rows(measured)  # type: ignore[arg-type]
        return {f.quantity: f.verdict for f in assess(experiment, rows).families if f.quantity in CLAIMS}

    assert set(verdicts([0.9, 0.05, 0.05], [0.3, 0.9, 0.8]).values()) == {"agree"}
    assert set(verdicts([0.2, 0.3, 0.05], [0.3, 0.4, 0.8]).values()) == {"disagree"}


@pytest.mark.parametrize(
    ("wrong", "what"),
    [({"depth": 30}, "6 n \\+ 2"), ({"survives": 0.6}, "at most --fails 0.5"), ({"data": "digit"}, "did you mean")],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object], what: str) -> None:
    with pytest.raises(Exception, match=what):
        Lesion.parse(wrong)
