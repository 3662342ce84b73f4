"""How good predicted probabilities are: proper scores, calibration, entropy, and a temperature.

    negative log-likelihood      -log p(y), nats
    Brier score                  sum over classes of (p(c) - [c = y])^2, from 0 to 2
    expected calibration error   sum over bins of confidence of share * |share right - mean confidence|
    entropy                      -sum over classes of p(c) log p(c), nats

each a mean over examples. Probabilities are given by their logarithms: those of a net that is sure and wrong underflow.
Bins are of equal width, each without its lower and with its upper edge. The expected calibration error is biased up:
it is above 0 even of calibrated probabilities, the more so the fewer examples a bin has.

A number that is not finite makes the score nan.

Sources: Brier 1950; Naeini et al. 2015; Guo et al. 2017, sections 2 and 4.2.
"""

import math

import torch
from torch import Tensor

BINS = 15
"""As in Guo et al. 2017."""
HALVINGS = 60
"""Of the interval in which a temperature is sought: more than the digits of a float64."""
HOTTEST = 1e6


def mean_of_passes(log_probabilities: Tensor) -> Tensor:
    """Logarithms (examples, classes) of the mean of the probabilities of several passes (passes, examples, classes)."""
    return torch.logsumexp(log_probabilities, 0) - math.log(len(log_probabilities))


def negative_log_likelihood(log_probabilities: Tensor, labels: Tensor) -> float:
    """Of labels (examples,) under probabilities with these logarithms, (examples, classes)."""
    return -float(log_probabilities.gather(1, labels[:, None]).double().mean())


def brier_score(log_probabilities: Tensor, labels: Tensor) -> float:
    """Of labels (examples,) under probabilities with these logarithms, (examples, classes)."""
    probabilities = log_probabilities.double().exp()
    right = torch.nn.functional.one_hot(labels, probabilities.shape[1])
    return float((probabilities - right).square().sum(1).mean())


def expected_calibration_error(log_probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Of the most probable classes, by their confidence; shapes as above."""
    highest, given = log_probabilities.double().max(1)
    confidence = highest.exp()
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)
    number = torch.bucketize(confidence, edges[1:-1])  # (examples,), edges belong to the bin below
    excess = (given == labels).to(confidence.dtype) - confidence
    return float(torch.zeros(bins).to(excess).index_add(0, number, excess).abs().sum() / len(labels))


def error(log_probabilities: Tensor, labels: Tensor) -> float:
    """Share of labels (examples,) that are not the most probable class."""
    if bool(log_probabilities.isnan().any()):
        return math.nan
    return float((log_probabilities.argmax(1) != labels).double().mean())


SCORES = {
    "negative_log_likelihood": negative_log_likelihood,
    "brier_score": brier_score,
    "calibration_error": expected_calibration_error,
    "error": error,
}
"""Scores of labels by name."""


def entropy(log_probabilities: Tensor) -> float:
    """Mean over examples of the entropy of probabilities with these logarithms, (examples, classes)."""
    logarithms = log_probabilities.double()
    each = torch.where(logarithms == -math.inf, 0.0, logarithms.exp() * logarithms)
    return -float(each.sum(1).mean())


def temperature_of(logits: Tensor, wanted: float) -> float:
    """The temperature T at which softmax(logits / T) has the wanted mean entropy; logits (examples, classes).

    Entropy rises with T, from that of the most probable classes to that of all being alike. 1 / HOTTEST or HOTTEST
    where what is wanted lies beyond; nan where logits are not finite.
    """
    if not bool(logits.isfinite().all()) or math.isnan(wanted):
        return math.nan
    low, high = -math.log(HOTTEST), math.log(HOTTEST)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if entropy(torch.log_softmax(logits.double() / math.exp(middle), 1)) < wanted:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))
