"""What `independence` shows of problem 11.4."""

import math
from typing import Any

import pytest
import torch

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.result import Result, Verdict
from resexp.experiments.independence import Independence
from resexp.signal.over_inputs import squared_covariances


def run(**parameters: Any) -> Result:
    values = {"depth": 4, "width": 64, "batch": 16, "draws": 128, **parameters}
    return Independence.parse(values).compute(Lab("independence", seed=5))


def rows(result: Result, quantity: str) -> list[dict[str, Any]]:
    return [row for row in result.rows if row["quantity"] == quantity]


def near(row: dict[str, Any], value: float) -> bool:
    return bool(abs(row["mean"] - value) < 4.5 * row["stderr"])


@pytest.mark.parametrize("scheme", ["residual", "rescaled", "stable", "batchnorm"])
@pytest.mark.parametrize("order", ["relu-linear", "linear-relu", "two-layer"])
def test_every_setting_meets_its_theory(scheme: str, order: str) -> None:
    result = run(scheme=scheme, order=order)
    assert not [f for f in result.families if f.verdict == Verdict.DISAGREE]
    agreed = {f.quantity for f in result.families if f.verdict == Verdict.AGREE}
    assert "variance_over_sum" in agreed
    if order != "linear-relu":
        assert {"correlation_over_weights", "second_moment_over_sum"} <= agreed


@pytest.mark.parametrize("order", ["relu-linear", "two-layer"])
def test_what_is_exact_is_so_at_width_three(order: str) -> None:
    result = run(width=3, order=order, draws=1600, depth=3)
    assert all(near(row, 0.0) for row in rows(result, "correlation_over_weights"))
    assert all(near(row, 1.0) for row in rows(result, "second_moment_over_sum") + rows(result, "variance_over_sum"))
    assert result.notes  # inputs whose branch is zero


def test_one_network_is_not_at_zero_but_a_root_of_the_width_away() -> None:
    for width in (36, 144):
        for row in rows(run(width=width, batch=4, draws=256), "absolute_cosine"):
            assert near(row, math.sqrt(2 / (math.pi * width)))


@pytest.mark.parametrize("order", ["relu-linear", "linear-relu"])
def test_more_inputs_do_not_make_a_unit_uncorrelated(order: str) -> None:
    """Without the correction a batch of 8 would show 1/7 more."""
    for batch, draws in ((8, 800), (128, 64)):
        first = rows(run(batch=batch, draws=draws, depth=1, order=order), "squared_correlation_over_inputs")[0]
        assert near(first, 1 / (64 * (1 - 1 / math.pi)))
        assert first["stderr"] < 0.002
        assert first["theory_kind"] == "exact"


def test_headlines_tell_how_large_the_correlations_of_one_network_are() -> None:
    result = run(width=100, batch=100, depth=1)
    figures = {figure["quantity"]: figure for figure in result.headline}
    inputs, units = figures["correlation_over_inputs_first_block"], figures["absolute_cosine_first_block"]
    assert near(inputs, math.sqrt(math.pi / (math.pi - 1) / 100))
    assert inputs["theory"] == pytest.approx(0.1211, abs=5e-4)
    assert near(units, math.sqrt(2 / math.pi) / 10)


def test_later_blocks_share_more_of_their_past() -> None:
    result = run(width=128, batch=64, draws=100, depth=6)
    squares = [row["mean"] for row in rows(result, "squared_correlation_over_inputs")]
    assert squares == sorted(squares)
    family = next(f for f in result.families if f.quantity == "squared_correlation_over_inputs")
    assert family.verdict == Verdict.AGREE
    assert "as far as block 5" in family.sentence  # beyond, the leading order in 1/width is too coarse


def test_relu_last_has_a_mean_product_but_no_covariance() -> None:
    result = run(order="linear-relu", width=100, depth=12)
    product, second_moment = (rows(result, name) for name in ("correlation_over_weights", "second_moment_over_sum"))
    assert near(product[0], 0.0)
    assert product[1]["mean"] == pytest.approx(0.225, abs=0.015)
    assert product[-1]["mean"] == pytest.approx(0.45, abs=0.04)
    assert second_moment[-1]["mean"] == pytest.approx(1.45, abs=0.04)
    assert all(near(row, 1.0) for row in rows(result, "variance_over_sum"))


def test_few_inputs_give_no_squared_correlation() -> None:
    assert not rows(run(batch=3), "squared_correlation_over_inputs")
    result = run(batch=1)
    assert not [f for f in result.families if f.verdict == Verdict.DISAGREE]
    cosine, correlation = rows(result, "absolute_cosine")[0], rows(result, "correlation_over_weights")[0]
    assert cosine["mean"] > abs(correlation["mean"])


def test_squared_covariance_is_estimated_without_bias_whatever_the_law() -> None:
    """5 inputs, 400,000 units of skew and heavy-tailed h and f: Cov = Var h = 1, Var f = 1.25, k22 = 6."""
    first, second = torch.empty(2, 5, 400_000).exponential_(generator=torch.Generator().manual_seed(7))
    numbers = squared_covariances(first[None], (first + 0.5 * second)[None])
    assert numbers["squared_covariance"].item() == pytest.approx(1.0, abs=0.08)
    assert numbers["product_of_variances"].item() == pytest.approx(1.25, abs=0.08)


def test_scale_does_not_matter_and_depth_has_no_limit() -> None:
    """200 blocks with two layers double the second moment beyond float32."""
    deep = run(depth=200, order="two-layer", draws=8, width=32, batch=4)
    assert len(deep.rows) == 5 * 200
    assert all(math.isfinite(row["mean"]) for row in deep.rows)
    residual, rescaled = (run(scheme=s, depth=60, draws=16, width=16, batch=6) for s in ("residual", "rescaled"))
    for name in ("absolute_cosine", "squared_correlation_over_inputs"):
        means = [[row["mean"] for row in rows(result, name)] for result in (residual, rescaled)]
        assert means[0] == pytest.approx(means[1], rel=1e-2)


def test_a_scheme_without_two_branches_is_refused() -> None:
    with pytest.raises(UsageError, match="must be one of residual, rescaled, stable, batchnorm"):
        Independence.parse({"scheme": "plain"})
    with pytest.raises(UsageError, match="batch normalisation of a single example is zero"):
        Independence.parse({"scheme": "batchnorm", "batch": 1})
