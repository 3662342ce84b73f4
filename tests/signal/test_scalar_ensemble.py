"""Many scalar networks: means along lags, in the same bytes at any number of threads, draws and memory."""

from dataclasses import replace

import numpy as np
import pytest

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.scalar_net import ScalarNet, net_of
from resexp.signal.scalar_backward import Gradients
from resexp.signal.scalar_ensemble import autocovariances, one_gradient, plan
from resexp.signal.tangent import Tangents

NETS = [
    net_of("book", depth=30, width=20),
    net_of("residual-batchnorm", depth=30, width=20),
    net_of("balduzzi", depth=30, width=20, differentiated=True),
    net_of("residual-batchnorm", depth=30, width=20, differentiated=True),
]
X = np.linspace(-2, 2, 12)
LAGS = 7


@pytest.mark.parametrize("subtract_mean", [False, True])
@pytest.mark.parametrize("net", NETS[1:3], ids=["held", "differentiated"])
def test_lag_means_are_those_of_the_pairs(net: ScalarNet, subtract_mean: bool) -> None:
    lab = Lab("test", dtype="float64")
    gradients, exponent = Gradients(lab, net, X, 30).run(0) if net.differentiated else Tangents(lab, net, X).run(0)
    g = gradients.numpy() * np.exp2(exponent - exponent.max())[:, None, None]  # (networks, points, directions)
    if subtract_mean:
        g = g - g.mean(1, keepdims=True)
    expected = np.stack([(g[:, : len(X) - lag] * g[:, lag:]).mean((1, 2)) for lag in range(LAGS)], axis=1)
    got = autocovariances(lab, net, X, 8, LAGS, subtract_mean=subtract_mean)
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-12 * expected.max())


@pytest.mark.parametrize("subtract_mean", [False, True])
def test_an_input_left_out_is_in_no_pair(subtract_mean: bool) -> None:
    lab, left_out = Lab("test", dtype="float64"), 5
    g = Tangents(lab, NETS[1], X).run(0)[0].numpy().copy()
    counted = [i for i in range(len(X)) if i != left_out]
    if subtract_mean:
        g -= g[:, counted].mean(1, keepdims=True)
    pairs = [[(i, i + lag) for i in counted if i + lag in counted] for lag in range(LAGS)]
    expected = np.stack([np.mean([(g[:, i] * g[:, j]).mean(1) for i, j in of_lag], axis=0) for of_lag in pairs], axis=1)
    got = autocovariances(lab, NETS[1], X, 8, LAGS, subtract_mean=subtract_mean, left_out=left_out)
    assert got / got[:, :1] == pytest.approx(expected / expected[:, :1], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("net", NETS, ids=["book", "held", "centre", "differentiated"])
def test_the_same_bytes_at_any_threads_draws_and_memory(net: ScalarNet) -> None:
    lab = Lab("test", threads=1)
    expected = autocovariances(lab, net, X, 24, LAGS)
    assert np.array_equal(autocovariances(replace(lab, threads=3), net, X, 24, LAGS), expected)
    few = autocovariances(lab, net, X, 3, LAGS)
    assert np.array_equal(few / few[0, 0], expected[:3] / expected[0, 0])  # up to a power of two
    if net.differentiated:
        least = replace(lab, memory=plan(lab, net, len(X), 24, LAGS).memory - 1)
        assert plan(least, net, len(X), 24, LAGS).segment == 6
        assert np.array_equal(autocovariances(least, net, X, 24, LAGS), expected)


def test_a_single_gradient_is_the_first_networks() -> None:
    """Its own products along lags are what the ensemble keeps of it, but for the scale."""
    net = NETS[3]
    y = one_gradient(Lab("test"), net, X)
    ours = autocovariances(Lab("test"), net, X, 2, LAGS)[0]
    assert [(y[: len(X) - lag] * y[lag:]).mean() for lag in range(LAGS)] == pytest.approx(ours / ours[0], abs=1e-5)


def test_progress_reaches_the_end_and_does_not_go_back() -> None:
    told: list[tuple[int, int]] = []
    lab = Lab("test", threads=2, progress=lambda done, total: told.append((done, total)))
    autocovariances(lab, NETS[3], X, 24, LAGS)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == told[-1][1]


def test_memory_does_not_grow_with_depth_forward_and_what_does_not_fit_is_refused() -> None:
    lab = Lab("test", memory=2**28)
    shallow, deep = (plan(lab, net_of("balduzzi", depth=d, width=200), 128, 10_000, 65).memory for d in (2, 100_000))
    assert shallow == deep < 2**28
    backward = net_of("balduzzi", depth=100_000, width=200, differentiated=True)
    assert plan(replace(lab, memory=2**30), backward, 128, 10_000, 65).segment == 317
    with pytest.raises(UsageError, match=r"draws 10000: about 5\d\d MB of memory"):
        plan(lab, backward, 128, 10_000, 65)
