"""What `overflow` shows of the ranges of number formats."""

from typing import Any

import pytest

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.result import Result, Value, Verdict
from resexp.experiments.overflow import Overflow


def run(**parameters: Any) -> Result:
    return Overflow.parse({"draws": 64, **parameters}).compute(Lab("overflow", seed=2))


def by_quantity(result: Result) -> dict[str, dict[str, Value]]:
    return {str(row["quantity"]): row for row in result.rows}


def mean(result: Result, quantity: str) -> float:
    value = by_quantity(result)[quantity]["mean"]
    assert isinstance(value, float)
    return value


def assert_meets_theory(result: Result) -> None:
    """All families judged, none off by more than its bias and what chance does once in 10^5 runs."""
    assert len(result.families) == 3
    for family in result.families:
        assert family.verdict != Verdict.NOT_JUDGED
        assert family.p_value is not None
        assert family.p_value > 1e-5, family


def test_formats_leave_where_their_exponents_say() -> None:
    """bfloat16 has the exponents of float32 and sees the same networks; squares leave at half the exponent."""
    half, brain, single = (run(number_format=f, draws=16) for f in ("float16", "bfloat16", "float32"))
    for result in (half, brain, single):
        assert_meets_theory(result)
    for quantity in ("activation_overflow_block", "square_overflow_block", "gradient_overflow_block"):
        assert mean(brain, quantity) == pytest.approx(mean(single, quantity), abs=3.0)
        assert mean(single, quantity) > 8 * mean(half, quantity)
    assert mean(half, "square_overflow_block") < 15  # where 2^K itself leaves
    assert mean(single, "square_overflow_block") == pytest.approx(
        mean(single, "activation_overflow_block") / 2, rel=0.05
    )


def test_float64_needs_two_thousand_blocks() -> None:
    result = run(number_format="float64", width=32, draws=8)
    assert_meets_theory(result)
    assert mean(result, "activation_overflow_block") == pytest.approx(2250, abs=100)


def test_width_delays_overflow_beyond_doubling() -> None:
    """At width 32 by a tenth: the limit is off by many standard errors, the finite-width law is not."""
    result = run(number_format="bfloat16", width=32, draws=32)
    assert_meets_theory(result)
    row = by_quantity(result)["activation_overflow_block"]
    assert row["theory_kind"] == "finite-width"
    assert isinstance(row["ci_low"], float)
    limit = Overflow.parse({"number_format": "bfloat16", "width": 32}).limit("activation")
    assert limit is not None
    assert row["ci_low"] > limit + 10


def test_gradient_of_a_plain_net_lies_on_half_of_the_units() -> None:
    """Its largest is larger, over the root mean square, than that of the activations, and leaves earlier."""
    result = run(scheme="plain", alpha=2.0, draws=512)
    assert_meets_theory(result)


@pytest.mark.parametrize("scheme", ["plain", "rescaled"])
def test_signals_that_shrink_leave_at_the_other_end(scheme: str) -> None:
    result = run(scheme=scheme, init="glorot")
    assert_meets_theory(result)
    assert {row["range_exponent"] for row in result.rows} == {-14}
    assert mean(result, "square_underflow_block") < mean(result, "activation_underflow_block")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"scheme": "rescaled"}, "none ever leaves"),
        ({"scheme": "skipinit"}, "none ever leaves"),
        ({"scheme": "stable"}, "smaller branch"),
        ({"scheme": "batchnorm"}, "by a sum"),
        ({"alpha": 0.01}, "at block 196,0"),
    ],
    ids=lambda p: str(p),
)
def test_what_never_leaves_gets_a_note_and_no_number(parameters: dict[str, Any], reason: str) -> None:
    result = run(draws=8, **parameters)
    assert result.rows
    assert {(row["mean"], row["verdict"]) for row in result.rows} == {(None, Verdict.NO_THEORY)}
    assert {family.verdict for family in result.families} == {Verdict.NO_THEORY}
    assert any("activations in 8" in note and reason in note for note in result.notes)


def test_too_few_blocks_give_no_mean_of_those_that_left() -> None:
    result = run(depth=30)
    row = by_quantity(result)["activation_overflow_block"]
    assert (row["mean"], row["verdict"]) == (None, Verdict.NOT_JUDGED)
    assert isinstance(row["theory"], float)
    assert "use a larger --depth" in result.notes[-1]
    assert mean(result, "square_overflow_block") < 20  # all of these left


def test_orthogonal_weights_are_held_against_the_limit() -> None:
    result = run(init="orthogonal", width=100, depth=50, draws=32)
    assert {row["theory_kind"] for row in result.rows} == {"limit"}
    assert_meets_theory(result)


@pytest.mark.parametrize(
    ("parameters", "note"), [({"width": 16, "depth": 200}, "below width 32"), ({"batch": 4}, "several inputs")]
)
def test_no_theory_where_it_does_not_hold(parameters: dict[str, Any], note: str) -> None:
    result = run(**parameters)
    assert {row["theory"] for row in result.rows} == {None}
    assert note in result.notes[0]


@pytest.mark.parametrize("init", ["he", "orthogonal"])
@pytest.mark.parametrize("alpha", [0.0, 1e-6])
def test_a_branch_of_almost_nothing_decays_with_its_skip_connection(alpha: float, init: str) -> None:
    """The largest square halves a block: 2^-14 is passed where 2 max(z^2) / 2^k is."""
    result = run(scheme="rescaled", alpha=alpha, init=init, depth=20, draws=16)
    assert mean(result, "square_underflow_block") == pytest.approx(18.2, abs=0.4)


def test_several_inputs_overflow_before_one() -> None:
    assert mean(run(batch=32), "activation_overflow_block") < mean(run(), "activation_overflow_block") - 2


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"scheme": "batchnorm", "batch": 1}, "use --batch 2"),
        ({"scheme": "plain", "alpha": 0}, "nothing would be left"),
        ({"alpha": 1e-9}, "for float32 to hold it"),
        ({"number_format": "float8"}, "must be one of float16, bfloat16"),
    ],
    ids=lambda p: str(p),
)
def test_bad_parameters_are_refused_in_a_sentence(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Overflow.parse(parameters)
