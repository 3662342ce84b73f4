"""Growth laws are told from synthetic series, and not named where they cannot be."""

from collections import Counter

import numpy as np
import pytest

from resexp.core.statistics import Array
from resexp.probing.growth import LAWS, LEAST, block_beyond, fit

CURVES = {
    "constant": lambda j: 0.0 * j,
    "exponential": lambda j: np.log(1.98) * j,
    "linear": lambda j: np.log(1 + 0.3 * j),
    "power": lambda j: 1.5 * np.log(j + 1),
}


def series(law: str, blocks: int, draws: int, generator: np.random.Generator, noise: float = 0.05) -> Array:
    """Logarithms of a moment over networks: the law, and a random walk for each network."""
    walk = generator.normal(0, noise, (draws, blocks)).cumsum(axis=1)
    return np.asarray(CURVES[law](np.arange(blocks)) + walk + generator.normal(0, 0.3, (draws, 1)))


@pytest.mark.parametrize("law", LAWS)
def test_laws_are_recovered_and_hardly_ever_mistaken(law: str) -> None:
    generator = np.random.default_rng(0)
    told = Counter(f.law for _ in range(100) if (f := fit(series(law, 16, 16, generator))))
    assert told[law] >= 90  # type: ignore[index]
    assert sum(told[other] for other in LAWS if other != law) <= 2


def test_a_slow_exponential_is_undecided_rather_than_called_something_else() -> None:
    generator = np.random.default_rng(1)
    j = np.arange(12)
    told = Counter()
    for _ in range(100):
        found = fit(0.03 * j + generator.normal(0, 0.05, (8, 12)).cumsum(axis=1))
        assert found is not None
        told[found.law] += 1
    assert told[None] >= 80
    assert told["linear"] + told["power"] <= 3


def test_what_enters_may_be_of_another_size() -> None:
    generator = np.random.default_rng(5)
    log = series("linear", 20, 16, generator, noise=0.02)
    log[:, 0] -= 6.0
    log[:, 1] -= 3.0
    found = fit(log)
    assert found is not None
    assert found.told == "linear but for the 2 nearest to the input"
    jumps = np.where(np.arange(20) % 7 == 3, 3.0, 0.0).cumsum() + 0.01 * generator.normal(size=(8, 20)).cumsum(axis=1)
    nothing = fit(np.where(np.arange(20) == 9, 30.0, 0.0) + jumps)
    assert nothing is not None
    assert nothing.told == "undecided (no law fits)"


def test_a_power_of_depth_may_begin_anywhere() -> None:
    generator = np.random.default_rng(6)
    told = Counter()
    for _ in range(50):
        found = fit(3 * np.log1p(0.3 * np.arange(16)) + generator.normal(0, 0.05, (8, 16)).cumsum(axis=1))
        assert found is not None
        told[found.law] += 1
    assert told["power"] >= 48
    assert found.parameter == pytest.approx(3, abs=0.7)
    log = np.tile(3 * np.log1p(0.3 * np.arange(16)), (2, 1)) + np.array([[0.0], [1e-3]]) * np.arange(16)
    exact = fit(log)
    assert exact is not None
    beyond = block_beyond(log, exact, log[:, 0] + 3 * np.log1p(0.3 * 40))
    assert beyond is not None
    assert beyond == pytest.approx([40, 40], rel=0.03)


def test_no_law_is_named_from_few_points() -> None:
    generator = np.random.default_rng(2)
    found = fit(series("exponential", LEAST - 1, 64, generator))
    assert found is not None
    assert found.law is None
    assert found.told == "undecided (7 values, and 8 are the least)"
    assert found.step.mean == pytest.approx(1.98, rel=0.02)
    assert fit(series("exponential", 1, 8, generator)) is None
    broken = series("exponential", 9, 8, generator)
    broken[0, 3] = np.inf
    assert fit(broken) is None


def test_the_interval_of_the_growth_covers_it() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        found = fit(series("exponential", 10, 8, generator))
        assert found is not None
        covered += found.step.ci_low <= 1.98 <= found.step.ci_high  # type: ignore[operator]
    assert covered >= 180


def test_overflow_is_where_the_law_reaches_the_largest_number() -> None:
    j = np.arange(17)
    log = np.log(2.0) * j[None, :] + np.array([[0.0], [1e-3]]) * j
    found = fit(log)
    assert found is not None
    assert found.law == "exponential"
    blocks = block_beyond(log, found, np.array([2 * np.log(65504.0)] * 2))
    assert blocks is not None
    assert np.ceil(blocks).tolist() == [32, 32]
    level = fit(np.zeros((4, 10)) + np.arange(4)[:, None])
    assert level is not None
    assert level.law == "constant"
    assert block_beyond(np.zeros((4, 10)), level, np.full(4, 22.0)) is None
