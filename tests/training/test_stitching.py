"""Stitched predictions against the whole image at once, and the pictures of cells they are tried on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.nets.zoo import factory
from resexp.theory.unet_sizes import border
from resexp.training.data.cells import cells, draw, mirrored
from resexp.training.stitching import stitched

BORDER = border(2, padded=False) // 2


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return factory("unet,depth=2,width=2,channels=1,norm=batch")().double().eval()


@settings(max_examples=12, deadline=None)
@given(height=st.integers(9, 60), width=st.integers(9, 60), tile=st.sampled_from([8, 12, 20]))
def test_tiles_are_the_whole_at_once(net: torch.nn.Module, height: int, width: int, tile: int) -> None:
    """Whatever the size; the oracle pads the mirror image itself and runs the net once."""
    image = torch.rand(1, height, width, generator=torch.Generator().manual_seed(height)).double()
    ends = [-(-n // 4) * 4 + BORDER for n in (height, width)]
    folded = [
        [abs((place + n - 1) % (2 * n - 2) - (n - 1)) for place in range(-BORDER, end)]
        for n, end in zip((height, width), ends, strict=True)
    ]
    with torch.no_grad():
        whole = net(image[:, folded[0]][:, :, folded[1]][None])[0][:, :height, :width]
    found = stitched(net, image, border=BORDER, tile=tile, pooled=4)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12 * float(whole.abs().max()))


def test_tiles_overlap_where_the_grid_demands_it() -> None:
    """At depth 3 outputs have sides of 4 more than a multiple of 8, and 8 are pooled together."""
    torch.manual_seed(0)
    net = factory("unet,depth=3,width=1,channels=1")().double().eval()
    image = torch.rand(1, 40, 31).double()
    around = border(3, padded=False) // 2
    parts, whole = (stitched(net, image, border=around, tile=tile, pooled=8) for tile in (12, 44))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12 * float(whole.abs().max()))
    with pytest.raises(UsageError, match="smaller than what the poolings put together, 8"):
        stitched(net, image, border=around, tile=4, pooled=8)


def test_a_mirror_larger_than_the_picture_goes_on_mirroring() -> None:
    line = torch.arange(3.0)[None].expand(3, 3)
    assert mirrored(line, 5)[0].tolist() == [1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0]


def test_cells_are_told_apart_and_do_not_depend_on_how_many_are_drawn() -> None:
    few, many = (cells(Lab("segmentation", seed=5), train=n, test=1, side=32, border=4) for n in (2, 3))
    assert torch.equal(few.train.inputs, many.train.inputs[:2])
    assert few.train.inputs.shape == (2, 1, 40, 40)
    assert not torch.equal(few.train.targets[0], few.test.targets[0])
    picture, mask = draw(200, 200, torch.Generator().manual_seed(0))
    inside, outside = picture[mask == 1], picture[mask == 0]
    assert 0.2 < mask.double().mean() < 0.6
    assert (inside > 0.6).double().mean() > 0.3  # bright cells, dark cells, and a ground between
    assert (inside < 0.4).double().mean() > 0.3
    assert ((outside > 0.25) & (outside < 0.75)).double().mean() > 0.9
