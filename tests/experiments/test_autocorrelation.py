"""What `autocorrelation` shows of figure 11.3, and why the caption's set-up does not give it."""

from typing import Any

import numpy as np
import pytest

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.pooling import pool
from resexp.core.result import Result, Verdict
from resexp.experiments.autocorrelation import Autocorrelation
from resexp.theory import scalar_theory


def run(**parameters: Any) -> Result:
    values = {"points": 48, "draws": 128, **parameters}
    return Autocorrelation.parse(values).compute(Lab("autocorrelation", seed=4))


def curve(result: Result, column: str = "mean") -> np.ndarray:
    return np.array([row[column] for row in result.rows], dtype=float)


def headline(result: Result, name: str) -> dict[str, Any]:
    return next(figure for figure in result.headline if figure["quantity"] == name)


@pytest.mark.parametrize(
    "parameters",
    [
        {"protocol": "he", "depth": 8},
        {"protocol": "he", "depth": 8, "bias_variance": 0.1},
        {"protocol": "rescaled", "depth": 12},
        {"protocol": "balduzzi", "depth": 6},
        {"protocol": "residual-batchnorm", "depth": 12, "beta": 0.5},
        {"protocol": "looks-linear", "depth": 12},
    ],
    ids=str,
)
def test_protocols_meet_their_theory(parameters: dict[str, Any]) -> None:
    result = run(**parameters)
    assert [f.verdict for f in result.families] == [Verdict.AGREE]
    assert np.abs(curve(result) - curve(result, "theory")).max() < 0.1


@pytest.mark.parametrize("points", [9, 48, 49])
@pytest.mark.parametrize(
    "parameters",
    [
        {"protocol": "he"},
        {"protocol": "residual"},
        {"protocol": "book", "bias_variance": 0.0},
        {"protocol": "book"},
        {"protocol": "balduzzi"},
        {"protocol": "residual-batchnorm"},
        {"protocol": "looks-linear"},
    ],
    ids=str,
)
def test_odd_and_even_grids_meet_their_theory(parameters: dict[str, Any], points: int) -> None:
    result = run(depth=6, points=points, **parameters)
    assert [f.verdict for f in result.families] == [Verdict.AGREE]
    assert np.abs(curve(result) - curve(result, "theory")).max() < 0.05
    left_out = any("counts in no pair" in note for note in result.notes)
    assert left_out == (points % 2 == 1 and parameters not in ({"protocol": "book"}, {"protocol": "looks-linear"}))


@pytest.mark.parametrize("protocol", ["he", "balduzzi", "residual-batchnorm"])
def test_without_its_kink_a_layer_has_two_gradients(protocol: str) -> None:
    """One for each sign of x, and uncorrelated; of nine inputs four a side count: pairs on one side over all pairs."""
    result = run(protocol=protocol, depth=1, points=9, max_lag=8)
    same_side = np.array([1, 6 / 6, 4 / 5, 2 / 4, 0, 0, 0, 0, 0])
    assert curve(result) == pytest.approx(same_side, abs=1e-6)
    assert curve(result, "theory") == pytest.approx(same_side, abs=1e-6)


def test_three_inputs_are_enough_where_there_is_no_kink() -> None:
    result = run(protocol="book", depth=6, points=3, draws=512)
    assert [row["lag"] for row in result.rows] == [0, 1]
    assert [f.verdict for f in result.families] == [Verdict.AGREE]


def test_the_captions_networks_hardly_change_between_24_and_50_layers() -> None:
    at_24, at_50 = (run(protocol="book", depth=depth) for depth in (24, 50))
    assert np.abs(curve(at_24) - curve(at_50)).max() < 0.05
    assert headline(at_24, "half_lag")["mean"] > 0.3
    assert headline(at_24, "whiteness")["mean"] < 0.2


def test_centring_over_the_inputs_makes_white_noise() -> None:
    result = run(protocol="balduzzi", depth=24)
    assert np.abs(curve(result)[1:]).max() < 0.1
    assert headline(result, "whiteness")["mean"] > 0.9


def test_residual_batchnorm_with_a_small_branch_lies_between() -> None:
    small = run(protocol="residual-batchnorm", depth=24, beta=0.1)
    assert 0.1 < headline(small, "whiteness")["mean"] < 0.6


def test_the_gradient_independence_shortcut_would_be_caught() -> None:
    """T <- T kappa0, as if the gradient did not depend on the activations, is off by far more than the bound."""
    result = run(protocol="he", depth=8, bias_variance=0.1, width=400, draws=64)
    x = Autocorrelation.parse({"points": 48}).grid()
    from resexp.theory import gradient_autocorrelation as theory

    c = theory.first_layer(x, 2.0, 0.1)
    t = c.t
    for _ in range(8):
        root = np.sqrt(np.outer(np.diag(c.h), np.diag(c.h)))
        t = t * (1 - np.arccos(np.clip(c.h / root, -1, 1)) / np.pi)
        c = theory.block(c, skip=0.0, branch=1.0, weight_gain=2.0, bias_variance=0.1)
    shortcut = theory.autocorrelation(t)[: len(result.rows)]
    assert np.abs(shortcut - curve(result)).max() > 4 * np.abs(curve(result, "theory") - curve(result)).max()


