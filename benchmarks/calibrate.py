"""How often the verdict is wrong, measured with the program itself: `make calibrate`.

Each line judges one family on many seeds. `true theory` lines say how often a true theory is called `disagree`;
`wrong` lines how often a theory made wrong on purpose is.
"""

import argparse
import itertools
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from resexp.core.ensemble import Ensemble
from resexp.core.lab import Lab
from resexp.core.measured import by_quantity, measure_against_theory
from resexp.core.result import Verdict
from resexp.core.verdict import Family, judge
from resexp.experiments.variance import Variance
from resexp.runs.registry import experiment as registered

Change = Callable[[Variance, Family], Family]
Line = tuple[str, str, str, int]
"""Name, setting, quantity, draws."""

SIZES = (16, 64, 256)

SETTINGS: dict[str, dict[str, Any]] = {
    "residual, one input": {"depth": 50, "width": 100, "batch": 1},
    "rescaled, 16 inputs": {"depth": 20, "width": 100, "batch": 16, "scheme": "rescaled"},
    "plain, one input": {"depth": 20, "width": 100, "batch": 1, "scheme": "plain"},
    "batchnorm, 64 inputs": {"depth": 20, "width": 64, "batch": 64, "scheme": "batchnorm"},
}

OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu, depth 20": ("variance", {"depth": 20, "width": 64, "batch": 8, "activation": "gelu", "draws": 64}),
    "batchnorm": ("batchnorm", {"depth": 14, "width": 200, "batch": 32, "draws": 64}),
    "batchnorm, ReLU last": ("batchnorm", {"depth": 14, "width": 100, "order": "linear-bn-relu", "draws": 64}),
    "He, 6 layers": ("autocorrelation", {"protocol": "he", "depth": 6, "width": 100, "points": 32, "draws": 128}),
    "residual, 8 blocks": (
        "autocorrelation",
        {"protocol": "residual", "depth": 8, "width": 100, "points": 33, "draws": 128},
    ),
    "independence": ("independence", {"depth": 5, "width": 64, "batch": 24, "draws": 128}),
    "dead units": ("dead-units", {"depth": 8, "width": 100, "batch": 12, "draws": 64}),
    "float16, residual": ("overflow", {"draws": 64}),
    "float16, plain": ("overflow", {"scheme": "plain", "init": "glorot", "draws": 64}),
}
"""True theories of the other experiments: name of the experiment, and its parameters with the draws to judge."""


def shifted(log_ratio: float) -> Change:
    """Theory whose growth is off by a factor a block."""

    def change(_: Variance, family: Family) -> Family:
        theory = family.theory.copy()
        theory[family.leading :] += log_ratio
        return replace(family, theory=theory)

    return change


def without_correction(experiment: Variance, family: Family) -> Family:
    """The limit passed off as exact."""
    theory = family.theory.copy()
    theory[family.leading :] = np.log(experiment.scales.gain)
    return replace(family, theory=theory, bias=np.zeros_like(family.bias))


