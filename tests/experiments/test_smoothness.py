"""The smoothness experiment: what is held against each other, what notes say, bad input."""

from typing import TYPE_CHECKING

import pytest
import torch

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.experiments.smoothness import MEASURES, NormName, Smoothness

if TYPE_CHECKING:
    from resexp.experiments.smoothness import Found

SMALL = {**Smoothness.smallest, "limit": 128}
LAB = Lab("smoothness", seed=3)


def set_by_hand(experiment: Smoothness, largest: float) -> "dict[NormName, Found]":
    """A training whose numbers with normalisation are 1 at each step, and without it 1 but for one."""
    norms: tuple[tuple[NormName, float], ...] = (("batch", 1.0), ("none", largest))
    found = experiment.train(LAB)
    for norm, value in norms:
        for values in found[norm][1].values():
            values.fill_(1.0)
            values[2] = value
    return found


@pytest.mark.parametrize(("largest", "ranges", "smoothness"), [(21.0, 1.0, 1.0), (19.0, 0.0, 1.0), (0.5, 0.0, 0.0)])
def test_largest_values_over_all_steps_are_held_against_each_other(
    largest: float, ranges: float, smoothness: float
) -> None:
    """One step alone counts, whether it has a row (--every) or not, and the medians do not see it."""
    experiment = Smoothness.parse({**SMALL, "every": 5})
    rows = list(experiment.rows(set_by_hand(experiment, largest)))
    found = {row.quantity: row.samples.mantissa.tolist() for row in rows}
    assert found["loss_range_larger_without"] == found["gradient_range_larger_without"] == [ranges] * 2
    assert found["beta_smoothness_larger_without"] == [smoothness] * 2
    assert found["largest_loss_range_ratio"] == [max(largest, 1.0)] * 2
    assert found["median_loss_range_ratio"] == [1.0] * 2
    assert {row.axes["step"] for row in rows if row.quantity == "loss_range"} == {0, 5}


def test_a_net_with_normalisation_that_diverged_is_not_the_smoother_one() -> None:
    experiment = Smoothness.parse(SMALL)
    found = set_by_hand(experiment, 100.0)
    found["batch"][0].step_loss[3:, 1] = torch.nan
    held = {row.quantity: row.samples.mantissa.tolist() for row in experiment.rows(found)}
    assert [held[f"{measure}_larger_without"] for measure in MEASURES] == [[1.0, 0.0]] * 3
    assert any("diverged: seed 1 at step 3" in note for note in experiment.told(found))


def test_nets_that_do_not_learn_are_said_to_mislead() -> None:
    result = Smoothness.parse({**SMALL, "rate": 1e-4, "seeds": 8}).compute(LAB)
    assert any("8 of 8 had hardly learned" in note for note in result.notes)
    assert any(note.startswith("Does not show here") for note in result.notes)
    assert {family.verdict for family in result.families} >= {"disagree"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"depth": 10}, "6 n \\+ 2"),
        ({"shortest": 2.0, "longest": 2.0}, "less than --longest"),
        ({"precision": "mixed"}, "leave it out"),
        ({"longest": float("inf")}, "finite"),
    ],
)
def test_bad_parameters_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Smoothness.parse({**SMALL, **wrong})
