"""Rows as base-2 logarithms, beside those that float64 cannot hold."""

from collections.abc import Iterator

import numpy as np
import pytest

from resexp.core.ensemble import Ensemble
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row
from resexp.core.statistics import LN2, Samples


class Grown(Ensemble):
    """Numbers of a known magnitude, and of a known scatter over networks."""

    log2: float = 0.0
    spread: float = 0.1
    theory_log2: float = 0.0

    axes = ("block",)
    quantities = (Quantity("size", "a size"),)

    def measure(self, lab: Lab) -> Iterator[Row]:
        """Two rows a thousand blocks apart, the second as large as asked for."""
        noise = np.random.default_rng(lab.seed).normal(0, self.spread, (2, 16))
        for block, log2 in enumerate((0.0, self.log2)):
            yield Row({"block": 1000 * block}, "size", Samples.from_log(LN2 * (log2 + noise[block])))

    def theory(self, quantity: str, block: int) -> Prediction:
        """As large as was said."""
        return Prediction("exact", log=LN2 * self.theory_log2 * block / 1000)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"log2": 1100.0, "theory_log2": 1100.0}, {"mean", "stderr", "median", "ci_low", "ci_high", "theory"}),
        ({"log2": -1100.0, "theory_log2": -1100.0}, {"mean", "stderr", "median", "ci_low", "ci_high", "theory"}),
        ({"log2": 1023.5, "theory_log2": 900.0, "spread": 0.2}, {"ci_low", "ci_high"}),
        ({"log2": -1021.85, "theory_log2": -900.0, "spread": 0.5}, {"stderr", "ci_low"}),
        ({"log2": 900.0, "theory_log2": 1100.0}, {"theory"}),
        ({"log2": 900.0, "theory_log2": 1000.0}, set()),  # with another seed the numbers might not fit
    ],
    ids=lambda p: str(sorted(p)),
)
def test_are_there_where_any_number_is_missing_or_might_be(settings: dict[str, float], missing: set[str]) -> None:
    rows = Grown(**settings).compute(Lab("grown")).rows
    plain = next(row for row in rows if row["quantity"] == "size" and row["block"])
    assert {
        name for name in ("mean", "stderr", "median", "ci_low", "ci_high", "theory") if plain[name] is None
    } == missing
    in_log2 = next(row for row in rows if row["quantity"] == "log2_size" and row["block"])
    assert in_log2["mean"] == pytest.approx(settings["log2"], abs=0.5)
    assert in_log2["theory"] == pytest.approx(settings["theory_log2"])
    assert in_log2["verdict"] == plain["verdict"]


def test_are_not_there_where_all_numbers_fit() -> None:
    rows = Grown(log2=900.0, theory_log2=900.0).compute(Lab("grown")).rows
    assert {row["quantity"] for row in rows} == {"size"}