def one_row_off(experiment: Variance, family: Family) -> Family:
    """One block in the middle off by 10 %."""
    theory = family.theory.copy()
    theory[len(theory) // 2] += np.log(1.1)
    return replace(family, theory=theory)


def unit_slope(_: Variance, family: Family) -> Family:
    """The batch variance gains one a block."""
    theory = family.theory.copy()
    theory[family.leading :] = 1.0
    return replace(family, theory=theory)


@dataclass(frozen=True)
class Wrong:
    """A theory made wrong on purpose, and the draws at which it must be caught."""

    name: str
    setting: str
    quantity: str
    change: Change
    draws: tuple[int, ...]


WRONG = (
    Wrong(
        "growth 1.9 instead of 2",
        "residual, one input",
        "activation_second_moment",
        shifted(np.log(0.95)),
        (16, 64, 256),
    ),
    Wrong("growth 2.02 instead of 2", "residual, one input", "activation_second_moment", shifted(np.log(1.01)), (256,)),
    Wrong(
        "no finite-width correction", "residual, one input", "activation_second_moment", without_correction, (64, 256)
    ),
    Wrong("a factor 1/2 missing", "residual, one input", "activation_second_moment", shifted(np.log(1.5)), (16,)),
    Wrong("one block off by 10 %", "residual, one input", "activation_second_moment", one_row_off, (64, 256)),
    Wrong("gradient growth 1.9", "residual, one input", "gradient_second_moment", shifted(np.log(0.95)), (16, 64)),
    Wrong("batch variance doubles", "rescaled, 16 inputs", "activation_batch_variance", shifted(0.13), (16,)),
    Wrong("unit slope, not 1 - 1/pi", "batchnorm, 64 inputs", "activation_batch_variance", unit_slope, (16,)),
    Wrong("gradient grows by 1 + 1/2v", "batchnorm, 64 inputs", "gradient_second_moment", shifted(-0.04), (256,)),
)


def families(experiment: Ensemble, lab: Lab) -> Iterator[tuple[str, Family]]:
    """Every family of one run."""
    for measured in measure_against_theory(experiment, by_quantity(experiment.measure(lab))):
        family = measured.family()
        if family is not None:
            yield measured.quantity.name, family


def disagrees(family: Family, draws: int) -> bool:
    """Whether the first `draws` networks contradict the theory."""
    return judge(replace(family, statistic=family.statistic[:draws])).verdict is Verdict.DISAGREE


def one_seed(seed: int, settings: tuple[str, ...]) -> Counter[Line]:
    """Which lines called `disagree` with this seed."""
    called: Counter[Line] = Counter()
    for setting in settings:
        experiment = Variance.parse({"draws": max(SIZES), **SETTINGS[setting]})
        for quantity, family in families(experiment, Lab("variance", seed=seed)):
            lines: list[tuple[str, tuple[int, ...], Family]] = [("true theory", SIZES, family)]
            lines += [
                (w.name, w.draws, w.change(experiment, family))
                for w in WRONG
                if (w.setting, w.quantity) == (setting, quantity)
            ]
            for name, sizes, judged in lines:
                for draws in sizes:
                    called[name, setting, quantity, draws] += disagrees(judged, draws)
    return called


def one_seed_of_others(seed: int) -> Counter[Line]:
    """Which true theories of the other experiments are called `disagree` with this seed."""
    called: Counter[Line] = Counter()
    for setting, (name, parameters) in OTHERS.items():
        experiment = registered(name).parse(parameters)
        if not isinstance(experiment, Ensemble):
            raise TypeError(f"{name} measures no ensemble of networks")
        for quantity, family in families(experiment, Lab(name, seed=seed)):
            called["true theory", f"{name}: {setting}", quantity, len(family.statistic)] += (
                judge(family).verdict is Verdict.DISAGREE
            )
    return called


def calibrate(seeds: range, settings: tuple[str, ...], workers: int) -> dict[Line, float]:
    """Share of seeds called `disagree`, of each line; workers: processes."""
    total: Counter[Line] = Counter()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for called in pool.map(one_seed, seeds, itertools.repeat(settings), chunksize=4):
            total.update(called)  # keeps the lines that were never called, with their zero
        for called in pool.map(one_seed_of_others, seeds, chunksize=4):
            total.update(called)
    return {line: count / len(seeds) for line, count in total.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=1000)
    arguments.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = arguments.parse_args()
    shares = calibrate(range(asked.seeds), tuple(SETTINGS), asked.workers)
    print(f"{asked.seeds} seeds; share called `disagree`")
    print(f"{'':28} {'setting':36} {'quantity':34} {'draws':>6} {'share':>8}")
    for (name, setting, quantity, draws), share in sorted(shares.items(), key=lambda item: item[0][0] != "true theory"):
        print(f"{name:28} {setting:36} {quantity:34} {draws:6d} {share:8.2%}")


if __name__ == "__main__":
    main()
