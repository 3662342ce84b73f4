"""What `variance` shows of the book's statements, and its headline figures."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.measured import by_quantity, measure_against_theory
from resexp.core.result import Result, Value, Verdict
from resexp.core.verdict import judge
from resexp.experiments.variance import Variance


def run(**parameters: Any) -> Result:
    values = {"depth": 10, "width": 100, "batch": 32, "draws": 128, **parameters}
    return Variance.parse(values).compute(Lab("variance", seed=3))


def headline(result: Result, name: str) -> dict[str, Value]:
    return next(figure for figure in result.headline if figure["quantity"] == name)


def number(value: Value) -> float:
    assert isinstance(value, int | float)
    return float(value)


SETTINGS: list[dict[str, Any]] = [
    *({"scheme": s} for s in ("plain", "rescaled", "skipinit", "rezero", "stable", "fixup", "batchnorm")),
    *({"order": o} for o in ("linear-relu", "two-layer")),
    {"scheme": "batchnorm", "order": "two-layer"},
    {"scheme": "fixup", "order": "two-layer", "alpha": 1.0},
    *({"init": i} for i in ("glorot", "lecun", "orthogonal")),
    *({"activation": a} for a in ("tanh", "gelu", "linear")),
    *({"scheme": "batchnorm", "cotangent": c} for c in ("independent", "sum")),
    {"batch": 1},
    {"activation": "gelu", "scheme": "rescaled", "depth": 40, "width": 64, "batch": 4},
    {"activation": "gelu", "scheme": "plain", "order": "linear-relu", "depth": 40, "width": 64, "batch": 4},
    {"activation": "tanh", "alpha": 10.0, "depth": 20, "batch": 1},
    {"scheme": "stable", "order": "linear-relu", "depth": 30, "draws": 512},
    {"scheme": "plain", "alpha": 1e-6, "activation": "tanh", "depth": 12, "width": 32, "batch": 2},
]


@pytest.mark.parametrize("parameters", SETTINGS, ids=str)
def test_every_setting_meets_its_theory(parameters: dict[str, Any]) -> None:
    result = run(**parameters)
    assert {f.quantity for f in result.families if f.verdict != Verdict.NO_THEORY} >= {"activation_second_moment"}
    assert not [f for f in result.families if f.verdict == Verdict.DISAGREE]


@pytest.mark.parametrize(
    ("parameters", "growth", "theory"),
    [
        ({"scheme": "residual"}, 2.0, 2.0),
        ({"scheme": "rescaled"}, 1.0, 1.0),
        ({"scheme": "plain"}, 1.0, 1.0),
        ({"scheme": "plain", "init": "glorot"}, 0.5, 0.5),
        ({"scheme": "stable"}, 1.1, 1.1),
        ({"scheme": "residual", "alpha": 0.5}, 1.25, 1.25),
        ({"scheme": "skipinit"}, 1.0, 1.0),
    ],
)
def test_growth_per_block_forward_and_backward(parameters: dict[str, Any], growth: float, theory: float) -> None:
    result = run(width=300, batch=16, **parameters)
    for name in ("activation_growth_per_block", "gradient_growth_per_block"):
        figure = headline(result, name)
        assert number(figure["mean"]) == pytest.approx(growth, rel=0.02), name
        assert number(figure["theory"]) == pytest.approx(theory, rel=0.01), name
        assert number(figure["ci_low"]) <= number(figure["median"]) * 1.01


def test_batchnorm_adds_one_to_the_second_moment_and_less_to_the_batch_variance() -> None:
    result = run(scheme="batchnorm", batch=100)
    assert number(headline(result, "activation_added_per_block")["mean"]) == pytest.approx(1.0, abs=0.03)
    slope = headline(result, "batch_variance_added_per_block")
    assert number(slope["mean"]) == pytest.approx(1 - 1 / math.pi, abs=0.02)
    assert slope["verdict"] == Verdict.AGREE


def test_a_block_that_ends_in_relu_can_only_add() -> None:
    means = [number(r["mean"]) for r in run(order="linear-relu").rows if r["quantity"] == "activation_mean"]
    assert all(later > earlier for earlier, later in itertools.pairwise(means))


def test_cotangents_differ_severalfold_with_batchnorm() -> None:
    growth = {
        c: number(headline(run(scheme="batchnorm", cotangent=c, batch=64), "gradient_growth_per_block")["mean"]) ** 10
        for c in ("independent", "sum", "loss")
    }
    assert growth["independent"] > 3 * growth["sum"]
    assert growth["independent"] > growth["loss"] > growth["sum"]


def test_overflow_blocks_are_measured_or_carried_on() -> None:
    result = run(depth=20, batch=1, width=400)
    for dtype, block in (("float16", 15), ("float32", 127), ("float64", 1023)):
        figure = headline(result, f"overflow_block_{dtype}")
        assert figure["theory"] == pytest.approx(block)
        assert number(figure["median"]) == pytest.approx(block, rel=0.07)
    assert headline(run(scheme="rescaled"), "overflow_block_float16")["theory"] is None


def test_a_float64_overflow_is_reported_as_log2() -> None:
    result = run(depth=1300, width=64, batch=1, draws=16)
    last = [r for r in result.rows if r["block"] == 1300 and "activation_second" in str(r["quantity"])]
    assert [r["quantity"] for r in last] == ["activation_second_moment", "log2_activation_second_moment"]
    assert last[0]["theory"] is None or number(last[0]["theory"]) > 1e300
    assert last[1]["mean"] is not None


def test_gelu_that_overflows_says_at_which_block() -> None:
    result = run(activation="gelu", depth=340, draws=16, batch=2, width=32)
    assert any("left the range of the dtype, or died, at block" in note for note in result.notes)
    judged = [r["verdict"] for r in result.rows if r["block"] == 340]
    assert Verdict.NOT_JUDGED in judged


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"depth": 0}, "--depth 0: must be at least 1"),
        ({"draws": 1}, "--draws 1: must be at least 2"),
        ({"scheme": "batchnrom"}, "did you mean 'batchnorm'"),
        ({"scheme": "batchnorm", "batch": 1}, "use --batch 2 or more"),
        ({"scheme": "plain", "alpha": 0}, "nothing would be left"),
    ],
)
def test_refuses(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Variance.parse(parameters)


BOUNDED: list[dict[str, Any]] = [
    {"scheme": "residual", "batch": 1},
    {"scheme": "plain", "batch": 16},
    {"scheme": "residual", "init": "glorot", "batch": 16},
    {"order": "two-layer", "batch": 16},
    {"activation": "tanh", "batch": 16},
    {"scheme": "batchnorm", "batch": 64},
    {"scheme": "batchnorm", "batch": 64, "alpha": 3.0},
    {"scheme": "batchnorm", "batch": 64, "alpha": 0.1},
]


@pytest.mark.parametrize("parameters", BOUNDED, ids=str)
def test_a_theory_off_by_more_than_its_bias_and_the_margin_is_caught(parameters: dict[str, Any]) -> None:
    """The declared bounds are no wider than they must be: three margins beyond them are a disagreement."""
    experiment = Variance.parse({"depth": 10, "width": 200, "draws": 1024, **parameters})
    grouped = by_quantity(experiment.measure(Lab("variance", seed=5, threads=2)))
    judged = set()
    for measured in measure_against_theory(experiment, grouped):
        family = measured.family()
        if family is None or measured.quantity.name == "activation_mean":
            continue
        judged.add(measured.quantity.name)
        assert judge(family).verdict is not Verdict.DISAGREE, measured.quantity.name
        off = family.theory + 1.1 * family.bias + 3 * family.margin
        assert judge(replace(family, theory=off)).verdict is Verdict.DISAGREE, measured.quantity.name
        assert (family.bias <= 3 * family.margin).all(), measured.quantity.name
    assert judged >= {"activation_second_moment", "gradient_second_moment"}


def test_gradient_of_one_input_is_held_against_its_law_at_finite_width() -> None:
    """100 wide and 400 deep it grows by 1.963 a block, not 2: E log of one block is -1.9/100 off in the end."""
    result = run(batch=1, depth=400, engine="law", draws=512, rows=41)
    figure = headline(result, "gradient_growth_per_block")
    assert figure["theory_kind"] == "finite-width"
    assert figure["verdict"] == Verdict.AGREE
    assert number(figure["mean"]) == pytest.approx(1.963, abs=0.004)


def test_a_limit_says_nothing_of_nets_much_deeper_than_wide() -> None:
    result = run(batch=4, depth=200, width=32, draws=16, engine="law", rows=21)
    assert headline(result, "batch_variance_growth_per_block")["verdict"] == Verdict.NOT_JUDGED


def test_narrow_networks_die_and_get_no_theory() -> None:
    result = run(width=8, depth=50, batch=4)
    assert any("networks die" in note for note in result.notes)
    growth = headline(result, "activation_growth_per_block")
    assert (growth["theory"], growth["verdict"]) == (None, Verdict.NO_THEORY)


def test_log2_rows_are_logarithms_of_the_same_theory() -> None:
    result = run(depth=1300, width=64, batch=1, draws=16, rows=1301)
    row = next(r for r in result.rows if r["quantity"] == "log2_activation_second_moment" and r["block"] == 1000)
    assert number(row["theory"]) == pytest.approx(number(row["mean"]), rel=0.03)
    assert 900 < number(row["theory"]) < 1001


@pytest.mark.parametrize("init", ["he", "orthogonal"])
@pytest.mark.parametrize("batch", [1, 8])
def test_the_first_layer_is_exact(init: str, batch: int) -> None:
    result = run(width=24, init=init, batch=batch, draws=20_000, depth=1)
    first = [r for r in result.rows if r["block"] == 0 and r["quantity"] != "gradient_second_moment"]
    assert {r["theory_kind"] for r in first} == {"exact"}
    assert {r["verdict"] for r in first} == {Verdict.AGREE}
