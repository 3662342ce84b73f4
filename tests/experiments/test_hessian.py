"""The hessian experiment: its exact number and what breaks it, orders between nets, bad input."""

import math

import pytest
import torch

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.experiments.hessian import NUMBERS, ORDERS, RANKS, Hessian

SMALL = dict(Hessian.smallest)
LAB = Lab("hessian", seed=2)
ALONG = RANKS + NUMBERS.index("curvature_along_scaling")


def test_no_curvature_along_the_convolutions_weights_by_batch_statistics_alone() -> None:
    """Exact to rounding with the examples' statistics; the running ones do not follow the weights, and it is gone."""
    for mode, low, high in (("train", 0.0, 1e-12), ("eval", 1e-4, float("inf"))):
        found = Hessian.parse({**SMALL, "mode": mode}).train(LAB)
        for _, looks in found.values():
            assert (looks["end"][:, ALONG].abs() >= low).all()
            assert (looks["end"][:, ALONG].abs() <= high).all()
            assert (looks["end"][:, :RANKS].diff(dim=1) <= 0).all()
    assert Hessian.parse({**SMALL, "mode": "eval"}).theory("curvature_along_scaling") is None


def test_orders_are_told_by_what_they_compare() -> None:
    """Each number of the plain net is made larger in one seed of two; an order with a net that diverged is none."""
    experiment = Hessian.parse(SMALL)
    found = experiment.train(LAB)
    for name, column in ORDERS.items():
        for kind, value in (("plain", 2.0), ("residual", 1.0)):
            found[kind][1]["end"][:, column] = torch.tensor([value, 1.5])
        held = {row.quantity: row.samples.mantissa.tolist() for row in experiment.rows(found)}
        assert held[name] == [1.0, 0.0]
        found["plain"][1]["end"][1, column] = torch.nan
        held = {row.quantity: row.samples.mantissa.tolist() for row in experiment.rows(found)}
        assert math.isnan(held[name][1])


def test_a_wrong_product_is_not_agreed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hessian that is off by a fraction of its largest eigenvalue is told."""
    from resexp.training.hessian import Hessian as Products

    true = Products.product
    monkeypatch.setattr(Products, "product", lambda self, vector: true(self, vector) + 1e-2 * vector)
    result = Hessian.parse({**SMALL, "seeds": 8, "epochs": 1}).compute(LAB)
    assert {f.verdict for f in result.families if f.quantity == "curvature_along_scaling"} == {"disagree"}


@pytest.mark.parametrize(
    ("wrong", "said"), [({"depth": 10}, "6 n \\+ 2"), ({"steps": 2}, "steps"), ({"near": 1.5}, "near")]
)
def test_bad_parameters_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Hessian.parse({**SMALL, **wrong})
