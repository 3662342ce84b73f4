"""The decay-limit experiment: what is measured of the blocks, what decays, what is claimed, bad input."""

import pytest
import torch

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.experiments.decay_limit import CLAIMS, DecayLimit, of_the_blocks, through_blocks
from resexp.nets.zoo import factory
from resexp.training.data.dataset import Examples

SMALL = dict(DecayLimit.smallest)
LAB = Lab("decay-limit", seed=2)


def test_blocks_scaled_by_a_known_number_are_that_far_from_the_identity() -> None:
    """Each block s h (plain) or h + s h (residual) on positive signals: signal s^2K, or (1 + s)^2K."""
    torch.manual_seed(0)
    examples = Examples(torch.rand(64, 5), torch.zeros(64, dtype=torch.int64))
    scale, blocks = 0.5, 3
    nets = {kind: factory(f"mlp:{blocks + 1}x5,inputs=5,outputs=2,scheme={kind}")() for kind in ("plain", "residual")}
    for net in nets.values():
        with torch.no_grad():
            net.stem.weight.copy_(torch.eye(5))
            net.stem.bias.zero_()
            for block in net.blocks:
                block.branch[-1].weight.copy_(scale * torch.eye(5))
                block.branch[-1].bias.zero_()
    found = {kind: through_blocks([net], examples) for kind, net in nets.items()}
    for kind, factor in (("plain", scale**blocks), ("residual", (1 + scale) ** blocks)):
        assert float(found[kind]["signal"]) == pytest.approx(factor**2, rel=1e-5)
        assert float(found[kind]["distance_from_identity"]) == pytest.approx((factor - 1) ** 2, rel=1e-5)


def test_the_blocks_alone_decay() -> None:
    names = [name for name, _ in factory("mlp:4x5,inputs=5,outputs=2")().named_parameters()]
    decaying = [name for name in names if of_the_blocks(name, 2)]
    assert decaying == [name for name in names if name.startswith("blocks")]
    assert len(decaying) == 6
    assert of_the_blocks("net.blocks.0.branch.2.weight", 2)  # as in nets that are trained side by side


def test_claims_are_made_of_what_they_say() -> None:
    """Of the largest decay, wherever it stands in the list."""
    experiment = DecayLimit.parse({**SMALL, "weight_decay": (1.0, 0.0)})
    found = experiment.train(LAB)
    plain, residual = found["plain", 1.0], found["residual", 1.0]
    plain[1]["signal"][:] = torch.tensor([0.01, 0.03])
    residual[1]["distance_from_identity"][:] = torch.tensor([0.03, 0.01])
    plain[0].test_error[-1] = torch.tensor([0.9, 0.9])
    residual[0].test_error[-1] = torch.tensor([0.5, 0.4])
    held = {row.quantity: row.samples.mantissa.tolist() for row in experiment.rows(found) if row.quantity in CLAIMS}
    assert held == dict(zip(CLAIMS, ([1.0, 0.0], [0.0, 1.0], [0.0, 1.0]), strict=True))
    residual[0].step_loss[-1, 1] = torch.nan
    held = {row.quantity: row.samples.mantissa.tolist() for row in experiment.rows(found)}
    assert held["residual_still_learns"] == [0.0, 0.0]
    assert held["plain_is_constant"] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"weight_decay": (0.0, 100.0)}, "less than 1"),
        ({"weight_decay": (-1.0,)}, "at least 0"),
        ({"weight_decay": (1.0, 1.0)}, "stands twice"),
        ({"weight_decay": ()}, "weight-decay"),
    ],
)
def test_bad_parameters_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        DecayLimit.parse({**SMALL, **wrong})
