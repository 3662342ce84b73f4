import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.experiments.normaliser_axes import SHADED, NormaliserAxes
from resexp.nets import normalised

LAB = Lab("normaliser-axes")


@pytest.mark.parametrize(("batch", "channels", "side"), [(4, 8, 3), (2, 64, 2), (6, 12, 5)])
def test_sets_are_those_of_the_modules(batch: int, channels: int, side: int) -> None:
    names = ("batch", "ghost:2", "renorm", "montecarlo", "layer", "group", "group:4", "instance", "weight", "none")
    result = NormaliserAxes(normaliser=names, batch=batch, channels=channels, side=side).compute(LAB)
    assert {family.verdict for family in result.families} == {"agree"}
    for row in result.rows:
        everything = batch * channels * side**2
        assert row["values"] * row["statistics"] == (0 if row["normaliser"] in {"weight", "none"} else everything)


def test_a_wrong_set_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = normalised.averaged
    monkeypatch.setattr(normalised, "averaged", lambda text, *sizes: right("layer", *sizes))
    result = NormaliserAxes(normaliser=("batch", "layer")).compute(LAB)
    assert [family.verdict for family in result.families] == ["disagree", "agree"]


@pytest.mark.parametrize(
    ("name", "shaded"),
    [
        ("batch", 4 + 4),
        ("ghost:2", 4 + 2),
        ("layer", 24 + 6 + 4),
        ("group:2", 12 + 3),
        ("instance", 4 + 1),
        ("none", 0),
    ],
)
def test_blocks_are_shaded_where_it_averages(name: str, shaded: int) -> None:
    """Faces of four pixels by six channels in front, and of four examples on top and aside."""
    axis = Figure().subplots()
    NormaliserAxes(normaliser=(name,)).sketch(axis)
    faces = [patch for patch in axis.patches if isinstance(patch, Polygon)]
    assert len(faces) == 24 + 24 + 16
    assert sum(to_hex(face.get_facecolor()) == SHADED.lower() for face in faces) == shaded


def test_bad_input_is_told() -> None:
    with pytest.raises(UsageError, match="did you mean 'layer'"):
        NormaliserAxes.parse({"normaliser": ["layr"]})
    with pytest.raises(UsageError, match="can be asked for once"):
        NormaliserAxes.parse({"normaliser": ["layer", "layer"]})
    with pytest.raises(UsageError, match="--batch 1: must be at least 2"):
        NormaliserAxes.parse({"batch": 1})
