"""Planes through weights: filter normalisation, losses side by side, convexity of known surfaces, trajectories."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from resexp.core.lab import Lab
from resexp.nets import zoo
from resexp.training.checkpoint import Checkpoint
from resexp.training.data.dataset import Examples
from resexp.training.initial import initialised
from resexp.training.landscape import (
    Direction,
    Plane,
    Surfaces,
    filter_normalised,
    row_points,
    share_not_convex,
)
from resexp.training.objective import classification
from resexp.training.trajectory import Trajectory

LAB = Lab("landscape", seed=4, dtype="float64")


def net_and_examples() -> tuple[torch.nn.Module, Examples]:
    net = initialised(zoo.factory("cifar-resnet:8,width=3,channels=2"), LAB, 1)[0]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(20, 2, 8, 8, generator=generator, dtype=torch.float64)
    examples = Examples(x, torch.randint(10, (20,), generator=generator))
    net.train()(3 * x + 1)  # running statistics that are no batch's own
    return net, examples


def two_directions(net: torch.nn.Module) -> tuple[Direction, Direction]:
    generator = torch.Generator().manual_seed(2)
    return filter_normalised(net, generator), filter_normalised(net, generator)


def test_each_filter_of_a_direction_has_the_norm_of_the_nets_own() -> None:
    net, _ = net_and_examples()
    direction = filter_normalised(net, torch.Generator().manual_seed(2))
    moving = {name: weight for name, weight in net.state_dict().items() if weight.dim() > 1}
    assert direction.keys() == moving.keys()
    for name, weight in moving.items():
        for own, drawn in zip(weight, direction[name], strict=True):
            assert float(drawn.norm()) == pytest.approx(float(own.norm()), rel=1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_losses_are_those_of_nets_moved_there(training: bool) -> None:
    """Points more than fit side by side, in either mode of batch normalisation, against the net itself."""
    net, examples = net_and_examples()
    before = copy.deepcopy(net.state_dict())
    directions = two_directions(net)
    plane = Plane(net, directions, examples)
    plane.most = 3
    points = row_points([-1.0, -0.4, 0.0, 0.3, 0.9], 0.7)
    losses, errors = plane.losses(points, classification(), batch_statistics=training)
    for (x, y), loss, error in zip(points.tolist(), losses, errors, strict=True):
        moved = copy.deepcopy(net).train(training)
        with torch.no_grad():
            for name, weight in moved.named_parameters():
                if name in directions[0]:
                    weight += x * directions[0][name] + y * directions[1][name]
            outputs = moved(examples.inputs)
        assert float(loss) == pytest.approx(float(cross_entropy(outputs, examples.targets)), rel=1e-10)
        assert float(error) == pytest.approx(float((outputs.argmax(1) != examples.targets).double().mean()))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_share_not_convex_of_surfaces_whose_curvature_is_known() -> None:
    """Bowls are convex, saddles are not, x^3 is where x < 0, and a slight bend the other way is none."""
    along = torch.linspace(-1, 1, 21, dtype=torch.float64)
    y, x = torch.meshgrid(along, along, indexing="ij")
    step = 0.1
    assert share_not_convex(x**2 + y**2 + x * y, step) == 0
    assert share_not_convex(3 * x * y, step) == 1  # eigenvalues 3 and -3
    assert share_not_convex(x**3 + 0 * y, step) == pytest.approx(9 / 19)
    assert share_not_convex(x**2 - 0.09 * y**2, step) == 0
    assert share_not_convex(x**2 - 0.11 * y**2, step) == 1
    bowl = (x**2 + y**2) / 2
    assert share_not_convex(bowl + 1.2 * x * y, step) == 0  # eigenvalues 2.2 and -0.2
    assert share_not_convex(bowl + 1.3 * x * y, step) == 1  # 2.3 and -0.3
    half = torch.where(x < 0, math.nan, x * y)
    assert share_not_convex(half, step) == 1
    assert math.isnan(share_not_convex(half * math.nan, step))


def test_a_trajectory_in_a_plane_is_all_explained_by_it() -> None:
    generator = torch.Generator().manual_seed(5)
    basis = torch.linalg.qr(torch.randn(50, 2, generator=generator, dtype=torch.float64))[0].T
    steps = torch.tensor([[9.0, 0.0], [6.0, 1.0], [2.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    start = torch.randn(50, generator=generator, dtype=torch.float64)
    found = Trajectory.of(start + steps @ basis)
    assert float(found.explained.sum()) == pytest.approx(1)
    assert found.explained[0] > found.explained[1]
    gram = found.directions @ found.directions.T
    torch.testing.assert_close(gram, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(found.places @ found.directions, steps @ basis, rtol=0, atol=1e-10)


def test_rows_of_a_killed_run_are_kept(tmp_path: Path) -> None:
    """What a checkpoint holds is not computed again, and the rest is the same."""
    net, examples = net_and_examples()
    directions = two_directions(net)
    x, y = [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]
    checkpoint = Checkpoint(tmp_path / "surfaces", seldom=0.0)
    whole = Surfaces(checkpoint, classification(), False, lambda _: None).of(
        "p", lambda: Plane(net, directions, examples), x, y
    )
    kept, _ = checkpoint.load() or ({}, {})
    checkpoint.save({"p": kept["p"][:1] + 1000}, {})  # marked, to be told from one computed again
    again = Surfaces(checkpoint, classification(), False, lambda _: None).of(
        "p", lambda: Plane(net, directions, examples), x, y
    )
    assert torch.equal(again[0], whole[0] + 1000)
    assert torch.equal(again[1:], whole[1:])
