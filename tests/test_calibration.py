"""A small part of `make calibrate`: real networks, true and wrong theories, a few dozen seeds.

Seeds are fixed. With a true theory a family is wrong with probability 0.005 at most, so among 40 seeds more than
three are seen once in ten thousand choices of seeds.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SEEDS = 40


@pytest.fixture(scope="module")
def shares() -> dict[tuple[str, str, str, int], float]:
    calibrate = _benchmark("calibrate")
    settings = ("plain, one input", "batchnorm, 64 inputs", "residual, one input")
    small = {"depth": 10, "width": 50}
    for setting in settings:
        calibrate.SETTINGS[setting] |= small
    total: dict[tuple[str, str, str, int], float] = {}
    for seed in range(SEEDS):
        for line, called in calibrate.one_seed(seed, settings).items():
            total[line] = total.get(line, 0) + called / SEEDS
    return total


def _benchmark(name: str) -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_true_theories_are_hardly_ever_called_wrong(shares: dict[tuple[str, str, str, int], float]) -> None:
    true = {line: share for line, share in shares.items() if line[0] == "true theory"}
    assert len(true) >= 3 * 12
    assert max(true.values()) <= 3 / SEEDS
    assert sum(true.values()) / len(true) <= 0.01


@pytest.mark.parametrize(
    ("wrong", "draws"),
    [
        ("growth 1.9 instead of 2", 256),
        ("no finite-width correction", 256),
        ("a factor 1/2 missing", 16),
        ("unit slope, not 1 - 1/pi", 16),
    ],
)
def test_wrong_theories_are_caught(shares: dict[tuple[str, str, str, int], float], wrong: str, draws: int) -> None:
    caught = [share for (name, _, _, size), share in shares.items() if (name, size) == (wrong, draws)]
    assert caught
    assert min(caught) >= 0.95
