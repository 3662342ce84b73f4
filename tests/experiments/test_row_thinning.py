"""A thinned table shows the same numbers, and is judged as the whole one is."""

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from resexp.core.lab import Lab
from resexp.core.measured import Measured
from resexp.core.result import Prediction, Quantity, Result, Row, Verdict
from resexp.core.statistics import Samples
from resexp.experiments.variance import Variance

MEASURED = ("mean", "stderr", "ci_low", "ci_high", "median", "theory")


@cache
def run(scheme: str = "residual", depth: int = 50, rows: int = 201, batch: int = 8) -> Result:
    values = {"scheme": scheme, "depth": depth, "rows": rows, "batch": batch, "width": 64, "draws": 64}
    return Variance.parse(values).compute(Lab("variance", seed=2))


@pytest.mark.parametrize("scheme", ["residual", "batchnorm"])
def test_twenty_rows_are_rows_of_the_full_run(scheme: str) -> None:
    """Fifty blocks make steps of two and of three: a mean over rows that forgets it is another number."""
    full, thinned = run(scheme), run(scheme, rows=20)
    places = {(row["quantity"], row["block"]): row for row in full.rows}
    blocks = sorted({int(str(row["block"])) for row in thinned.rows})
    assert (blocks[0], blocks[-1], len(blocks)) == (0, 50, 20)
    assert set(np.diff(blocks)) == {2, 3}
    for row in thinned.rows:
        for column in MEASURED:
            assert row[column] == places[row["quantity"], row["block"]][column], (row["quantity"], row["block"], column)
    figures = {figure["quantity"]: figure for figure in full.headline}
    assert sum(str(name).endswith(("growth_per_block", "added_per_block")) for name in figures) >= 3
    for name in ("growth_per_block", "added_per_block"):
        for figure in (f for f in thinned.headline if str(f["quantity"]).endswith(name)):
            whole = figures[figure["quantity"]]
            for column in MEASURED:
                assert figure[column] == pytest.approx(whole[column], rel=1e-9), (figure["quantity"], column)
    assert {f.quantity: f.verdict for f in thinned.families} == {f.quantity: f.verdict for f in full.families}


@pytest.mark.parametrize("scheme", ["residual", "batchnorm"])
def test_a_theory_three_percent_off_is_caught_with_thinned_rows(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three percent a block, of the factor, or of the sum that batch normalisation makes of it; the true one agrees."""
    name, right = "activation_second_moment", Variance.theory

    def verdict() -> Verdict:
        values = {"scheme": scheme, "rows": 20, "batch": 32, "width": 64, "draws": 128}
        result = Variance.parse(values).compute(Lab("variance", seed=2))
        return next(f.verdict for f in result.families if f.quantity == name)

    def wrong(self: Variance, quantity: str, block: int) -> Prediction | None:
        said = right(self, quantity, block)
        if quantity != name or said is None:
            return said
        values = vars(said).copy()
        if said.log is not None:
            values["log"] = said.log + block * math.log(1.03)
        if said.typical_log is not None:
            values["typical_log"] = said.typical_log + block * math.log(1.03)
        if said.value is not None:
            values["value"] = said.value + 0.03 * block
        return Prediction(**values)

    assert verdict() == Verdict.AGREE
    monkeypatch.setattr(Variance, "theory", wrong)
    assert verdict() == Verdict.DISAGREE


BLOCKS = np.array([0, 1, 4, 10])


def measured(judged: Any, *, reverse: bool = False, first_is_a_definition: bool = False) -> Measured:
    """Five networks, of unequal growth in unequal steps, beside a theory of 0.2 a block."""
    rng = np.random.default_rng(3)
    levels = np.cumsum(rng.normal(0.5, 0.3, (len(BLOCKS), 5)), axis=0)
    growth = BLOCKS.max() - BLOCKS if reverse else BLOCKS
    makes_samples = Samples.from_log if judged == "log increments" else Samples.of
    name = "log" if judged == "log increments" else "value"
    rows, predictions = [], []
    for block, level, expected in zip(BLOCKS, levels[::-1] if reverse else levels, 0.2 * growth, strict=True):
        rows.append(Row({"block": int(block)}, "q", makes_samples(level)))
        definition = first_is_a_definition and expected == 0
        predictions.append(Prediction("limit", **{name: float(expected)}, bias=0.0, is_definition=definition))
    return Measured(Quantity("q", "of a test", judged=judged, reverse=reverse), rows, predictions)


@pytest.mark.parametrize("first_is_a_definition", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("judged", ["log increments", "increments"])
def test_unequal_steps_are_judged_a_block(judged: str, reverse: bool, first_is_a_definition: bool) -> None:
    one = measured(judged, reverse=reverse, first_is_a_definition=first_is_a_definition)
    log = [row.samples.log if judged == "log increments" else row.samples.mantissa for row in one.rows]
    levels = np.stack(log[::-1] if reverse else log, axis=1)  # (draws, rows) in the order of growth
    steps = np.array([6, 3, 1] if reverse else [1, 3, 6])
    per_block = (levels[:, -1] - levels[:, 0]) / 10
    family = one.family()
    assert family is not None
    growth = family.statistic[:, family.leading :]
    assert growth == pytest.approx(np.diff(levels, axis=1) / steps)
    assert family.theory[family.leading :] == pytest.approx(0.2)
    assert family.leading == int(not first_is_a_definition)
    assert family.over_rows(family.statistic) == pytest.approx(per_block)
    assert family.shares()[family.leading :] == pytest.approx(steps / 10)
    assert one.headline_samples() == pytest.approx(per_block)


def test_with_theory_for_some_rows_alone_the_headline_is_theirs() -> None:
    one = measured("log increments")
    some = Measured(one.quantity, one.rows, [*one.predictions[:3], None])
    family = some.family()
    assert family is not None
    levels = np.stack([row.samples.log for row in one.rows], axis=1)
    assert family.over_rows(family.statistic) == pytest.approx((levels[:, 2] - levels[:, 0]) / 4)


def test_rows_of_several_axes_are_one_step_apart() -> None:
    one = measured("log increments")
    rows = [Row({"stage": 1, **row.axes}, row.quantity, row.samples) for row in one.rows]
    growth = Measured(one.quantity, rows, one.predictions).log_increments()
    assert growth == pytest.approx(np.diff(np.stack([row.samples.log for row in rows], axis=1), axis=1))


@pytest.mark.parametrize(("depth", "off"), [(165, 1.5), (60, 5.0)])
def test_the_block_of_overflow_is_that_of_the_full_run(depth: int, off: float) -> None:
    """Between listed blocks growth is taken for even; beyond the last one that of the last half is carried on."""
    blocks = {}
    for rows in (201, 12):
        figures = {figure["quantity"]: figure for figure in run(depth=depth, rows=rows, batch=1).headline}
        blocks[rows] = [float(str(figures[f"overflow_block_{dtype}"]["mean"])) for dtype in ("float16", "float32")]
    assert 10 < blocks[201][0] < 20
    assert 120 < blocks[201][1] < 165
    assert blocks[12] == pytest.approx(blocks[201], abs=off)
