"""What `dead-units` shows of units that never switch, and of batch normalisation."""

from typing import Any

import pytest

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.result import Result, Verdict
from resexp.core.schemes import SCHEMES
from resexp.experiments.dead_units import DeadUnits
from resexp.theory.gaussian import kappa0


def run(**parameters: Any) -> Result:
    values = {"depth": 12, "width": 64, "batch": 20, "draws": 64, **parameters}
    return DeadUnits.parse(values).compute(Lab("dead-units", seed=6, dtype="float64"))


def means(result: Result, quantity: str) -> list[float]:
    return [float(str(row["mean"])) for row in result.rows if row["quantity"] == quantity]


@pytest.mark.parametrize("order", ["relu-linear", "linear-relu", "two-layer"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_setting_meets_its_theory(scheme: str, order: str) -> None:
    result = run(scheme=scheme, order=order)
    assert not [f for f in result.families if f.verdict == Verdict.DISAGREE]
    assert {f.quantity for f in result.families if f.verdict == Verdict.AGREE} >= {"share_switching", "co_activation"}


@pytest.mark.parametrize("order", ["relu-linear", "linear-relu", "two-layer"])
@pytest.mark.parametrize("batch", [2, 30])
def test_with_batch_normalisation_every_unit_switches_in_every_network(order: str, batch: int) -> None:
    result = run(scheme="batchnorm", order=order, batch=batch, width=3, depth=40)
    assert set(means(result, "share_switching")) == {1.0}
    assert {row["stderr"] for row in result.rows if row["quantity"] != "co_activation"} == {0.0}


def test_plain_units_stop_switching_and_skip_connections_delay_it() -> None:
    schemes = ("residual", "stable", "skipinit")
    last = {scheme: means(run(scheme=scheme, depth=40, draws=32), "share_switching")[-1] for scheme in schemes}
    plain = run(depth=40)
    switching = means(plain, "share_switching")
    assert switching[-1] < 0.3 < last["residual"] < 0.6 < last["stable"]
    assert last["skipinit"] > 0.999  # h never changes
    on, off = means(plain, "share_always_on"), means(plain, "share_always_off")
    assert on[-1] == pytest.approx(off[-1], abs=0.06)
    assert [sum(shares) for shares in zip(on, off, switching, strict=True)] == pytest.approx([1.0] * 40)


@pytest.mark.parametrize(("order", "scheme"), [("relu-linear", "plain"), ("linear-relu", "residual")])
def test_the_first_block_is_exact_at_any_width(order: str, scheme: str) -> None:
    result = run(order=order, scheme=scheme, width=5, batch=3, depth=1, draws=5000)
    assert means(result, "share_always_on")[0] == pytest.approx(1 / 8, abs=0.02)
    assert means(result, "co_activation")[0] == pytest.approx(1 / 4, abs=0.02)


def test_two_inputs_are_both_on_as_kappa0_says() -> None:
    result = run(batch=2, depth=2, width=400)
    assert means(result, "share_always_on") == pytest.approx(means(result, "co_activation"))
    expected = float(kappa0(1 / 3.14159265)) / 2  # the correlation after one ReLU is kappa1(0) = 1/pi
    assert means(result, "co_activation")[1] == pytest.approx(expected, abs=0.02)
    assert abs(expected - 0.25) > 0.05


def test_a_larger_batch_makes_more_units_switch() -> None:
    small, large = (means(run(batch=batch, draws=32), "share_switching")[-1] for batch in (2, 200))
    assert small < 0.25
    assert large > 0.5


def test_rare_events_are_no_disagreement() -> None:
    """At B = 14 a unit in 16,384 is always on in the first block: none in most runs of 16 networks, a few in some."""
    for seed in range(8):
        result = DeadUnits.parse({"depth": 1, "width": 64, "batch": 14, "draws": 16}).compute(Lab("x", seed=seed))
        assert not [f for f in result.families if f.verdict == Verdict.DISAGREE]


def test_networks_so_narrow_that_they_die_get_a_note_and_no_theory() -> None:
    result = run(width=8)
    assert "use a larger --width" in result.notes[0]
    assert {f.verdict for f in result.families} == {Verdict.NO_THEORY}
    assert means(result, "share_always_off")[-1] > means(result, "share_always_on")[-1]
    assert not run(width=8, scheme="batchnorm").notes


def test_a_single_input_cannot_switch_anything() -> None:
    with pytest.raises(UsageError, match="--batch 1: a unit cannot switch"):
        DeadUnits.parse({"batch": 1})
