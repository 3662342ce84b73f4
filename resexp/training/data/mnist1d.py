"""MNIST-1D: 5,000 sequences of 40 points in ten classes, made by the published recipe, number for number.

Each class has a template of 12 points. An example of it is padded with zeros, stretched, scaled, shifted around, laid
into smooth noise, sheared and read off at 40 points. Random numbers are those of NumPy's RandomState(42), whose stream
never changes, drawn in the order of the published code; so these are the published numbers, to rounding.
4,000 to train on and 1,000 to test on. Published accuracies: logistic regression 32 %, fully connected 68 %,
convolutional 94 %, GRU 91 %, people 96 %.

Source: Greydanus 2020, Scaling down deep learning (arXiv 2011.14439), and its code, github.com/greydanus/mnist1d.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from resexp.training.data.dataset import Data, standardised

Array = NDArray[np.float64]

SEED = 42
EXAMPLES_A_CLASS, TRAINING_EXAMPLES = 500, 4_000
TEMPLATE_LENGTH, LENGTH = 12, 40
LEAST_PADDING, MOST_PADDING = 36, 60
SCALE, SHEAR, MOST_SHIFT = 0.4, 0.75, 48
SMOOTH_NOISE, SMOOTH_OVER, WHITE_NOISE = 0.25, 2.0, 0.02
"""Deviation of the noise before smoothing, deviation of the Gaussian that smooths it, deviation of what is added."""

TEMPLATES = np.array(
    [
        [5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5],
        [5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5],
        [5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5],
        [5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5],
        [5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5],
        [5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5],
        [5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5],
        [5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5],
    ]
)
"""One for each digit, (10, 12)."""


def load() -> Data:
    """MNIST-1D, (1, 40) each."""
    sequences, labels = generate()
    train, test = slice(TRAINING_EXAMPLES), slice(TRAINING_EXAMPLES, None)
    parts = ((sequences[part][:, None], labels[part]) for part in (train, test))
    return standardised("mnist1d", next(parts), next(parts), classes=len(TEMPLATES))


@lru_cache(maxsize=1)
def generate() -> tuple[Array, NDArray[np.int64]]:
    """Sequences (5000, 40), their mean 0 and their variance 1 over all, and labels (5000,)."""
    random = np.random.RandomState(SEED)
    labels = np.repeat(np.arange(len(TEMPLATES)), EXAMPLES_A_CLASS)
    sequences = np.stack([_example(template, random) for template in _templates()[labels]])
    order = random.permutation(len(labels))
    sequences = sequences[order]
    return (sequences - sequences.mean()) / sequences.std(), labels[order]


def _templates() -> Array:
    """Templates of mean 0 and variance 1, then moved to begin at 0, over 6."""
    x = TEMPLATES - TEMPLATES.mean(axis=1, keepdims=True)
    x = x / x.std(axis=1, keepdims=True)
    return np.asarray((x - x[:, :1]) / 6.0)


def _example(template: Array, random: np.random.RandomState) -> Array:
    """One example, (40,)."""
    padding = LEAST_PADDING + int(random.rand() * (MOST_PADDING - LEAST_PADDING + 1))
    x = np.concatenate([template + 1e-8, np.zeros(padding)])  # the template is nowhere 0, what is padded is
    x = _read_off(x, TEMPLATE_LENGTH + MOST_PADDING)
    x = x * (1 + SCALE * (random.rand() - 0.5))
    x = np.roll(x, random.choice(MOST_SHIFT))
    x = np.where(x != 0, x, _smooth(SMOOTH_NOISE * random.randn(len(x))))
    x = x + WHITE_NOISE * random.randn(len(x))
    x = x - SHEAR * (random.rand() - 0.5) * np.linspace(-0.5, 0.5, len(x))
    return _read_off(x, LENGTH)


def _read_off(x: Array, points: int) -> Array:
    """The line through x at so many evenly spaced points."""
    return np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(x)), x)


def _smooth(x: Array) -> Array:
    """Convolved with a Gaussian, cut off at four deviations; beyond its ends, x is its mirror image."""
    radius = round(4 * SMOOTH_OVER)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / SMOOTH_OVER) ** 2)
    return np.convolve(np.pad(x, radius, mode="symmetric"), kernel / kernel.sum(), mode="valid")
