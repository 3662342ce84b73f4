"""A probe is refused where it would not fit, and stopped where it does not."""

import pytest
import torch
from torch import nn

from resexp.core.errors import ResexpError
from resexp.probing import guard
from resexp.probing.inputs import Examples, parse
from resexp.probing.needs import estimate
from resexp.probing.passes import Inputs, run
from tests.probing.nets import Convolutional


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), *(block() for _ in range(4)), nn.Flatten(), nn.Linear(16384, 8)
    )


def block() -> nn.Module:
    return Convolutional(lambda c: nn.BatchNorm2d(c), channels=16, out=16)


def test_the_estimate_grows_with_the_batch_and_holds_what_autograd_keeps() -> None:
    def needed(batch: int) -> int:
        found = estimate(net, Examples(parse("3x32x32"), batch), training=True, number=4)
        assert found is not None
        return found

    parameters = sum(p.nbytes for p in net().parameters())
    kept = 16 * 32 * 32 * 4  # bytes of one activation map of one example; each block keeps six, the stem one
    assert needed(64) > parameters + 64 * kept * (4 * 4 + 1)
    assert needed(64) < 1.4 * (parameters + 64 * kept * (4 * 6 + 2) + 64 * kept * 4)
    assert needed(64) - needed(32) == pytest.approx(needed(128) - needed(64), rel=1, abs=64 * kept * 26)


def test_a_net_that_needs_its_numbers_has_no_estimate() -> None:
    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) if x.sum().item() > 0 else x

    assert estimate(Choosy, Examples(parse("4"), 2), training=True, number=4) is None


def test_a_pass_that_takes_more_than_it_may_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "LARGE", 1)
    held = iter(range(0, 10**9, 10**6))
    monkeypatch.setattr(guard.Guard, "_held", lambda _: next(held))
    watched = guard.Guard(5 * 10**6, torch.device("cpu"))
    with pytest.raises(ResexpError, match=r"--memory allows 5 MB: use a smaller --batch"):
        run(net(), Inputs([torch.randn(2, 3, 32, 32)], {}, 2), "labels", torch.Generator(), watched)
