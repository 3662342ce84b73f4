"""The largest of many magnitudes, and the range of the number formats."""

import math

import numpy as np
import pytest
import torch

from resexp.theory import largest
from resexp.theory.overflow import FORMATS, StackRange


@pytest.mark.parametrize("name", FORMATS)
def test_ranges_are_those_of_torch(name: str) -> None:
    found, known = FORMATS[name], torch.finfo(getattr(torch, name))
    assert found.log_end("overflow") == pytest.approx(math.log(known.max), rel=1e-14)
    assert found.log_end("underflow") == pytest.approx(math.log(known.smallest_normal), rel=1e-14)
    assert 2.0**-found.digits == known.eps


@pytest.mark.parametrize("units", [32, 1000])
def test_log_of_the_largest_activation(units: int) -> None:
    sampled = np.log(np.abs(np.random.default_rng(0).standard_normal((20_000, units))).max(1))
    mean, variance = largest.log_activation(units)
    assert mean == pytest.approx(sampled.mean(), abs=0.005)
    assert variance == pytest.approx(sampled.var(), rel=0.06)


def test_largest_gradient_of_a_plain_net_is_that_of_half_the_units() -> None:
    """Half of them have twice the variance, the others none."""
    half, whole = largest.log_activation(64)[0] + 0.5 * math.log(2.0), largest.log_activation(128)[0]
    found = largest.log_gradient(128, 1.0, 10)[0]
    assert found == pytest.approx(half, abs=0.03)
    assert found > whole + 0.15


def test_infinite_width_is_doubling_less_the_largest_of_many() -> None:
    """2 2^K m^2 = 65504^2 at block K, m the largest of D half-normals."""
    stack = StackRange(FORMATS["float16"], 1000, 1.0, 1.0, 2.0, independent_weights=True)
    m = math.exp(largest.log_activation(1000)[0])
    assert stack.limit("activation") == math.ceil(math.log2(65504**2 / m**2) - 1)
    assert stack.limit("square") == math.ceil(math.log2(65504 / m**2) - 1)
    wide = StackRange(FORMATS["float16"], 10**6, 1.0, 1.0, 2.0, independent_weights=True)
    expected, limit = wide.first_block_out("activation"), wide.limit("activation")
    assert expected is not None
    assert limit is not None
    assert limit - 1 <= expected.block <= limit


def test_finite_width_delays_growth_and_hastens_decay() -> None:
    for gain, skip, sign in ((2.0, 1.0, 1), (1.0, 0.0, -1)):
        blocks = []
        for width in (64, 256):
            stack = StackRange(FORMATS["float32"], width, skip, 1.0, gain, independent_weights=True)
            expected, limit = stack.first_block_out("activation"), stack.limit("activation")
            assert expected is not None
            assert limit is not None
            blocks.append(sign * (expected.block - limit))
        assert blocks[0] > 3 * max(blocks[1], 1.0)


@pytest.mark.parametrize(
    ("width", "skip", "branch", "independent"),
    [(64, math.sqrt(0.5), math.sqrt(0.5), True), (64, 1.0, 0.0, True), (16, 1.0, 1.0, True), (32, 1.0, 1.0, False)],
    ids=["critical", "no branch", "too narrow", "too loose"],
)
def test_nothing_is_stated_where_nothing_is_known(width: int, skip: float, branch: float, independent: bool) -> None:
    stack = StackRange(FORMATS["float32"], width, skip, branch, 2.0, independent)
    assert stack.first_block_out("activation") is None
