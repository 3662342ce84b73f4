from dataclasses import replace

import pytest

from resexp.core.lab import Lab
from resexp.experiments.batchnorm_backward import BatchNormBackward
from resexp.nets import by_hand

LAB = Lab("batchnorm-backward")


def verdicts(result):
    return {family.quantity: family.verdict for family in result.families}


@pytest.mark.parametrize(
    "values",
    [{}, {"batch": 3, "eps": 1.0, "gamma": 3.0}, {"eps": 1e-30, "below": 8, "above": 30}, {"below": 0, "above": 0}],
    ids=str,
)
def test_four_ways_agree(values):
    assert set(verdicts(BatchNormBackward(**values).compute(LAB)).values()) == {"agree"}


def test_the_equations_part_below_the_root_of_eps():
    result = BatchNormBackward().compute(LAB)
    rows = {(row["quantity"].split()[-1], row["log10_deviation_over_eps"]): row for row in result.rows}
    assert rows["11.8", 5]["across"] == pytest.approx(rows["11.10", 5]["across"], rel=2e-5)
    assert rows["11.8", 0]["output_deviation"] == pytest.approx(0.5)
    assert rows["11.10", 0]["output_deviation"] == pytest.approx(1e-5**0.5, rel=1e-4)
    assert rows["11.8", None]["across"] == pytest.approx(1e5)
    assert rows["11.10", None]["across"] == pytest.approx(1e5**0.5)
    assert rows["11.8", None]["off_autograd"] is None
    assert rows["11.8", None]["off_differences"] < 1e-8


def test_a_wrong_backward_pass_is_caught(monkeypatch):
    """Equation 11.8 with zhat in both places, where one must be (z - m) / s."""
    backward = by_hand.backward
    monkeypatch.setattr(by_hand, "backward", lambda u, saved: backward(u, replace(saved, ztilde=saved.zhat)))
    found = verdicts(BatchNormBackward().compute(LAB))
    for name in ("by_steps", "to_autograd", "to_differences"):
        assert found[f"entries_equal_{name}"] == "disagree"
    assert found["factors_equal_to_closed_form"] == "disagree"


def test_a_wrong_forward_pass_is_caught(monkeypatch):
    """The two equations swapped: hand, autograd and differences follow, the steps and the closed form do not."""
    forward = by_hand.forward
    other = {"deviation": "root", "root": "deviation"}
    monkeypatch.setattr(by_hand, "forward", lambda z, g, d, eps, by: forward(z, g, d, eps, other[by]))
    found = verdicts(BatchNormBackward().compute(LAB))
    assert found["entries_equal_by_steps"] == found["factors_equal_to_closed_form"] == "disagree"
    assert found["output_ratio_at_deviation_eps"] == found["nan_of_autograd_at_zero_11_8"] == "disagree"
