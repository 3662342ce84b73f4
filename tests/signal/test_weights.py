"""Random tensors: their law, and what the numbers depend on."""

import numpy as np
import pytest
import torch
from scipy import stats

from resexp.core.initialisation import INITIALISATIONS, Initialisation
from resexp.core.lab import Lab
from resexp.signal.weights import NormalSource


def draw(count: int, *, seed: int = 0, purpose: str = "weights", position: tuple[int, ...] = (0,)) -> np.ndarray:
    out = torch.empty(count)
    return NormalSource(Lab("test", seed=seed)).fill(out, 1.0, purpose, *position).double().numpy()


def test_draws_are_standard_normal_to_the_tails() -> None:
    x = draw(2_000_000)
    assert stats.kstest(x, "norm").pvalue > 1e-3
    for beyond in (3.0, 4.0, 4.5):
        expected = 2 * stats.norm.sf(beyond) * len(x)
        assert abs(np.count_nonzero(np.abs(x) > beyond) - expected) < 4.5 * np.sqrt(expected)
    cosine, sine = np.split(x, 2)  # the two halves come from the same uniforms
    assert abs(np.corrcoef(cosine, sine)[0, 1]) < 4e-3
    assert abs(np.corrcoef(cosine**2, sine**2)[0, 1]) < 4e-3


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_any_count_is_filled(count: int) -> None:
    assert np.isfinite(draw(count)).all()
    assert len(set(draw(count))) == count


def test_streams_differ_by_seed_purpose_and_position_and_by_nothing_else() -> None:
    reference = draw(64)
    assert (draw(64) == reference).all()
    others = [draw(64, seed=1), draw(64, purpose="inputs"), draw(64, position=(1,)), draw(64, position=(0, 0))]
    others += [NormalSource(Lab("other")).fill(torch.empty(64), 1.0, "weights", 0).double().numpy()]
    for other in others:
        assert not np.isin(other, reference).any()


def test_both_dtypes_see_the_same_networks() -> None:
    single, double = torch.empty(101), torch.empty(101, dtype=torch.float64)
    NormalSource(Lab("test")).fill(single, 0.3, "weights", 5)
    NormalSource(Lab("test")).fill(double, 0.3, "weights", 5)
    assert torch.equal(single.double(), double)


@pytest.mark.parametrize("name", INITIALISATIONS)
def test_variance_of_weights(name: str) -> None:
    init = Initialisation(name)
    matrices = torch.empty(40, 50, 50, dtype=torch.float64)
    NormalSource(Lab("test")).fill_matrices(matrices, init, 1.0, "weights", 0)
    expected = {"he": 2 / 50, "glorot": 1 / 50, "lecun": 1 / 50, "orthogonal": 2 / 50}[name]
    assert matrices.var().item() == pytest.approx(expected, rel=0.02)
    products = matrices @ matrices.mT * 25  # twice the identity over gain 2
    is_orthogonal = torch.allclose(products, 50 * expected * 0.5 * torch.eye(50, dtype=torch.float64) * 50, atol=1e-3)
    assert is_orthogonal == init.orthogonal
