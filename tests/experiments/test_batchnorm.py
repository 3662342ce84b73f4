"""What `batchnorm` shows of problem 11.13."""

import math
from typing import Any

import pytest

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.result import Result, Verdict
from resexp.experiments.batchnorm import BatchNorm


def run(**parameters: Any) -> Result:
    values = {"depth": 20, "width": 150, "batch": 64, "draws": 64, **parameters}
    return BatchNorm.parse(values).compute(Lab("batchnorm", seed=2, threads=2))


def headline(result: Result, name: str) -> dict[str, Any]:
    return next(figure for figure in result.headline if figure["quantity"] == name)


@pytest.mark.parametrize("order", ["linear-relu-bn", "linear-bn-relu"])
def test_norm_grows_by_1_21_and_variance_by_1_47_a_layer(order: str) -> None:
    result = run(order=order, batch=256, draws=32)
    assert headline(result, "gradient_norm_growth")["mean"] == pytest.approx(1.211, abs=0.012)
    assert headline(result, "gradient_variance_growth")["mean"] == pytest.approx(1.467, abs=0.025)
    assert headline(result, "gradient_norm_growth_large_batch")["theory"] == pytest.approx(1.211174, abs=1e-6)
    assert headline(result, "gradient_variance_growth")["verdict"] == Verdict.AGREE


@pytest.mark.parametrize("order", ["linear-relu-bn", "linear-bn-relu"])
def test_smaller_batches_grow_faster_as_theory_says(order: str) -> None:
    growth = []
    for batch in (8, 16, 64):
        result = run(order=order, batch=batch)
        assert not [f for f in result.families if f.verdict == Verdict.DISAGREE]
        growth.append(headline(result, "gradient_norm_growth")["mean"])
    assert growth == sorted(growth, reverse=True)
    assert growth[0] > 1.3


def test_burn_in_layers_are_shown_and_not_judged() -> None:
    result = run(burn_in=6)
    shown = {r["block"] for r in result.rows if r["quantity"] == "burn_in_gradient_second_moment"}
    assert shown == {*range(6), *range(15, 21)}
    assert {r["verdict"] for r in result.rows if r["block"] in shown} == {Verdict.NO_THEORY}


def test_depth_has_no_limit() -> None:
    result = run(depth=1200, width=16, batch=8, draws=8)
    assert any(str(r["quantity"]).startswith("log2_") for r in result.rows)
    assert math.isfinite(headline(result, "gradient_norm_growth")["mean"])


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_degenerate_batches_are_refused_with_the_reason(batch: int) -> None:
    with pytest.raises(UsageError, match="degenerate"):
        BatchNorm.parse({"batch": batch})


def test_burn_in_that_leaves_no_layer_is_refused() -> None:
    with pytest.raises(UsageError, match="at most 4 will do"):
        BatchNorm.parse({"depth": 10, "burn_in": 5})
    assert BatchNorm.parse({"depth": 10}).transient == 4


def test_small_batches_meet_the_integral_over_one_unit() -> None:
    """At B = 5 one unit in twenty has a single active example, and gives nothing."""
    result = run(batch=5, width=500, depth=12, draws=64)
    growth = headline(result, "gradient_variance_growth")
    assert growth["mean"] == pytest.approx(growth["theory"], rel=0.05)
    assert growth["theory"] == pytest.approx(2.8, abs=0.06)


def test_a_transient_layer_at_each_end_is_never_judged() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        BatchNorm.parse({"burn_in": 0})
    with pytest.raises(UsageError, match="nothing is left"):
        BatchNorm.parse({"depth": 2})
