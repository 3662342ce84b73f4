"""Runs with several seeds, pooled: the same as one run with all their networks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from resexp.core.assessment import assess
from resexp.core.ensemble import Ensemble
from resexp.core.lab import Lab
from resexp.core.measured import by_quantity, measure_against_theory
from resexp.core.pooled_rows import merged
from resexp.core.pooling import PoolingError, pool
from resexp.core.result import STATISTICS_COLUMNS, FamilyResult, Prediction, Quantity, Result, Row
from resexp.core.statistics import Samples
from resexp.core.verdict import Moments, pooled_moments
from resexp.experiments.autocorrelation import Autocorrelation
from resexp.experiments.independence import Independence
from resexp.experiments.overflow import Overflow
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
            statistic=_concatenated([r.statistic for r in same]),
            denominator=_concatenated([r.denominator for r in same]),
        )
        for same in zip(*runs, strict=True)
    ]


def _concatenated(parts: list[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)


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
        names = ("mean", "stderr", "ci_low", "ci_high", "draws", "theory", "theory_kind", "verdict")
        names = names if "growth" in str(figure["quantity"]) else tuple(n for n in names if not n.startswith("ci"))
        close(figure, figures[figure["quantity"]], names)
    assert {figure["quantity"] for figure in pooled.headline} == set(figures)


def test_more_seeds_settle_what_one_leaves_open() -> None:
    experiment = Variance(depth=10, width=100, batch=1, draws=16)
    results = [assess(experiment, rows(experiment, seed)) for seed in range(8)]
    name = "activation_growth_per_block"

    def verdict(result: Result) -> object:
        return next(figure["verdict"] for figure in result.headline if figure["quantity"] == name)

    assert verdict(results[0]) == "underpowered"
    assert verdict(pool(results)) == "agree"


def test_ratios_of_means_pool_exactly_though_each_run_has_its_own_denominator() -> None:
    experiment = Autocorrelation(protocol="he", depth=2, width=20, points=8, draws=8)
    runs = [list(experiment.measure(Lab("autocorrelation", seed=seed))) for seed in range(12)]
    pooled, whole = pool([assess(experiment, run) for run in runs]), assess(experiment, joined(runs))
    names = ("lag", "quantity", "mean", "draws", "theory", "theory_kind", "verdict")
    for one, other in zip(pooled.rows, whole.rows, strict=True):
        close(one, other, names)
        assert one["stderr"] == pytest.approx(other["stderr"], rel=0.05)
    (family,), (expected,) = pooled.families, whole.families
    assert family.verdict == expected.verdict
    moments = [_moments_of(experiment, run) for run in runs]
    one, other = Moments.pooled(moments), _moments_of(experiment, joined(runs))
    for name in ("mean", "deviation", "bias", "scale", "effective_draws"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-12, err_msg=name)
    assert one.effective_draws < 0.98 * sum(run.effective_draws for run in moments)


def test_rows_of_ratios_pool_exactly_where_each_has_its_own_denominator() -> None:
    experiment = Independence(depth=3, width=64, batch=8, draws=8)
    name = "squared_correlation_over_inputs"
    runs = [[r for r in experiment.measure(Lab("independence", seed=s)) if r.quantity == name] for s in range(12)]
    one, other = Moments.pooled([_moments_of(experiment, run) for run in runs]), _moments_of(experiment, joined(runs))
    assert other.scale is not None
    assert np.ptp(other.scale) > 0.1 * other.scale.max()
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.deviation[1:], other.deviation[1:], rtol=1e-9)
    assert one.deviation[0] == pytest.approx(other.deviation[0], rel=0.1)


def _moments_of(experiment: Ensemble, run: list[Row]) -> Moments:
    (measured,) = measure_against_theory(experiment, by_quantity(run))
    family = measured.family()
    assert family is not None
    return Moments.of(family)


@pytest.fixture(scope="module")
def seeds_of_overflow() -> list[Result]:
    """Squares leave float16 at about block 13, some network's later than 16; activations never do so early."""
    experiment = Overflow(width=64, depth=16, draws=16)
    return [experiment.compute(Lab("overflow", seed=seed)) for seed in range(6)]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_seed_whose_networks_stayed_inside_is_not_left_out(seeds_of_overflow: list[Result], backwards: bool) -> None:
    results = seeds_of_overflow[::-1] if backwards else seeds_of_overflow
    named = ["square_overflow_block" in {f.quantity for f in r.families if f.moments is not None} for r in results]
    assert 0 < sum(named) < len(results), "the seeds no longer show the case"
    pooled = pool(results)
    row = next(row for row in pooled.rows if row["quantity"] == "square_overflow_block")
    figure = next(figure for figure in pooled.headline if figure["quantity"] == "mean_square_overflow_block")
    for one in (row, figure):
        assert (one["mean"], one["stderr"], one["draws"], one["verdict"]) == (None, None, 6 * 16, "not judged")
        assert one["theory"] == pytest.approx(13.4, abs=1)
    (family,) = [f for f in pooled.families if f.quantity == "square_overflow_block"]
    assert (family.verdict, family.p_value) == ("not judged", None)
    left_out = f"{len(named) - sum(named)} of 6 seeds give no number"
    assert any(left_out in note for note in pooled.notes)


def test_figures_that_repeat_a_row_are_judged_with_it() -> None:
    experiment = Overflow(width=64, draws=7)
    results = [experiment.compute(Lab("overflow", seed=seed)) for seed in range(16)]
    pooled = pool(results)
    for row, figure in zip(pooled.rows, pooled.headline, strict=True):
        assert figure["quantity"] == f"mean_{row['quantity']}"
        close(figure, row, STATISTICS_COLUMNS)
        assert row["verdict"] == "agree"
    assert {figure["verdict"] for figure in results[0].headline} == {"underpowered"}


