"""The landscape experiment: points of a grid as rows, bands that are the whole, runs that go on, bad input."""

from pathlib import Path

import pytest

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.result import STATISTICS_COLUMNS, Result
from resexp.experiments.landscape import Landscape

SMALL = {"depth": 8, "width": 2, "seeds": 2, "limit": 64, "batch": 32, "epochs": 2, "points": 9, "sample": 16}


def run(**more: object) -> Result:
    return Landscape.parse({**SMALL, **more}).compute(Lab("landscape", seed=1))


def points(result: Result, plane: str) -> list[dict[str, object]]:
    return [row for row in result.rows if row["quantity"] == "loss" and row["plane"] == plane]


def test_every_point_of_every_plane_is_a_row() -> None:
    result = run(pairs=2)
    assert result.columns == ("net", "plane", "seed", "pair", "epoch", "y", "x", "quantity", *STATISTICS_COLUMNS)
    assert len(points(result, "random")) == 2 * 2 * 2 * 81  # nets, seeds, pairs
    assert len(points(result, "trajectory")) == 2 * 81
    assert sum(row["quantity"] == "train_loss" for row in result.rows) == 2 * 3
    centre = [row["mean"] for row in points(result, "random") if row["net"] == "plain:8" and row["x"] == row["y"] == 0]
    assert centre[0] == pytest.approx(centre[1], rel=1e-5)  # the same weights, whatever the directions
    over_seeds = [row["mean"] for row in result.rows if row["quantity"] == "centre_loss" and row["net"] == "plain:8"]
    assert over_seeds[0] == pytest.approx((centre[0] + centre[2]) / 2, rel=1e-5)  # type: ignore[operator]


def test_bands_are_the_whole_and_share_their_nets(tmp_path: Path) -> None:
    """The same points bit for bit; the second band trains nothing, and the last one leaves no checkpoint."""
    whole = run()
    told: list[str] = []

    def band(number: int) -> Result:
        experiment = Landscape.parse({**SMALL, "band": f"{number}/3"})
        lab = Lab("landscape", seed=1, progress=lambda done, total: told.append(f"{number}: {done}"))
        return experiment.compute(lab)

    bands = [band(number) for number in (2, 1, 3)]
    for plane in ("random", "trajectory"):
        key = ("net", "seed", "y", "x")
        expected = {tuple(row[k] for k in key): row["mean"] for row in points(whole, plane)}
        found = {tuple(row[k] for k in key): row["mean"] for one in bands for row in points(one, plane)}
        assert found == expected
    steps = [sum(line.startswith(f"{n}:") for line in told) for n in (2, 1, 3)]
    assert steps[0] > steps[1], "the second band trained again"
    assert not list((tmp_path / "checkpoints").rglob("*.safetensors"))
    assert {family.verdict for one in bands for family in one.families} == {"no theory"}


def test_training_mode_is_not_judged_and_gives_other_losses() -> None:
    by_running, by_batch = run(), run(mode="train")
    assert [row["mean"] for row in points(by_running, "random")] != [row["mean"] for row in points(by_batch, "random")]
    assert {family.verdict for family in by_batch.families} == {"no theory"}
    assert any("--mode train" in note for note in by_batch.notes)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"points": 10}, "must be odd"),
        ({"depth": 9}, "6 n \\+ 2"),
        ({"band": "4/3"}, "second of four bands"),
        ({"band": "1/4"}, "three rows"),
        ({"band": "half"}, "2/4"),
        ({"span": float("inf")}, "finite"),
    ],
)
def test_bad_parameters_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Landscape.parse({**SMALL, **wrong})