@pytest.mark.parametrize("biased", [{"estimator": "mean-of-ratios"}, {"subtract_mean": True}])
def test_biased_estimators_are_offered_without_a_theory(biased: dict[str, Any]) -> None:
    result = run(protocol="he", depth=8, **biased)
    assert {row["verdict"] for row in result.rows} == {Verdict.NO_THEORY}
    assert curve(result)[0] == pytest.approx(1.0)
    if "subtract_mean" in biased:
        assert curve(result)[8] < curve(run(protocol="he", depth=8))[8] - 0.03


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"points": 1}, "at least 2"),
        ({"max_lag": 128}, "lags 0 to 127"),
        ({"max_lag": 0}, "at least 1"),
        ({"beta": 0}, "more than 0"),
        ({"statistics": "differentiated"}, "without a norm the protocol book has no statistics"),
        ({"protocol": "balduzzi", "centre": "none", "statistics": "differentiated"}, "without a norm"),
        ({"protocol": "residual-batchnorm", "points": 2, "statistics": "differentiated"}, "at least 4"),
        ({"protocol": "he", "points": 3}, "protocol he does not exist at x = 0"),
        ({"protocol": "balduzzi", "points": 3, "statistics": "differentiated"}, "take 2, or at least 4"),
        ({"protocol": "looks-linear", "init": "glorot"}, "no meaning for the protocol looks-linear"),
    ],
)
def test_refuses(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Autocorrelation.parse(parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"protocol": "residual", "depth": 1100, "width": 16, "points": 8, "bias_variance": 0.1},
        {"protocol": "he", "beta": 0.001, "depth": 300, "width": 32, "points": 8},
        {"protocol": "balduzzi", "depth": 600, "width": 64, "points": 8},
        {"protocol": "book", "beta": 1000.0, "depth": 60, "width": 32, "points": 8},
        {"protocol": "book", "depth": 3, "width": 2, "points": 8, "draws": 500},
    ],
    ids=str,
)
def test_signals_beyond_float32_and_dead_networks_give_numbers(parameters: dict[str, Any]) -> None:
    result = run(**parameters)
    assert np.isfinite(curve(result)).all()
    assert not [f for f in result.families if f.verdict == Verdict.DISAGREE]


@pytest.mark.parametrize("dead", [{"beta": 1e-40}, {"width": 2, "estimator": "mean-of-ratios"}], ids=str)
def test_where_networks_died_the_headline_is_empty(dead: dict[str, Any]) -> None:
    result = run(protocol="he", depth=8, points=8, **dead)
    assert {headline(result, name)["mean"] for name in ("half_lag", "whiteness")} == {None}


def test_through_the_statistics_of_a_norm_there_is_no_theory_and_gradients_lose_their_mean() -> None:
    """Their mean over the grid is zero exactly: n r[0] and twice the pairs at every other lag sum to nothing."""
    both = {"protocol": "residual-batchnorm", "depth": 12, "max_lag": 47}
    result, held = run(statistics="differentiated", **both), run(**both)
    assert {row["verdict"] for row in result.rows} == {Verdict.NO_THEORY}
    assert any("gradient of the sum of y over the grid" in note for note in result.notes)
    pairs = 48 - np.arange(48)
    totals = [pairs[0] + 2 * (curve(r)[1:] * pairs[1:]).sum() for r in (result, held)]
    assert abs(totals[0]) < 1e-3 < totals[1]


def test_beyond_a_thousand_inputs_a_norm_has_no_theory_and_says_so() -> None:
    result = run(protocol="balduzzi", depth=2, width=4, points=1026, draws=8)
    assert {row["verdict"] for row in result.rows} == {Verdict.NO_THEORY}
    assert result.notes == ["No theory with a norm beyond 1024 points: it would take longer than the networks."]


def test_figures_of_pooled_seeds_are_those_of_the_pooled_curve() -> None:
    """Averaging over four small runs would leave the noise of each in: whiteness takes absolute values."""
    experiment = Autocorrelation.parse({"protocol": "balduzzi", "depth": 12, "width": 48, "points": 24, "draws": 8})
    results = [experiment.compute(Lab("autocorrelation", seed=seed)) for seed in range(4)]
    pooled = pool(results, experiment.pooled_figures)
    figures = {str(f["quantity"]): f["mean"] for f in pooled.headline}
    curve = [float(str(row["mean"])) for row in pooled.rows]
    assert figures["whiteness"] == pytest.approx(scalar_theory.whiteness(curve))
    assert figures["half_lag"] == pytest.approx(scalar_theory.half_lag(curve, 4 / 23))
    each = [float(str(f["mean"])) for r in results for f in r.headline if f["quantity"] == "whiteness"]
    assert abs(figures["whiteness"] - sum(each) / 4) > 1e-4


def test_estimates_count_what_theory_takes() -> None:
    big = Autocorrelation.parse({"protocol": "balduzzi", "points": 1024, "width": 2, "draws": 8})
    without = Autocorrelation.parse({**big.model_dump(), "subtract_mean": True})
    lab = Lab("autocorrelation")
    assert big.estimate_seconds(lab) > 10 * without.estimate_seconds(lab)
    assert big.estimate_memory(lab) > 10 * without.estimate_memory(lab)
    with pytest.raises(UsageError, match="for the theory: about"):
        big.estimate_memory(Lab("autocorrelation", memory=10**8))


def test_its_curves_are_one_shallow_and_one_deep_network() -> None:
    shallow, deep = Autocorrelation.parse({"protocol": "balduzzi", "points": 64}).curves(Lab("autocorrelation"))
    assert (shallow.label, deep.label) == ("one hidden layer", "24 hidden layers")

    def joints(y: tuple[float, ...]) -> int:
        return int((np.abs(np.diff(y)) > 0.1).sum())

    assert joints(shallow.y) == 1  # without biases all units switch at zero
    assert joints(deep.y) > 40
    assert np.mean(np.square(deep.y)) == pytest.approx(1.0)


def test_its_curves_leave_out_where_there_is_no_derivative() -> None:
    for curve in Autocorrelation.parse({"protocol": "he", "points": 9}).curves(Lab("autocorrelation")):
        assert curve.x == (-2.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0)
        assert len(curve.y) == 8
        assert np.mean(np.square(curve.y)) == pytest.approx(1.0)