def test_rows_that_only_some_seeds_have_are_kept_without_a_number() -> None:
    experiment = Overflow(scheme="rescaled", width=64, depth=300, draws=2)
    results = [experiment.compute(Lab("overflow", seed=seed)) for seed in range(6)]
    assert len({tuple(row["quantity"] for row in result.rows) for result in results}) > 1, "no longer shows the case"
    pooled = pool(results)
    assert {row["quantity"] for row in pooled.rows} == {row["quantity"] for r in results for row in r.rows}
    assert all(row["draws"] == 12 for row in pooled.rows)
    everywhere = [q for q in (r["quantity"] for r in pooled.rows) if all(_mean(r, q) is not None for r in results)]
    assert [row["quantity"] for row in pooled.rows if row["mean"] is not None] == everywhere


def _mean(result: Result, quantity: object) -> object:
    return next((row["mean"] for row in result.rows if row["quantity"] == quantity), None)


def test_figures_without_an_error_are_averaged_and_get_that_of_their_scatter() -> None:
    experiment = Autocorrelation(protocol="he", depth=2, width=20, points=8, draws=8)
    results = [experiment.compute(Lab("autocorrelation", seed=seed)) for seed in range(5)]
    pooled = pool(results)
    (half_lag, whiteness, reference) = pooled.headline
    for figure, name in ((half_lag, "half_lag"), (whiteness, "whiteness")):
        each = [f["mean"] for r in results for f in r.headline if f["quantity"] == name]
        assert figure["mean"] == pytest.approx(np.mean(each))
        assert figure["stderr"] == pytest.approx(np.std(each, ddof=1) / 5**0.5)
        assert (figure["draws"], figure["theory_kind"], figure["verdict"]) == (40, "limit", "not judged")
    assert reference == results[0].headline[2]
    assert any(note.startswith("half_lag, whiteness: the mean over the seeds") for note in pooled.notes)


class Rare(Ensemble):
    """A share that is so small that its theory counts as off by 10 / (draws * 100)."""

    draws: int = 8
    axes = ("block",)
    quantities = (Quantity("share", "a share", positive=False, judged="level", margin=0.001),)

    def measure(self, lab: Lab) -> Iterator[Row]:
        for block in (1, 2, 3):
            values = np.random.default_rng([lab.seed, block]).normal(0.5 + 0.009, 0.0005, self.draws)
            yield Row({"block": block}, "share", Samples.of(values))

    def theory(self, quantity: str, block: int) -> Prediction:
        return Prediction("exact", value=0.5, rare=10 / 100, bias=0.001 * block)


def test_a_bias_that_is_for_few_networks_falls_when_seeds_are_pooled() -> None:
    experiment = Rare()
    runs = [list(experiment.measure(Lab("rare", seed=seed))) for seed in range(8)]
    single, pooled = assess(experiment, runs[0]), pool([assess(experiment, run) for run in runs])
    assert single.families[0].verdict == "not judged"  # off by 0.009, and 0.1 / 8 is allowed for
    assert pooled.families[0].verdict == "disagree"  # 0.1 / 64 is
    moments = Moments.pooled([_moments_of(experiment, run) for run in runs])
    np.testing.assert_allclose(moments.declared_bias[1:], np.maximum([0.001, 0.002, 0.003], 0.1 / 64))
    np.testing.assert_allclose(moments.declared_bias, _moments_of(experiment, joined(runs)).declared_bias)


def test_numbers_whose_squares_float64_cannot_hold_pool_to_finite_ones() -> None:
    draws = np.full(3, 8.0)
    mean, deviation = np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.25, 1.0])
    centre, spread = pooled_moments(draws, mean, deviation)
    for power in (-900, 900):
        scaled = pooled_moments(draws, np.ldexp(mean, power), np.ldexp(deviation, power))
        assert scaled == (np.ldexp(centre, power), np.ldexp(spread, power))


def test_what_cannot_be_pooled_is_refused() -> None:
    settings = (Variance(depth=5, width=32, batch=4, draws=16), Variance(depth=5, width=48, batch=4, draws=16))
    results = [assess(experiment, rows(experiment, 1)) for experiment in settings]
    with pytest.raises(PoolingError, match="different settings"):
        pool(results)
    other = replace(results[0], columns=("lag", *results[0].columns[1:]))
    with pytest.raises(PoolingError, match="columns differ"):
        pool([results[0], other])
    broken = replace(results[0], families=[replace(results[0].families[0], moments={"draws": 16})])
    with pytest.raises(PoolingError, match="not as this version"):
        pool([broken, broken])


def test_a_row_of_later_runs_stands_behind_its_predecessor() -> None:
    assert merged([["a", "d"], ["a", "b", "d"], ["b", "c", "e"]]) == ["a", "b", "c", "e", "d"]


def test_a_family_that_no_seed_could_judge_speaks_of_all_of_them() -> None:
    experiment = Variance(depth=3, width=32, batch=4, draws=8)
    result = assess(experiment, rows(experiment, 1))
    open_ones = [
        FamilyResult("a", "not judged", None, "3 of 8 networks."),
        FamilyResult("b", "no theory", None, "None."),
    ]
    pooled = pool([replace(result, families=open_ones), replace(result, families=open_ones)])
    assert [(f.verdict, f.sentence) for f in pooled.families] == [
        ("not judged", "2 of 2 seeds give no number that can be judged."),
        ("no theory", "None."),
    ]
