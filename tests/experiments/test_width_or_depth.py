"""Sizes of nets of several depths, and the orders that are judged."""

import math

import pytest
import torch

from resexp.core.assessment import assess
from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.result import STATISTICS_COLUMNS
from resexp.experiments.width_or_depth import CLAIMS, Size, WidthOrDepth
from resexp.training.data.dataset import Data, Examples
from resexp.training.history import History

LAB = Lab("width-or-depth", seed=3)


def images(channels: int, side: int, classes: int) -> Data:
    part = Examples(torch.zeros(4, channels, side, side), torch.zeros(4, dtype=torch.long))
    return Data("blank", part, part, classes)


def by_hand(depth: int, width: int, channels: int, side: int, classes: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a net with shortcuts A and batch normalisation, layer by layer."""
    layers = [(channels, width, side)]
    inputs = width
    for stage in range(3):
        outputs = width * 2**stage
        layers += [(inputs, outputs, side // 2**stage)]
        layers += [(outputs, outputs, side // 2**stage)] * ((depth - 2) // 3 - 1)
        inputs = outputs
    weights = sum(9 * i * o for i, o, _ in layers) + inputs * classes
    multiply_adds = sum(9 * i * o * s**2 for i, o, s in layers) + inputs * classes
    return weights + sum(2 * o for _, o, _ in layers) + classes, multiply_adds


@pytest.mark.parametrize(("channels", "side", "classes"), [(1, 8, 10), (3, 32, 7)])
def test_sizes_are_those_counted_by_hand_and_within_the_spread(channels: int, side: int, classes: int) -> None:
    experiment = WidthOrDepth.parse({"depths": (14, 56, 8)})
    found = experiment.nets(images(channels, side, classes))
    assert list(found) == [8, 14, 56]
    for depth, size in found.items():
        expected = by_hand(depth, size.width, channels, side, classes)
        assert (size.parameters, size.multiply_adds) == expected
        assert abs(size.parameters / experiment.budget - 1) <= experiment.spread
        for other in (size.width - 1, size.width + 1):
            theirs = by_hand(depth, other, channels, side, classes)[0]
            assert abs(theirs - experiment.budget) > abs(size.parameters - experiment.budget)
    assert found[8].activations < found[14].activations < found[56].activations


def test_a_budget_that_some_depth_misses_is_refused_before_nets_are_trained() -> None:
    with pytest.raises(UsageError, match=r"--budget 36000: .* -7\.2% at depth 14, .*--spread allows 5\.0%"):
        WidthOrDepth.parse({"depths": (8, 14), "budget": 36_000}).compute(LAB)
    assert len(WidthOrDepth.parse({"depths": (8, 14), "budget": 36_000, "spread": 0.08}).nets(images(1, 8, 10))) == 2


def test_rows_are_of_the_nets_that_were_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = WidthOrDepth.make_nets

    def noted(self: WidthOrDepth, lab: Lab, name: str, data: Data) -> list[torch.nn.Module]:
        nets = make(self, lab, name, data)
        made.extend(sum(p.numel() for p in net.parameters()) for net in nets)
        return nets

    monkeypatch.setattr(WidthOrDepth, "make_nets", noted)
    experiment = WidthOrDepth.parse(WidthOrDepth.smallest)
    found = experiment.train(LAB)
    assert made == [by_hand(depth, width, 1, 8, 10)[0] for depth, width in ((8, 3), (14, 2)) for _ in range(2)]
    result = assess(experiment, experiment.rows(found))
    assert result.columns == ("depth", "quantity", *STATISTICS_COLUMNS)
    means = {(row["quantity"], row["depth"]): row["mean"] for row in result.rows}
    assert len(means) == 2 * 7
    for depth, width in ((8, 3), (14, 2)):
        assert means["width", depth] == width
        assert means["parameters", depth] == by_hand(depth, width, 1, 8, 10)[0]
        assert means["test_error", depth] == pytest.approx(float(found[depth][1].test_error[-1].mean()))
        assert means["train_loss", depth] == pytest.approx(float(found[depth][1].train_loss[-1].mean()))
    assert means["train_loss", 8] != means["train_loss", 14]


SEEDS = 12


def histories(ends: dict[int, tuple[float, float, float]]) -> dict[int, tuple[Size, History]]:
    """Nets that end with this training loss, test error and test loss in every seed; nan where they diverged."""
    found = {}
    for depth, (train_loss, test_error, test_loss) in ends.items():
        curves = [torch.full((2, SEEDS), value, dtype=torch.float64) for value in (train_loss, test_error, test_loss)]
        steps = curves[0].repeat(3, 1)
        history = History(steps, steps, curves[0], curves[1], curves[2], curves[1], {})
        found[depth] = Size(1, 100, 1000, 10), history
    return found


GOOD, WORSE, DIVERGED = (0.1, 0.02, 0.1), (0.2, 0.05, 0.3), (math.nan,) * 3


@pytest.mark.parametrize(
    ("wide", "deep", "held"),
    [
        (GOOD, WORSE, (1, 1, 1)),
        (WORSE, GOOD, (0, 0, 0)),
        ((0.1, 0.029, 0.1), GOOD, (0, 1, 0)),  # an error within the tolerance, losses that are equal
        ((0.1, 0.031, 0.05), GOOD, (0, 0, 1)),
        (GOOD, DIVERGED, (1, 1, 1)),
        (DIVERGED, GOOD, (0, 0, 0)),
        (DIVERGED, DIVERGED, (0, 0, 0)),
    ],
)
def test_claims_are_on_the_shallowest_and_the_deepest(
    wide: tuple[float, float, float], deep: tuple[float, float, float], held: tuple[int, int, int]
) -> None:
    """Whatever nets between them do, and in whatever order they were asked for."""
    experiment = WidthOrDepth.parse({"depths": (20, 8, 14), "seeds": SEEDS})
    found = histories({8: wide, 14: (9.0, 1.0, 9.0), 20: deep})
    claims = {row.quantity: row.samples.mantissa for row in experiment.rows(found) if row.quantity in CLAIMS}
    assert tuple(float(claims[name].mean()) for name in CLAIMS) == held
    if all(map(math.isfinite, wide + deep)):
        verdicts = {f.quantity: f.verdict for f in assess(experiment, experiment.rows(found)).families}
        assert {name: verdicts[name] for name in CLAIMS} == {
            name: "agree" if holds else "disagree" for name, holds in zip(CLAIMS, held, strict=True)
        }
    told = list(experiment.told(found))
    assert any(note.startswith("depth 8 diverged: seed 0 at step 0") for note in told) == math.isnan(wide[0])
    assert any(note.startswith("Does not show here") for note in told) == (wide not in (GOOD,) or deep == GOOD)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"depths": (8, 30)}, "6 n \\+ 2"),
        ({"depths": (2, 8)}, "from 8 to 10,000"),
        ({"depths": (8, 8)}, "two depths or more, each once"),
        ({"depths": (8,)}, "--depths 8: two depths or more"),
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object], what: str) -> None:
    with pytest.raises(Exception, match=what):
        WidthOrDepth.parse(wrong)
