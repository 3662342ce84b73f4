from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from resexp.core.errors import ResexpError, UsageError
from resexp.core.lab import Lab
from resexp.core.result import Result, Verdict
from resexp.experiments.path_gradients import PathGradients
from resexp.nets import zoo
from resexp.nets.residual import Residual, ResidualNet
from resexp.probing.block_paths import cross, through_paths
from resexp.probing.output import random_labels

SMALL = "cifar-resnet:8,width=4,channels=1"


def run(seed: int = 2, **parameters: object) -> Result:
    return PathGradients.parse(parameters).compute(Lab("path-gradients", seed=seed, threads=2))


def headline(result: Result, name: str) -> dict[str, object]:
    return next(figure for figure in result.headline if figure["quantity"] == name)


def mean(result: Result, name: str) -> float:
    value = headline(result, name)["mean"]
    assert isinstance(value, float | int)
    return float(value)


@pytest.mark.parametrize(
    ("scheme", "alpha"),
    [("residual", None), ("rescaled", None), ("stable", None), ("residual", 2.0), ("residual", 0.24)],
)
def test_stacks_follow_their_law(scheme: str, alpha: float | None) -> None:
    result = run(blocks=24, width=100, draws=256, scheme=scheme, alpha=alpha)
    verdicts = {family.quantity: family.verdict for family in result.families}
    assert Verdict.DISAGREE not in verdicts.values()
    assert verdicts["energy_share"] == verdicts["mean_energy_length_over_blocks"] == Verdict.AGREE


def test_half_of_all_branches_where_the_branch_is_as_strong_as_the_skip() -> None:
    result = run(blocks=54, width=64, draws=128)
    assert mean(result, "mean_energy_length_over_blocks") == pytest.approx(0.5, abs=0.02)
    assert mean(result, "share_of_paths_of_90_percent") > 0.85


def test_with_batch_normalisation_few_short_paths_carry_the_gradient() -> None:
    """At initialisation already what Veit et al. found in a trained net: lengths 5 to 17 of 54, 0.45 % of the paths."""
    result = run(scheme="batchnorm", draws=32, blocks=54, batch=16, paths=4)
    assert not [family for family in result.families if family.verdict == Verdict.DISAGREE]
    assert mean(result, "longest_length_of_90_percent") <= 18
    assert mean(result, "share_of_paths_of_90_percent") < 0.01
    assert mean(result, "mean_energy_length_over_blocks") == pytest.approx(0.08, abs=0.01)


def test_more_paths_a_network_are_no_more_draws() -> None:
    one, four = run(blocks=8, width=32, draws=64), run(blocks=8, width=32, draws=64, paths=4)
    assert {row["draws"] for row in four.rows} == {64}
    of_middle = [next(r for r in x.rows if r["length"] == 4 and r["quantity"] == "path_share") for x in (one, four)]
    assert of_middle[1]["stderr"] < of_middle[0]["stderr"]


def test_paths_through_a_net_are_those_of_autograd() -> None:
    """Version 1 with shortcut A: ReLUs after sums, and a change of shape; the other way of each block is detached."""
    torch.manual_seed(3)
    net = zoo.factory(SMALL)().double()
    assert isinstance(net, ResidualNet)
    inputs = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    crossings, last = cross(net, inputs, torch.Generator().manual_seed(1))
    found = through_paths(crossings, last, np.random.default_rng(0), 2)
    energies = []
    for length in range(4):
        gradients = [_by_autograd(net, inputs, set(one)) for one in combinations(range(3), length)]
        norms = np.array([float((g[0].norm() / g[1].norm()).log()) for g in gradients])
        assert np.abs(norms[:, None] - found[0][length]).min(axis=0).max() < 1e-9
        energies.append(float(sum(g[0] for g in gradients).square().sum()))
    assert found[1] == pytest.approx(energies, rel=1e-9)


