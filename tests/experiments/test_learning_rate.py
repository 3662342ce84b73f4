"""The learning-rate experiment: what is stable, what merely untrainable, on losses set by hand and on real nets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.experiments.learning_rate import CLAIM, LearningRate, Tried
from resexp.training.history import History

SMALL = LearningRate.smallest
LAB = Lab("learning-rate", seed=3)
GUESS = math.log(10)
RATES = (0.01, 0.1, 1.0, 10.0)


def history(start: float, top: float, end: float) -> History:
    """A net that begins with one loss, rises to another and ends at a third, in three epochs of two steps."""
    steps = torch.tensor([start, 2.0, top, 1.0, end, end], dtype=torch.float64).unsqueeze(1)
    epochs = steps.view(3, 2, 1).mean(1)
    return History(steps, steps, epochs, epochs, epochs, epochs, {})


def tried(*nets: tuple[float, float, float]) -> Tried:
    """One net at rising rates: its first, largest and last loss at each."""
    return Tried.of(RATES, [history(*losses) for losses in nets], GUESS)


FINE, SLOW, DEAD = (2.3, 2.3, 0.1), (2.35, 2.4, 2.33), (2.3, 2.6, 2.31)
SPIKED, BURST = (2.3, 9.0, 0.1), (2.3, math.nan, math.nan)


@pytest.mark.parametrize(
    ("nets", "largest", "learns"),
    [
        ((SLOW, FINE, FINE, BURST), 1.0, 2),
        ((SLOW, FINE, SPIKED, FINE), 0.1, 3),  # stable only below the first unstable one
        ((FINE, FINE, DEAD, BURST), 0.1, 2),  # learned at a lower rate, so it broke down
        ((SLOW, DEAD, DEAD, BURST), 1.0, 0),  # never learned: untrainable, not unstable
        ((FINE, FINE, FINE, FINE), 10.0, 4),
        ((BURST, FINE, FINE, FINE), math.nan, 3),
        (((30.0, 40.0, 0.1), FINE, FINE, SPIKED), 1.0, 4),  # a large loss before the first step is no spike
    ],
)
def test_largest_stable_rate_is_the_one_before_the_first_unstable_one(
    nets: tuple[tuple[float, float, float], ...], largest: float, learns: int
) -> None:
    found = tried(*nets)
    np.testing.assert_equal(found.largest_stable, [largest])
    assert found.learns.sum() == learns


def test_the_best_rate_is_that_of_the_smallest_loss_where_there_is_one() -> None:
    found = tried(SLOW, (2.3, 2.3, 0.2), (2.3, 2.3, 0.1), BURST)
    assert [part.tolist() for part in found.best] == [[1.0], [pytest.approx(0.1)]]
    assert np.isnan(tried(BURST, BURST).best).all()


def both(batch: Tried, none: Tried) -> list[float]:
    """Whether the claim holds for such nets with and without normalisation."""
    rows = LearningRate.parse({**SMALL, "least": 10.0}).rows({("batch", 8): batch, ("none", 8): none})
    return next(row.samples.mantissa.tolist() for row in rows if row.quantity == CLAIM)


def test_the_claim_is_of_the_ratio_and_does_not_hold_where_it_is_unknown() -> None:
    stable_to = {0.01: tried(FINE, BURST), 0.1: tried(FINE, FINE, BURST), 1.0: tried(FINE, FINE, FINE, BURST)}
    assert both(stable_to[0.1], stable_to[0.01]) == both(stable_to[1.0], stable_to[0.1]) == [1.0]
    assert both(stable_to[0.1], stable_to[0.1]) == both(stable_to[0.01], stable_to[0.1]) == [0.0]
    assert both(stable_to[1.0], tried(BURST)) == [0.0]


def test_no_rate_is_tried_above_one_where_all_break_down_and_divergence_is_named_by_step() -> None:
    experiment = LearningRate.parse({**SMALL, "lowest": 1e-6, "highest": 1e9, "rates": 4, "batch": 16, "epochs": 3})
    found = experiment.train(LAB)
    none = found["none", 8]
    assert none.rates.tolist() == [1e-6, 0.1, 1e4]
    assert none.unstable[-1].all()
    assert not none.unstable[0].any()
    assert (none.diverged[-1] > 0).any()
    step = none.diverged[-1][none.diverged[-1] >= 0].min()
    assert any(f"at rate 1e+04 (first at step {step})" in note for note in experiment.told(found))
    slower = replace(none, rates=none.rates[:1], loss=none.loss[:1], rise=none.rise[:1], diverged=none.diverged[:1])
    notes = list(experiment.told({("none", 8): slower}))
    assert any("2 of 2 stable at all rates" in note for note in notes)
    assert any("2 of 2 learned at no rate" in note and "not to say unstable" in note for note in notes)


def test_deeper_and_residual_nets_are_shown_and_not_judged() -> None:
    assert LearningRate.parse(SMALL).theory(CLAIM, depth=8) is not None
    assert LearningRate.parse(SMALL).theory("best_rate", depth=8) is None
    assert LearningRate.parse({**SMALL, "depth": (14,)}).theory(CLAIM, depth=14) is None
    assert LearningRate.parse({**SMALL, "net": "residual"}).theory(CLAIM, depth=8) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"depth": (10,)}, "6 n \\+ 2"),
        ({"depth": (14, 8)}, "rising depths"),
        ({"depth": (2,)}, "from 8"),
        ({"lowest": 1.0, "highest": 1.0}, "less than --highest"),
        ({"highest": float("inf")}, "finite"),
    ],
)
def test_bad_parameters_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        LearningRate.parse({**SMALL, **wrong})
