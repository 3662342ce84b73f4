import math
from typing import get_args

import pytest

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.schemes import SchemeName
from resexp.experiments.paths import MOST_ROWS, Paths

LAB = Lab("paths")


def headlines(result):
    return {row["quantity"]: row["mean"] for row in result.headline}


@pytest.mark.parametrize("blocks", [1, 54, 1000, 5000, 5001, 1_000_000])
def test_every_scheme_agrees_with_its_closed_form(blocks):
    result = Paths(blocks=blocks, scheme=get_args(SchemeName), decay=0.24).compute(LAB)
    assert {family.verdict for family in result.families} == {"agree"}
    assert sum(family.quantity.startswith("mean_length_") for family in result.families) == 9


def test_figure_11_4():
    result = Paths(blocks=54, min_length=5, max_length=17).compute(LAB)
    assert result.columns == ("length", "count", "share", "cumulative_share", "weight_residual")
    assert result.rows[17]["count"] == math.comb(54, 17)
    assert headlines(result)["paths_in_range"] == sum(math.comb(54, length) for length in range(5, 18))
    assert headlines(result)["share_of_paths_in_range"] == pytest.approx(0.004537, abs=5e-7)


def test_thousand_blocks_are_listed_exactly():
    rows = Paths(blocks=1000, scheme=("residual", "batchnorm")).compute(LAB).rows
    assert [row["length"] for row in rows] == list(range(1001))
    assert sum(row["count"] for row in rows) == 2**1000
    assert rows[500]["share"] == math.comb(1000, 500) / 2**1000
    assert rows[-1]["cumulative_share"] == 1.0
    assert sum(row["weight_batchnorm"] for row in rows) == pytest.approx(1, rel=1e-12)


def test_zero_branches_and_no_skips_leave_one_length():
    rows = Paths(blocks=6, scheme=("plain", "fixup", "rezero", "skipinit")).compute(LAB).rows
    assert [row["weight_plain"] for row in rows] == [0, 0, 0, 0, 0, 0, 1]
    for name in ("fixup", "rezero", "skipinit"):
        assert [row[f"weight_{name}"] for row in rows] == [1, 0, 0, 0, 0, 0, 0]


def test_decay_weighs_each_length_by_a_power():
    rows = Paths(blocks=5, scheme=(), decay=0.5).compute(LAB).rows
    expected = [math.comb(5, length) * 0.5**length / 1.5**5 for length in range(6)]
    assert [row["weight_decay"] for row in rows] == pytest.approx(expected, rel=1e-13)


def test_million_blocks_keep_the_rows_that_matter():
    result = Paths(blocks=1_000_000, scheme=("residual", "batchnorm")).compute(LAB)
    lengths = [row["length"] for row in result.rows]
    assert result.columns[-1] == "log2_count"
    assert MOST_ROWS / 2 < len(lengths) <= MOST_ROWS + 200
    assert lengths[0] == 0
    assert lengths[-1] == 1_000_000
    short = [row for row in result.rows if row["length"] < 1000]  # the whole law of batchnorm, not thinned
    assert [row["length"] for row in short] == list(range(len(short)))
    assert sum(row["weight_batchnorm"] for row in short) == pytest.approx(1, abs=1e-11)
    middle = [row for row in result.rows if row["share"] >= 1e-12]
    step = middle[1]["length"] - middle[0]["length"]
    assert step > 1
    assert sum(row["share"] for row in middle) * step == pytest.approx(1, abs=1e-9)
    assert all(row["count"] is None for row in result.rows)
    assert "log2_count" in result.notes[0]


def test_logarithmic_rows_continue_the_exact_ones():
    """5001 blocks follow from 5000 by Pascal's rule."""
    exact = {row["length"]: row["count"] for row in Paths(blocks=5000).compute(LAB).rows}
    for row in Paths(blocks=5001).compute(LAB).rows[1:-1]:
        count = exact[row["length"]] + exact[row["length"] - 1]
        assert row["log2_count"] == pytest.approx(math.log2(count), rel=1e-13)
        assert row["share"] == pytest.approx(count / 2**5001, rel=1e-11)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"min_length": 9, "max_length": 3}, "--min-length 9 and --max-length 3"),
        ({"blocks": 4, "max_length": 5}, "within 0..4"),
        ({"min_length": -1}, "--min-length -1"),
        ({"scheme": ["residual", "residual"]}, "once"),
        ({"scheme": ["resnet"]}, "must be one of plain, residual"),
        ({"decay": float("inf")}, "--decay"),
    ],
)
def test_wrong_parameters_are_named(values, sentence):
    with pytest.raises(UsageError, match=sentence):
        Paths.parse(values)
