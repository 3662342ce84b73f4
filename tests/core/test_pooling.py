"""Runs with several seeds, pooled: the same as one run with all their networks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from resexp.core.assessment import assess
from resexp.core.lab import Lab
from resexp.core.pooling import pool
from resexp.core.result import Result, Row
from resexp.core.statistics import Samples
from resexp.experiments.variance import Variance


def rows(experiment: Variance, seed: int) -> list[Row]:
    return list(experiment.measure(Lab("variance", seed=seed)))


def joined(runs: list[list[Row]]) -> list[Row]:
    """All networks of several runs as one sample."""
    return [
        replace(
            same[0],
            samples=Samples(
                np.concatenate([r.samples.mantissa for r in same]), np.concatenate([r.samples.exponent for r in same])
            ),
            statistic=np.concatenate([r.statistic for r in same]) if same[0].statistic is not None else None,
        )
        for same in zip(*runs, strict=True)
    ]


def close(one: dict[str, Any], other: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if isinstance(other[name], float):
            assert one[name] == pytest.approx(other[name], rel=1e-9, abs=1e-12), (name, one, other)
        else:
            assert one[name] == other[name], (name, one, other)


def test_pooled_runs_are_one_run_with_all_networks() -> None:
    experiment = Variance(depth=5, width=32, batch=4, draws=16)
    runs = [rows(experiment, seed) for seed in (1, 2, 3)]
    pooled, whole = pool([assess(experiment, run) for run in runs]), assess(experiment, joined(runs))
    for one, other in zip(pooled.rows, whole.rows, strict=True):
        close(one, other, ("block", "quantity", "mean", "stderr", "draws", "theory", "theory_kind", "verdict"))
    assert [(f.quantity, f.verdict) for f in pooled.families] == [(f.quantity, f.verdict) for f in whole.families]
    for family, expected in zip(pooled.families, whole.families, strict=True):
        assert family.p_value == pytest.approx(expected.p_value, rel=1e-6)
    figures = {figure["quantity"]: figure for figure in whole.headline}
    for figure in pooled.headline:
        close(figure, figures[figure["quantity"]], ("mean", "stderr", "draws", "theory", "verdict"))
    assert {figure["quantity"] for figure in pooled.headline} == set(figures)


def test_more_seeds_settle_what_one_leaves_open() -> None:
    experiment = Variance(depth=10, width=100, batch=1, draws=16)
    results = [assess(experiment, rows(experiment, seed)) for seed in range(8)]
    name = "activation_growth_per_block"

    def verdict(result: Result) -> object:
        return next(figure["verdict"] for figure in result.headline if figure["quantity"] == name)

    assert verdict(results[0]) == "underpowered"
    assert verdict(pool(results)) == "agree"


def test_what_cannot_be_pooled_is_refused() -> None:
    settings = (Variance(depth=5, width=32, batch=4, draws=16), Variance(depth=6, width=32, batch=4, draws=16))
    with pytest.raises(ValueError, match="different settings"):
        pool([assess(experiment, rows(experiment, 1)) for experiment in settings])
