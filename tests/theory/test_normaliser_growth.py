"""Growth with any normaliser, against closed forms and against wide networks simulated in numpy alone."""

import math

import numpy as np
import pytest

from resexp.theory import batchnorm
from resexp.theory.normaliser_axes import OUT, over, part, picture
from resexp.theory.normaliser_growth import ValueSet, inverse_variance, normalised, unnormalised


@pytest.mark.parametrize("values", [4, 5, 16, 1000])
def test_inverse_variance_of_one_channel_is_the_closed_form(values: int) -> None:
    expected = (values - 1) / (values - 3) / (2.0 - 2.0 / values)
    assert inverse_variance(ValueSet(1, values), 2.0, 0.0) == pytest.approx(expected, rel=1e-6)


def test_inverse_variance_of_several_channels() -> None:
    rng = np.random.default_rng(2)
    common, own = rng.normal(size=(200_000, 3, 1)), rng.normal(size=(200_000, 3, 4))
    sigma2 = (math.sqrt(0.7) * common + math.sqrt(1.3) * own).reshape(len(own), -1).var(axis=1)
    expected, error = (1 / sigma2).mean(), (1 / sigma2).std() / math.sqrt(len(own))
    assert abs(inverse_variance(ValueSet(3, 4), 2.0, 0.7) - expected) < 5 * error


def test_one_channel_is_batch_normalisation() -> None:
    growth = normalised(6, ValueSet(1, 16), gain=2.0)
    limit = batchnorm.forward(6, batch=16, branch=1.0, gain=2.0, order="relu-linear")
    assert growth.second_moment == pytest.approx(limit.second_moment, rel=1e-12)
    relative = batchnorm.gradient(
        limit.batch_variance, np.ones(1), batch=16, branch=1.0, gain=2.0, two_layer=False, inner=1.0
    )[:, 0]
    assert growth.gradient == pytest.approx(relative[:-1] / relative[1:], rel=1e-9)
    assert relative[5] == pytest.approx(1 + 15 / 13 * 14 / 16 / limit.batch_variance[5], rel=0.01)


@pytest.mark.parametrize(("channels", "places"), [(8, 1), (3, 4), (1, 10)])
def test_wide_networks_grow_so(channels: int, places: int) -> None:
    """Four blocks of 1,200 units, sets of channels at all places, which share the weights as pixels do."""
    rng, width, depth = np.random.default_rng(6), 1200, 4
    growth = normalised(depth, ValueSet(channels, places), gain=2.0)
    forward, backward = [], []
    for _ in range(8):
        h = rng.normal(size=(places, width)) @ rng.normal(scale=math.sqrt(2 / width), size=(width, width))
        squares, kept = [np.mean(h**2)], []
        for _ in range(depth):
            sets = h.reshape(places, -1, channels)
            sigma = sets.std(axis=(0, 2), keepdims=True)
            z = (sets - sets.mean(axis=(0, 2), keepdims=True)) / sigma
            weights = rng.normal(scale=math.sqrt(2 / width), size=(width, width))
            kept.append((weights, z, sigma))
            h = h + np.maximum(z, 0).reshape(h.shape) @ weights
            squares.append(np.mean(h**2))
        g = rng.normal(size=h.shape)
        sizes = [np.mean(g**2)]
        for weights, z, sigma in reversed(kept):
            u = (g @ weights.T).reshape(z.shape) * (z > 0)
            means = (u.mean(axis=(0, 2), keepdims=True), (u * z).mean(axis=(0, 2), keepdims=True))
            g = g + ((u - means[0] - z * means[1]) / sigma).reshape(g.shape)
            sizes.append(np.mean(g**2))
        forward.append(squares)
        backward.append(sizes)
    assert np.mean(forward, axis=0) == pytest.approx(growth.second_moment, rel=0.04)
    measured = np.mean(backward, axis=0)[::-1]
    assert growth.gradient is not None
    assert measured[:-1] / measured[1:] == pytest.approx(growth.gradient, rel=0.03)


def test_few_values_add_nothing_or_have_no_theory() -> None:
    alone = normalised(3, ValueSet(1, 1), gain=2.0)
    assert list(alone.second_moment) == [2, 2, 2, 2]
    assert alone.gradient is not None
    assert list(alone.gradient) == [1, 1, 1]
    for values in (2, 3):
        assert normalised(3, ValueSet(1, values), gain=2.0).gradient is None
    assert list(unnormalised(3, gain=2.0).second_moment) == [2, 4, 8, 16]


def test_pictures_show_the_first_set() -> None:
    assert picture(2, 4, 2, 1) == "■···  ■···"
    assert picture(2, 4, 1, 4) == "■■■■  ····"
    assert picture(64, 512, 32, 128).count("■■" + OUT * 6) == 2
    assert part(1, 1000, 8) == 1
    assert part(999, 1000, 8) == 7
    assert "alone" in over("layer")
