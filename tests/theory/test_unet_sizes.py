import pytest
import torch
from torch.nn.functional import conv1d, max_pool1d

from resexp.theory import unet_sizes


def run(side, depth, padded):
    """Side that comes out of a U-Net on a line in torch, None where it cannot be run without losing a pixel."""
    kernel, frame = torch.ones(1, 1, 3), int(padded)

    def level(h, below):
        h = conv1d(conv1d(h, kernel, padding=frame), kernel, padding=frame)
        if below == 0:
            return h
        if h.shape[2] % 2:
            raise RuntimeError("odd")
        up = level(max_pool1d(h, 2), below - 1).repeat_interleave(2, 2)
        crop = (h.shape[2] - up.shape[2]) // 2
        up = up + h[:, :, crop : crop + up.shape[2]]
        return conv1d(conv1d(up, kernel, padding=frame), kernel, padding=frame)

    try:
        return level(torch.ones(1, 1, side), depth).shape[2]
    except RuntimeError:
        return None


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_what_fits_and_what_comes_out_is_what_torch_runs(depth, padded):
    sides = range(1, 116)
    out = {side: run(side, depth, padded) for side in sides}
    fitting = [side for side in sides if out[side] is not None]
    assert fitting == [side for side in sides if unet_sizes.fits(side, depth, padded=padded)]
    assert fitting[0] == unet_sizes.smallest(depth, padded=padded)
    assert all(out[side] == side - unet_sizes.border(depth, padded=padded) for side in fitting)
    for side in range(1, fitting[-1]):
        below = max((n for n in fitting if n < side), default=None)
        above = min(n for n in fitting if n > side)
        assert unet_sizes.neighbours(side, depth, padded=padded) == (below, above)


def test_figure_11_10():
    assert unet_sizes.border(4, padded=False) == 572 - 388
    assert unet_sizes.smallest(4, padded=False) == 188
