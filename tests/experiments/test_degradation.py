"""The degradation experiment: rows as declared, and verdicts on orderings."""

import pytest
import torch

from resexp.core.lab import Lab
from resexp.core.result import STATISTICS_COLUMNS, Result
from resexp.experiments.degradation import Degradation
from resexp.training.history import History

SMALL = {"shallow": 8, "deep": 14, "width": 2, "seeds": 2, "limit": 64, "batch": 32, "epochs": 2}


def run(**more: object) -> Result:
    return Degradation.parse({**SMALL, **more}).compute(Lab("degradation", seed=1))


def test_rows_are_the_declared_ones() -> None:
    result = run()
    assert result.columns == ("net", "epoch", "quantity", *STATISTICS_COLUMNS)
    places = [(row["quantity"], row["net"], row["epoch"]) for row in result.rows]
    nets = ("plain:8", "plain:14", "residual:8", "residual:14")
    assert places == [(q, n, e) for q in ("train_loss", "train_error", "test_error") for n in nets for e in (1, 2)]
    assert all(row["draws"] == 2 for row in result.rows)


def test_a_diverged_net_is_a_result_and_named() -> None:
    result = run(rate=1e30)
    assert any(note.startswith("plain:8 diverged: seed 0 at step") for note in result.notes)
    last = [row for row in result.rows if row["net"] == "plain:8" and row["epoch"] == 2]
    assert all(row["mean"] is None for row in last)
    assert {family.verdict for family in result.families} <= {"underpowered", "no theory"}


def curves(*ends: float) -> History:
    """A history of nets that end with these errors."""
    column = torch.tensor([ends], dtype=torch.float64)
    return History(column, column, column, column, column, column, {})


def test_verdicts_follow_the_orderings() -> None:
    """Eight seeds in order agree, eight in none disagree; the tolerance is the residual nets' alone."""
    from resexp.core.assessment import assess

    experiment = Degradation.parse({"epochs": 1, "seeds": 8, "batch": 8})

    def verdicts(plain_deep: float, residual_deep: float) -> list[str]:
        low, plain, residual = ([x] * 8 for x in (0.05, plain_deep, residual_deep))
        nets = ("plain:20", "plain:56", "residual:20", "residual:56")
        histories = dict(zip(nets, (curves(*x) for x in (low, plain, low, residual)), strict=True))
        families = assess(experiment, experiment.rows(histories)).families
        return [family.verdict for family in families]

    assert verdicts(0.7, 0.07) == ["agree"] * 4
    assert verdicts(0.04, 0.07) == ["disagree"] * 3 + ["agree"]
    assert verdicts(0.7, 0.09) == ["agree"] * 3 + ["disagree"]
    assert verdicts(float("nan"), 0.01) == ["agree"] * 4


def test_residual_orderings_are_not_judged_after_few_steps() -> None:
    assert Degradation.parse({}).theory("deeper_residual_no_worse") is not None
    assert Degradation.parse({"epochs": 2}).theory("deeper_residual_no_worse") is None
    assert Degradation.parse({"data": "folder:x", "epochs": 1}).theory("depth_costs_plain_more") is not None


@pytest.mark.parametrize(
    ("wrong", "what"),
    [({"deep": 55}, "6 n \\+ 2"), ({"shallow": 56}, "must be more than"), ({"data": "digit"}, "did you mean")],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object], what: str) -> None:
    with pytest.raises(Exception, match=what):
        Degradation.parse(wrong)