def _by_autograd(net: ResidualNet, inputs: torch.Tensor, branches: set[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients at the first block, through these branches and the other shortcuts, and at the last."""
    first = net.stem(inputs).detach().requires_grad_()
    h = first
    for k, block in enumerate(net.blocks):
        assert isinstance(block, Residual)
        shared = block.before(h)
        skip, branch = block.shortcut(shared), block.branch(shared)
        h = block.after(skip.detach() + branch if k in branches else skip + branch.detach())
    loss, _ = random_labels(net.head(h), torch.Generator().manual_seed(1))
    at_first, at_last = torch.autograd.grad(loss, [first, h])
    return at_first, at_last


def test_a_net_has_no_theory_and_its_blocks_nearly_multiply() -> None:
    result = run(net="cifar-resnet:20,width=8,channels=1", input="1x8x8", draws=8)
    assert {family.verdict for family in result.families} == {"no theory"}
    shares = {
        name: np.array([row["mean"] for row in result.rows if row["quantity"] == name])
        for name in ("energy_share", "share_by_block_ratios")
    }
    assert len(shares["energy_share"]) == 10
    assert np.abs(shares["energy_share"] - shares["share_by_block_ratios"]).max() < 0.1
    assert mean(result, "mean_energy_length_over_blocks") < 0.6


def test_a_checkpoint_is_one_network(tmp_path: Path) -> None:
    torch.manual_seed(7)
    net = zoo.factory(SMALL)()
    for block in net.blocks:  # type: ignore[union-attr]
        block.branch[-1].weight.data.fill_(0.01)  # branches that a training turned down
    torch.save(net.state_dict(), tmp_path / "net.pt")
    trained = run(net=SMALL, input="1x8x8", checkpoint=str(tmp_path / "net.pt"), mode="eval")
    fresh = run(net=SMALL, input="1x8x8", mode="eval")
    assert mean(trained, "mean_length_over_blocks") < 0.2 < mean(fresh, "mean_length_over_blocks")
    assert any("One network" in note for note in trained.notes)
    assert PathGradients(net=SMALL, checkpoint=str(tmp_path / "net.pt")).content().keys() == {"checkpoint"}


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "damaged.pt").write_bytes(b"PK\x03\x04 no state")
    torch.save(zoo.factory("cifar-resnet:14,width=4,channels=1")().state_dict(), tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, sentence in {
        "damaged.pt": "is no file of plain tensors",
        "other.pt": "does not fit the net",
        "list.pt": "holds a list",
        "none.pt": "There is no file",
    }.items():
        with pytest.raises(UsageError, match=sentence) as told:
            run(net=SMALL, input="1x8x8", checkpoint=str(tmp_path / name))
        assert told.value.exit_code == 2


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"checkpoint": "net.pt"}, "--checkpoint net.pt: belongs to a net"),
        ({"net": "cifar-resnet:20", "width": 32}, "--width 32: has no meaning for --net"),
        ({"net": "cifar-resnet:20", "input": "3x"}, "--input 3x: "),
        ({"net": "cifar-resnet:20", "input": "tokens:5"}, "these nets take one tensor"),
        ({"batch": 4}, "--batch 4: without normalisation"),
        ({"scheme": "batchnorm", "batch": 3}, "--batch 3: with fewer than 4 examples"),
        ({"net": "plain:20"}, "has no skip connections"),
        ({"net": "highway:10"}, "is no chain of residual blocks"),
        ({"net": "cifar-resnet:21"}, "There is no net 'cifar-resnet:21'"),
        ({"net": "cifar-resnet:20", "input": "1x8x8"}, "the net refuses 8 examples of 1x8x8"),
        ({"net": "cifar-resnet:20,scheme=fixup"}, "the gradient at the last block is zero"),
    ],
)
def test_bad_input_is_told(parameters: dict[str, object], sentence: str) -> None:
    with pytest.raises(ResexpError) as told:
        run(**parameters)
    assert sentence.lower() in str(told.value).lower()
    assert told.value.exit_code == 2
