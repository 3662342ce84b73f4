"""Scores of probabilities against cases worked out by hand, scipy, and what defines them."""

import math

import numpy as np
import pytest
import scipy
import torch

from resexp.training import calibration
from resexp.training.calibration import BINS

BY_HAND = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.45, 0.45, 0.1], [0.0, 0.0, 1.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 1, 2])


def drawn(examples: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels that are drawn from their probabilities."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(examples, classes, generator=random, dtype=torch.float64)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]


def test_scores_by_hand() -> None:
    logarithms = BY_HAND.log()
    likelihood = -(math.log(0.7) + math.log(0.3) + math.log(0.45) + math.log(1.0)) / 4
    assert calibration.negative_log_likelihood(logarithms, LABELS) == pytest.approx(likelihood)
    squares = (0.09 + 0.04 + 0.01) + (0.01 + 0.49 + 0.36) + (0.2025 + 0.3025 + 0.01) + 0.0
    assert calibration.brier_score(logarithms, LABELS) == pytest.approx(squares / 4)
    assert calibration.error(logarithms, LABELS) == 0.5  # the third is wrong: of equals the first is taken
    # ten bins: 0.7 right, 0.6 wrong, 0.45 wrong, 1.0 right, each in a bin of its own
    assert calibration.expected_calibration_error(logarithms, LABELS, bins=10) == pytest.approx(
        (0.3 + 0.6 + 0.45 + 0.0) / 4
    )
    # one bin: half of them right, confidence 0.6875
    assert calibration.expected_calibration_error(logarithms, LABELS, bins=1) == pytest.approx(0.1875)


def test_a_confidence_on_an_edge_is_in_the_bin_below() -> None:
    """Three bins of two: 0.5 right and 0.5 wrong cancel together with 0.4, and would not with 0.6."""
    both = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25]], dtype=torch.float64).log()
    assert calibration.expected_calibration_error(both, torch.tensor([0, 1]), bins=2) == pytest.approx(0.05)
    apart = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.2, 0.2]], dtype=torch.float64).log()
    assert calibration.expected_calibration_error(apart, torch.tensor([0, 1]), bins=2) == pytest.approx(0.55)


def test_entropy_and_likelihood_are_scipys() -> None:
    logits, labels = drawn(200, 7)
    found = calibration.entropy(logits.log_softmax(1))
    assert found == pytest.approx(scipy.stats.entropy(scipy.special.softmax(logits.numpy(), axis=1), axis=1).mean())
    assert calibration.entropy(BY_HAND.log()) == pytest.approx(scipy.stats.entropy(BY_HAND.numpy(), axis=1).mean())
    mine = calibration.negative_log_likelihood(logits.log_softmax(1), labels)
    scipys = scipy.stats.multinomial.logpmf(np.eye(7)[labels], 1, scipy.special.softmax(logits.numpy(), axis=1))
    assert mine == pytest.approx(-scipys.mean())


def test_calibrated_probabilities_have_a_small_error_and_hotter_or_colder_ones_a_large_one() -> None:
    """The bias up is about sqrt(bins / examples) / 2, here 0.01."""
    logits, labels = drawn(20_000, 5)
    found = [calibration.expected_calibration_error((logits / t).log_softmax(1), labels) for t in (0.5, 1.0, 2.0)]
    assert found[1] < 0.02 < 0.08 < min(found[0], found[2])
    likelihoods = [calibration.negative_log_likelihood((logits / t).log_softmax(1), labels) for t in (0.5, 1.0, 2.0)]
    briers = [calibration.brier_score((logits / t).log_softmax(1), labels) for t in (0.5, 1.0, 2.0)]
    assert likelihoods[1] == min(likelihoods)  # proper scores: the true probabilities are best
    assert briers[1] == min(briers)
    assert likelihoods[1] == pytest.approx(calibration.entropy(logits.log_softmax(1)), rel=0.03)


def test_the_expected_calibration_error_is_a_sum_over_bins() -> None:
    logits, labels = drawn(500, 4, seed=1)
    probabilities = scipy.special.softmax(logits.numpy(), axis=1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels.numpy()
    expected = 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration.expected_calibration_error(logits.log_softmax(1), labels) == pytest.approx(expected)


def test_the_mean_of_passes_is_that_of_probabilities() -> None:
    logits = torch.stack([drawn(50, 4, seed=n)[0] for n in range(6)])
    found = calibration.mean_of_passes(logits.log_softmax(2))
    torch.testing.assert_close(found.exp(), logits.softmax(2).mean(0))


def test_a_net_that_is_sure_and_wrong_has_a_finite_likelihood() -> None:
    logits = torch.tensor([[2000.0, 0.0]])
    assert calibration.negative_log_likelihood(logits.log_softmax(1), torch.tensor([1])) == 2000.0
    assert calibration.entropy(logits.log_softmax(1)) == 0.0


def test_a_temperature_gives_the_entropy_wanted() -> None:
    logits, _ = drawn(300, 6)
    for temperature in (0.3, 1.0, 1.07, 5.0):
        wanted = calibration.entropy((logits / temperature).log_softmax(1))
        assert calibration.temperature_of(logits, wanted) == pytest.approx(temperature, rel=1e-9)
    assert calibration.temperature_of(logits, 2 * math.log(6)) == pytest.approx(calibration.HOTTEST)


def test_what_is_not_finite_is_nan() -> None:
    logits, labels = drawn(10, 3)
    logits[4] = math.nan
    logarithms = logits.log_softmax(1)
    for score in (
        calibration.negative_log_likelihood,
        calibration.brier_score,
        calibration.expected_calibration_error,
        calibration.error,
    ):
        assert math.isnan(score(logarithms, labels))
    assert math.isnan(calibration.entropy(logarithms))
    assert math.isnan(calibration.temperature_of(logits, 0.5))
    assert math.isnan(calibration.temperature_of(drawn(10, 3)[0], math.nan))
