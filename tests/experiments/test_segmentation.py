"""The segmentation experiment: what is measured, what is claimed, stitching that goes wrong, pictures, bad input."""

from pathlib import Path

import pytest
import torch

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.experiments import segmentation
from resexp.experiments.segmentation import CLAIMS, Segmentation, near_edges, overlap
from resexp.nets.zoo import factory, parameters
from resexp.report.figure import draw
from resexp.runs.cell import Cell, run_cell
from resexp.runs.settings import Settings

SMALL = dict(Segmentation.smallest)
LAB = Lab("segmentation", seed=1)


def test_overlap_and_pixels_near_edges_are_counted() -> None:
    truth, found = torch.zeros(2, 1, 9, 9, dtype=torch.int64)
    truth[0, 4, 4:6] = 1
    found[0, 4, 5:8] = 1
    assert float(overlap(found, truth)) == pytest.approx(1 / 4)
    near = near_edges(truth)[0]
    assert near.sum() == 5 * 6  # two pixels all around a cell of 1 x 2, the cell too
    assert near[2, 2]
    assert not near[1, 4]
    assert not near_edges(torch.ones(1, 9, 9)).any()


def test_a_net_without_skips_has_fewer_parameters_and_one_way_only() -> None:
    sizes = [parameters(f"unet,depth=1,width=2,channels=1,skips={skips}") for skips in ("true", "false")]
    assert sizes[0] - sizes[1] == 2 * 2 * 9  # 2 channels less into the convolution that joins them, 2 out of it
    net = factory("unet,depth=1,width=2,channels=1,skips=false")().eval()
    x = torch.rand(1, 1, 20, 20)
    with torch.no_grad():
        before = net(x)
        net.up[0].weight.zero_()  # type: ignore[union-attr]
        net.up[0].bias.zero_()  # type: ignore[union-attr]
        assert not torch.equal(net(x), before)
        assert torch.equal(net(x), net(torch.rand(1, 1, 20, 20)))  # nothing of the picture gets past


def test_claims_are_made_of_what_they_say() -> None:
    experiment = Segmentation.parse(SMALL)
    found = experiment.train(LAB)
    for name, overlaps, errors in (("with-skips", [0.5, 0.4], [0.1, 0.3]), ("without-skips", [0.4, 0.5], [0.2, 0.2])):
        found[name].numbers["overlap"][:] = torch.tensor(overlaps)
        found[name].numbers["border_error"][:] = torch.tensor(errors)
    held = {row.quantity: row.samples.mantissa.tolist() for row in experiment.rows(found) if row.quantity in CLAIMS}
    assert held == {name: [1.0, 0.0] for name in CLAIMS}


def test_stitching_that_is_off_is_not_agreed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that see one pixel less of the border than they should."""
    import resexp.training.stitching as module

    def wrong(net: torch.nn.Module, image: torch.Tensor, *, border: int, tile: int, pooled: int) -> torch.Tensor:
        shifted = image if tile > 8 else image.roll(1, -1)
        return true(net, shifted, border=border, tile=tile, pooled=pooled)

    true = module.stitched
    monkeypatch.setattr(module, "stitched", wrong)
    result = Segmentation.parse({**SMALL, "seeds": 8}).compute(LAB)
    assert {f.verdict for f in result.families if f.quantity == "stitched_difference"} == {"disagree"}


def test_pictures_are_drawn_pixel_by_pixel(tmp_path: Path) -> None:
    outcome = run_cell(Cell(Segmentation.parse(SMALL), Settings()))
    truth = [row for row in outcome.result.rows if row.get("quantity") == "truth" and row["net"] == "with-skips"]
    assert [(truth[k]["y"], truth[k]["x"]) for k in (0, 1, 17)] == [(0, 0), (0, 1), (1, 0)]
    assert {row["mean"] for row in truth} <= {0.0, 1.0}
    assert len(truth) == 9 * 17
    from matplotlib.figure import Figure

    from resexp.report.pictures import draw_pictures

    figure = Figure()
    plot = segmentation.Segmentation.plot
    draw_pictures(figure, [outcome], plot)
    images = [axis.images[0].get_array() for axis in figure.axes]
    assert [image.shape for image in images if image is not None] == [(9, 17)] * 6
    assert images[1] is not None
    assert images[1].ravel().tolist() == [row["mean"] for row in truth]
    draw([outcome], tmp_path / "cells.png")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"side": 30}, "28 or 32 does"), ({"side": 32, "depth": 6}, "68 does"), ({"data": "digits"}, "data")],
)
def test_bad_parameters_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Segmentation.parse(wrong)
