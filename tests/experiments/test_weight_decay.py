"""The equivalence of decay and an exponential rate, and what epsilon does to it."""

import math
from typing import Any

import pytest
import torch

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.result import Result
from resexp.experiments.weight_decay import WeightDecay
from resexp.nets.zoo import factory
from resexp.training.scale_invariance import difference, set_epsilon

SMALL = {"seeds": 2, "limit": 64, "batch": 16, "epochs": 2, "width": 2}
LAB = Lab("weight-decay", seed=4)


def computed(**more: Any) -> Result:
    return WeightDecay.parse({**SMALL, **more}).compute(LAB)


def last(result: Result, quantity: str) -> float:
    mean = [row["mean"] for row in result.rows if row["quantity"] == quantity][-1]
    assert isinstance(mean, float)
    return mean


def test_it_is_exact_in_float64_and_the_parts_of_it_are_what_they_should_be() -> None:
    """Eight steps at a = 0.9: equal to 1e-12; weights at 0.9^8, a little above it; the rate at most 0.9^-16 as high."""
    result = computed(weight_decay=1.0)
    for quantity in ("weight_difference", "output_difference", "scaled_output_difference"):
        assert 0 < last(result, quantity) < 1e-11
    assert 0.9**8 < last(result, "weight_norm_decay") < 1.01 * 0.9**8
    rates = [row["mean"] for row in result.rows if row["quantity"] == "effective_rate_decay"]
    assert isinstance(rates[0], float)
    assert isinstance(rates[-1], float)
    assert 0.97 * 0.9**-16 < rates[-1] / rates[0] < 0.9**-16
    assert 1 < last(result, "weight_norm_constant") < last(result, "weight_norm_exponential")


@pytest.mark.parametrize("exponent", [-2, -1])
def test_another_schedule_is_not_equal(exponent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that grows by a^-1 a step, or by a^-2 from a^0 on, is off by far more than rounding."""
    import resexp.training.scale_invariance as module

    def wrong(shrinkage: float) -> Any:
        def look(moment: Any) -> None:
            for link in moment.net.links:
                if link.own[0].dim() == 4:
                    link.joined.grad.mul_(shrinkage ** (exponent * moment.step))

        return look

    monkeypatch.setattr(module, "exponential", wrong)
    assert last(computed(), "weight_difference") > 1e-6


def test_epsilon_takes_the_equivalence_away_and_nothing_is_judged() -> None:
    result = computed(epsilon=1e-3)
    assert last(result, "weight_difference") > 1e-6
    assert last(result, "scaled_output_difference") > 0.1
    assert {f.quantity: f.verdict for f in result.families}["weight_difference"] == "no theory"
    assert any("Not exact" in note for note in result.notes)


def test_small_weights_are_the_same_function_of_the_batch_only_without_epsilon() -> None:
    torch.manual_seed(0)
    net, x = factory("cifar-resnet:8,width=2,channels=1")().double(), torch.randn(8, 1, 8, 8, dtype=torch.float64)
    for epsilon, low, high in ((1e-20, 0.0, 1e-10), (1e-5, 1e-2, math.inf)):
        set_epsilon(net, epsilon)
        before = net(x)
        with torch.no_grad():
            for weight in net.parameters():
                if weight.dim() == 4:
                    weight.mul_(1e-3)
        after = net(x)
        assert low <= float(difference(after.flatten()[None].detach(), before.flatten()[None].detach())) < high
        with torch.no_grad():
            for weight in net.parameters():
                if weight.dim() == 4:
                    weight.mul_(1e3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rate": 1.0, "weight_decay": 1.0}, "less than 1"),
        ({"precision": "mixed"}, "--precision mixed"),
        ({"depth": 10}, "6 n \\+ 2"),
    ],
)
def test_what_has_no_meaning_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        WeightDecay.parse(values)


def test_a_rate_that_float64_cannot_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="beyond float64"):
        computed(epochs=10_000)
