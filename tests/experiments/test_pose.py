"""Joints as heat maps and back, the loss of all stacks, the best guess, claims, pictures, bad input."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from resexp.core.lab import Lab
from resexp.experiments.pose import CLAIMS, Found, Pose
from resexp.nets.zoo import factory
from resexp.report.figure import draw
from resexp.runs.cell import Cell, run_cell
from resexp.runs.settings import Settings
from resexp.training.data.figures import JOINTS, LIMBS, figure, figures
from resexp.training.history import History
from resexp.training.initial import initialised
from resexp.training.joints import HeatMaps, LossName, best_guess, correct, heat_maps, located
from resexp.training.side_by_side import SideBySide

LAB = Lab("pose", seed=1)
SMALL = dict(Pose.smallest)


def test_the_maximum_of_a_heat_map_is_where_the_joint_is() -> None:
    """Within a quarter of the map's pixel in each direction, and next to edges within half of one."""
    places = 64 * torch.rand(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    off = (located(heat_maps(places, 16, 4), 4) - places).abs() / 4
    inside = ((places > 4) & (places < 60)).all(-1)
    assert off[inside].max() <= 0.25 + 1e-9
    assert off.max() <= 0.5 + 1e-9
    one = heat_maps(torch.tensor([[10.0, 30.0]]), 16, 4)[0]
    assert divmod(int(one.argmax()), 16) == (7, 2)  # row from y, column from x
    assert float(one[7, 2]) == pytest.approx(1.0)
    assert float(one[7, 3]) == pytest.approx(math.exp(-0.5))


@pytest.mark.parametrize("kind", ["cross-entropy", "squared-error"])
def test_every_stack_is_held_to_the_same_maps(kind: LossName) -> None:
    """The loss of two stacks is the sum of theirs alone, each counted by hand; the error is the last one's."""
    generator = torch.Generator().manual_seed(0)
    places = 64 * torch.rand(3, 2, 5, 2, generator=generator)  # batch, nets, joints
    outputs = torch.randn(3, 2, 5, 16, 16, 2, generator=generator)
    maps = HeatMaps(4, 4.0, kind)
    expected = torch.zeros(2)
    for stack in range(2):
        for net in range(2):
            for image in range(3):
                for joint in range(5):
                    x, y = places[image, net, joint].tolist()
                    squares = [((c + 0.5 - x / 4) ** 2 + (r + 0.5 - y / 4) ** 2) for r in range(16) for c in range(16)]
                    wanted = torch.tensor([math.exp(-square / 2) for square in squares])
                    given = outputs[image, net, joint, :, :, stack].flatten()
                    if kind == "squared-error":
                        expected[net] += (given - wanted).square().sum() / 15
                    else:
                        probabilities = given.exp() / given.exp().sum()
                        expected[net] -= (wanted / wanted.sum() * probabilities.log()).sum() / 15
    assert torch.allclose(maps.loss(outputs, places), expected, rtol=1e-5)
    right = heat_maps(places, 16, 4)
    assert maps.error(torch.stack([outputs[..., 0], right], -1), places).tolist() == [0, 0]
    assert min(maps.error(torch.stack([right, outputs[..., 0]], -1), places).tolist()) > 0.5


def test_the_best_guess_is_the_best_of_all_pixels() -> None:
    places = 16 * torch.rand(40, 3, 2, generator=torch.Generator().manual_seed(0))
    guess = best_guess(places, 16, 3.0)
    shares = correct(guess, places, 3.0).double().mean(0)
    for joint in range(3):
        tried = [
            float(correct(torch.tensor([x + 0.5, y + 0.5]), places[:, joint], 3.0).double().mean())
            for y in range(16)
            for x in range(16)
        ]
        assert float(shares[joint]) == max(tried) > min(tried)


def test_figures_are_whole_inside_and_keyed_one_by_one() -> None:
    data, fewer = figures(LAB, train=6, test=2, side=128), figures(LAB, train=3, test=2, side=128)
    joints = data.train.targets
    assert joints.shape == (6, len(JOINTS), 2)
    assert ((joints > 0) & (joints < 128)).all()
    assert torch.equal(fewer.train.inputs, data.train.inputs[:3])
    assert not torch.equal(data.train.inputs[0], data.test.inputs[0])
    drawn = figure(joints[0], 128)
    for a, b in LIMBS:
        x, y = ((joints[0, a] + joints[0, b]) / 2).floor().int().tolist()
        assert drawn[y, x] > 0.9
    left, right = (joints[:, JOINTS.index(f"{side} elbow")] - joints[:, 1] for side in ("left", "right"))
    down = joints[:, 2] - joints[:, 1]
    turned = [down[:, 0] * of[:, 1] - down[:, 1] * of[:, 0] for of in (left, right)]
    assert (turned[0] < 0).all()  # seen from the front, left of the way down is the figure's left
    assert (turned[1] > 0).all()
    shades = (data.train.inputs[:, 0] * figures_of(joints)).mean((1, 2)).sign()
    assert set(shades.tolist()) == {-1.0, 1.0}


def figures_of(joints: Tensor) -> Tensor:
    return torch.stack([figure(of, 128) for of in joints])


def test_hourglasses_side_by_side_are_what_they_are_alone() -> None:
    """Heat maps of all stacks and gradients of their loss, which reach every weight of every net."""
    nets = initialised(factory("hourglass:2,width=4,channels=1,joints=3"), Lab("pose", seed=2, dtype="float64"), 2)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 1, 64, 64, generator=generator, dtype=torch.float64)
    places = 64 * torch.rand(3, 2, 3, 2, generator=generator, dtype=torch.float64)
    both, maps = SideBySide(nets), HeatMaps(4, 4.0)
    together = both(x)
    assert together.shape == (3, 2, 3, 16, 16, 2)
    maps.loss(together, places).sum().backward()  # type: ignore[no-untyped-call]
    for number, net in enumerate(nets):
        alone = torch.stack(net(x[:, number]), -1)
        assert torch.allclose(together[:, number], alone, atol=1e-9)
        maps.loss(alone[:, None], places[:, number, None]).sum().backward()  # type: ignore[no-untyped-call]
        for (name, own), link in zip(net.named_parameters(), parameters_of(both), strict=True):
            assert own.grad is not None, name
            assert link.grad is not None, name
            assert torch.allclose(torch.unflatten(link.grad, 0, (2, -1))[number], own.grad, atol=1e-8), name


