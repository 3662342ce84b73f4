import pytest
import torch

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.result import Result, Verdict
from resexp.experiments.normalisers import Normalisers
from resexp.nets.normalised import averaged, normaliser


def run(**parameters: object) -> Result:
    values = {"depth": 8, "channels": 32, "batch": 4, "draws": 24, **parameters}
    return Normalisers.parse(values).compute(Lab("normalisers", seed=4, threads=2))


def headline(result: Result, name: str) -> float:
    value = next(figure["mean"] for figure in result.headline if figure["quantity"] == name)
    assert isinstance(value, float)
    return value


def verdicts(result: Result) -> dict[str, str]:
    return {family.quantity: family.verdict for family in result.families}


@pytest.mark.parametrize("name", ["none", "weight"])
def test_signal_and_gradient_double_without_statistics(name: str) -> None:
    result = run(normaliser=name)
    assert headline(result, "second_moment_growth") == pytest.approx(2, abs=0.1)
    assert headline(result, "gradient_growth") == pytest.approx(2, abs=0.1)
    assert Verdict.DISAGREE not in verdicts(result).values()


@pytest.mark.parametrize("name", ["batch", "ghost:2", "renorm", "montecarlo", "layer", "group:4", "instance"])
def test_one_a_block_with_any_normaliser(name: str) -> None:
    result = run(normaliser=name)
    assert headline(result, "second_moment_last_block") == pytest.approx(10, rel=0.15)
    assert verdicts(result)["activation_second_moment"] == Verdict.AGREE
    assert verdicts(result)["gradient_second_moment"] == Verdict.AGREE


def test_what_a_batch_decides() -> None:
    """Two examples move each other more than eight do, ghosts of two as much as two; settled statistics do not."""
    share = {
        (name, batch): headline(run(normaliser=name, batch=batch, side=2), "companion_share_last_block")
        for name, batch in (("batch", 2), ("batch", 8), ("ghost:2", 8), ("renorm", 8), ("layer", 2), ("instance", 2))
    }
    assert share["batch", 2] > 1.5 * share["batch", 8]
    assert share["ghost:2", 8] == pytest.approx(share["batch", 2], rel=0.25)
    assert share["batch", 8] > 0.01
    assert share["renorm", 8] < 0.1 * share["batch", 8]
    assert share["layer", 2] == share["instance", 2] == 0.0


def test_two_values_become_plus_and_minus_one_and_pass_no_gradient() -> None:
    layer = normaliser("batch", 64, 1)
    x = torch.randn(2, 64, 1, 1, generator=torch.Generator().manual_seed(0)).requires_grad_()
    z = layer(x)
    assert z.abs().detach().median() == pytest.approx(1, abs=1e-3)
    (g,) = torch.autograd.grad(z[0].sum(), x)
    assert g.abs().median() < 1e-2
    result = run(normaliser="batch", batch=2, side=1)
    assert verdicts(result)["activation_second_moment"] == Verdict.AGREE
    assert verdicts(result)["gradient_second_moment"] == "no theory"
    assert any("+1 and the other to -1" in note for note in result.notes)


@pytest.mark.parametrize("name", ["group:32", "instance"])
def test_a_single_value_leaves_nothing(name: str) -> None:
    result = run(normaliser=name, side=1)
    assert headline(result, "second_moment_growth") == pytest.approx(1, abs=1e-6)
    assert headline(result, "gradient_growth") == pytest.approx(1, abs=1e-6)
    assert set(verdicts(result).values()) == {Verdict.AGREE}


def test_all_normalisers_see_the_same_networks() -> None:
    first = [run(normaliser=name, draws=2, depth=1).rows[0]["mean"] for name in ("batch", "layer", "none")]
    assert first[0] == first[1] == first[2]


def test_sizes_of_the_sets() -> None:
    assert averaged("ghost:2", 5, 8).examples == (3, 2)  # type: ignore[union-attr]
    assert [len(part) for part in torch.zeros(5).tensor_split(2)] == [3, 2]
    assert averaged("group:4", 2, 32).channels == 8  # type: ignore[union-attr]
    assert averaged("weight", 2, 8) is None
    result = run(normaliser="ghost:2", batch=5, draws=2, depth=2)
    assert set(verdicts(result).values()) == {"no theory"}


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"normaliser": "bacth"}, "did you mean 'batch'?"),
        ({"normaliser": "group:3"}, "does not divide a layer of 32 channels"),
        ({"normaliser": "layer:3"}, "only ghost and group take a number"),
        ({"normaliser": "batch", "batch": 1, "side": 1}, "would normalise a single value"),
        ({"depth": 0}, "--depth 0: must be at least 1"),
    ],
)
def test_bad_input_is_told(parameters: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence.replace("?", r"\?")):
        run(**parameters)