def parameters_of(net: SideBySide) -> list[Tensor]:
    return list(net.net.parameters())


def found(correct_of: Tensor, by_guess: float) -> Found:
    """Seeds, stacks and joints that are found so often."""
    seeds = correct_of.shape[0]
    curve = torch.zeros(2, seeds, dtype=torch.float64)
    history = History(curve, curve, curve, curve, curve, curve, {})
    return Found(history, correct_of.double(), torch.full((len(JOINTS),), by_guess, dtype=torch.float64), ())


def test_claims_and_rows_are_made_of_what_they_say() -> None:
    shares = torch.zeros(3, 2, len(JOINTS))
    shares[0] = 0.5
    shares[1, 1] = 0.5  # the first stack of the second net finds nothing
    shares[2, :, 0], shares[2, 1, 0] = 1.0, 0.0  # the last of the third finds no more
    experiment = Pose.parse({"seeds": 3})
    made = found(shares, 0.05)
    rows = {(row.quantity, row.axes.get("stack"), row.axes.get("joint")): row.samples for row in experiment.rows(made)}
    assert rows["stacks_beat_guess", 2, "all"].mantissa.tolist() == [1.0, 0.0, 0.0]
    assert rows["correct_keypoints", 1, "head"].mantissa.tolist() == [0.5, 0.0, 1.0]
    assert rows["correct_keypoints", 2, "all"].mantissa.tolist() == [0.5, 0.5, 0.0]
    assert rows["correct_by_guess", None, "left foot"].mantissa.tolist() == pytest.approx([0.05] * 3)
    assert "in 2 of 3." in " ".join(experiment.told(made))
    assert not list(Pose.parse({"seeds": 2}).told(found(shares[:2], 0.05)))
    assert {quantity for quantity, *_ in rows} >= set(CLAIMS)


def test_pictures_are_drawn_with_the_joints_that_were_found(tmp_path: Path) -> None:
    outcome = run_cell(Cell(Pose.parse({**SMALL, "pictures": 2}), Settings()))
    pictures = {}
    for name in ("picture", "truth", "heat_maps", "first_stack", "last_stack"):
        rows = [row for row in outcome.result.rows if row.get("quantity") == name and row.get("figure") == 2]
        side = 16 if name == "heat_maps" else 64
        assert [(row["y"], row["x"]) for row in rows[:2]] == [(0, 0), (0, 1)]
        assert len(rows) == side**2
        pictures[name] = torch.tensor([float(row["mean"] or 0.0) for row in rows]).view(side, side)
    data = figures(Lab("pose"), train=8, test=4, side=64)
    assert torch.allclose(pictures["picture"], data.test.inputs[1, 0])
    assert torch.allclose(pictures["truth"], figure(data.test.targets[1], 64))
    assert float(pictures["heat_maps"].max()) == 1.0
    assert torch.equal(pictures["first_stack"], pictures["last_stack"])  # of one stack
    draw([outcome], tmp_path / "pose.png")
    assert (tmp_path / "pose.png").stat().st_size > 10_000


def test_nets_that_diverge_find_nothing(tmp_path: Path) -> None:
    """Not what the first pixel of a map without a number would find; and they are told of and drawn."""
    outcome = run_cell(Cell(Pose.parse({**SMALL, "rate": 1e12, "within": 200.0}), Settings()))
    shares = [row["mean"] for row in outcome.result.rows if row.get("quantity") == "correct_keypoints"]
    assert shares == [0.0] * (len(JOINTS) + 1)
    assert any(note.startswith("Nets diverged: seed 0 at step") for note in outcome.result.notes)
    draw([outcome], tmp_path / "pose.svg")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"side": 96}, "multiples of 64"), ({"width": 6}, "multiple of 4"), ({"data": "digits"}, "figures")],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(Exception, match=said):
        Pose.parse(wrong)
