"""`resexp.probe` and `assert_stable`, as other projects call them."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import resexp
from resexp.core.errors import UsageError
from resexp.core.result import Result
from resexp.nets import zoo
from resexp.probing.examples import prenorm_transformer, residual_mlp
from resexp.testing import assert_stable
from tests.probing.nets import WIDTH, Convolutional, batch, chain

STATISTICS = ("mean", "stderr", "ci_low", "ci_high", "median", "draws", "theory", "theory_kind", "verdict")


def figure(result: Result, name: str) -> float:
    (found,) = [f["mean"] for f in result.headline if f["quantity"] == name]
    assert isinstance(found, int | float)
    return found


def test_a_result_has_the_columns_and_figures_that_are_promised() -> None:
    result = resexp.probe(nn.Sequential(*(Convolutional(nn.BatchNorm2d, out=6 * k, channels=c) for k, c in
                                          ((1, 4), (1, 6), (2, 6)))), batch(4, 6, 6), draws=3)  # fmt: skip
    assert result.columns == ("stage", "block", "name", "shortcut", "quantity", *STATISTICS)
    counts = {
        name: figure(result, name) for name in ("residual_additions", "identity_shortcuts", "projection_shortcuts")
    }
    assert list(counts.values()) == [3, 1, 2]
    quantities = {str(row["quantity"]) for row in result.rows}
    assert {
        "activation_second_moment",
        "activation_batch_variance",
        "gradient_second_moment",
        "gradient_norm",
    } < quantities
    assert "dead_units" in quantities


def test_the_same_seed_gives_the_same_numbers_whatever_ran_before() -> None:
    net = chain(lambda b, x: x + nn.functional.dropout(b.branch(x), 0.2))
    first = resexp.probe(net, "8", draws=3, seed=4)
    torch.rand(17)
    assert resexp.probe(net, "8", draws=3, seed=4).rows == first.rows
    assert resexp.probe(net, "8", draws=3, seed=5).rows != first.rows


def test_a_factory_draws_its_own_weights_and_a_net_keeps_its_scale() -> None:
    width = 128
    drawn = resexp.probe(lambda: residual_mlp(8, width), str(width), draws=16)
    rearranged = resexp.probe(residual_mlp(8, width), str(width), draws=16)
    for result in (drawn, rearranged):
        assert figure(result, "activation_growth_per_block") == pytest.approx(2.0, abs=0.1)
    assert not any("permute" in note for note in drawn.notes)


def test_examples_are_shared_out_over_the_draws() -> None:
    seen: list[torch.Size] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = chain(lambda b, x: x + b.branch(x))

        def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            seen.append(x.shape)
            return self.body(x + bias)

    resexp.probe(Watching(), {"x": torch.randn(40, 8), "bias": torch.zeros(40, 8)}, draws=2, batch=6, line=False)
    assert seen == [(6, 8), (6, 8)]
    with pytest.raises(UsageError, match="batch of one size"):
        resexp.probe(Watching(), [torch.randn(4, 8), torch.zeros(3, 8)], draws=2)


def test_trained_weights_are_looked_into_as_they_are() -> None:
    net = chain(lambda b, x: x + b.branch(x), blocks=3)
    kept = resexp.probe(net, "8", draws=4, keep_weights=True)
    assert not [row for row in kept.rows if row["quantity"] == "second_moment_over_expected"]
    spread = [row["stderr"] / row["mean"] for row in kept.rows if row["quantity"] == "activation_second_moment"]  # type: ignore[operator]
    assert max(spread) < 0.2


def test_stable_nets_pass_and_others_fail_with_advice() -> None:
    result = assert_stable(prenorm_transformer, "tokens:16", batch=4, draws=3)
    assert isinstance(result, Result)
    with pytest.raises(AssertionError) as caught:
        assert_stable(residual_mlp, "64", draws=4)
    assert "stage 1: the activation's second moment grows" in str(caught.value)
    assert "scale the branches by 1/sqrt(16) = 0.25, or normalise first" in str(caught.value)
    assert_stable(lambda: residual_mlp(scale=0.25), "64", draws=4)
    with pytest.raises(AssertionError, match="no residual additions"):
        assert_stable(nn.Sequential(nn.Linear(8, 8)), "8", draws=2)
    with pytest.raises(AssertionError, match="not finite"):
        assert_stable(chain(lambda b, x: x + 1e30 * b.branch(x), blocks=3), batch(WIDTH), draws=2)


def test_shattered_gradients_are_told_from_smooth_ones() -> None:
    class Normed(nn.Module):
        def __init__(self, skip: float) -> None:
            super().__init__()
            self.skip, self.layer, self.norm = skip, nn.Linear(64, 64), nn.BatchNorm1d(64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.skip * x + self.layer(torch.relu(self.norm(x)))

    def correlation(skip: float) -> float:
        net = nn.Sequential(*(Normed(skip) for _ in range(24)), nn.Linear(64, 8))
        return figure(resexp.probe(net, "64", draws=3, batch=32), "gradient_autocorrelation")

    assert correlation(0.0) < 0.3
    assert correlation(1.0) > 2 * correlation(0.0)


def test_dead_units_are_counted() -> None:
    net = chain(lambda b, x: x + b.layer(torch.relu(x.abs() - 1e9 * (torch.arange(WIDTH) < 2))))
    assert figure(resexp.probe(net, "8", draws=2), "dead_units") == pytest.approx(2 / WIDTH)


def test_importing_resexp_imports_no_torch() -> None:
    code = "import resexp, sys; assert 'torch' not in sys.modules; resexp.probe; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'prob'"):
        resexp.prob  # noqa: B018  # type: ignore[attr-defined]


def test_the_gradient_of_a_projected_shortcut_is_not_taken_for_that_of_the_stream() -> None:
    result = resexp.probe(zoo.factory("cifar-resnet:20-b-v2,width=4"), "3x8x8", batch=4, draws=2, line=False)
    entering = [row for row in result.rows if row["quantity"] == "gradient_norm" and row["block"] == 0]
    assert [row["stage"] for row in entering] == [1]  # the others are projected
    assert {row["stage"] for row in result.rows if row["block"] == 0} == {1, 2, 3}
    steps = {f["quantity"]: f["mean"] for f in result.headline}
    rows = [row for row in result.rows if row["quantity"] == "gradient_second_moment" and row["stage"] == 2]
    whole = rows[0]["mean"] / rows[-1]["mean"]  # type: ignore[operator]
    assert steps["gradient_growth_per_block_stage_2"] == pytest.approx(whole**0.5, rel=0.02)  # type: ignore[operator]


def test_the_gradient_of_a_prenorm_net_falls_as_its_inverse_grows() -> None:
    result = resexp.probe(lambda: prenorm_transformer(16, 32, 4), "tokens:16", batch=4, draws=8, line=False)
    laws = {f.quantity: f.sentence for f in result.families}
    assert laws["stage_1_backward"].startswith(("linear, its inverse", "power"))
    assert not laws["stage_1_backward"].startswith("exponential")


def test_a_layer_scale_near_zero_is_a_branch_that_starts_at_zero() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.layer = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1e-6 * self.layer(self.norm(x))

    result = resexp.probe(lambda: nn.Sequential(*(Scaled() for _ in range(9))), str(WIDTH), draws=2, line=False)
    assert any("branches that start at zero" in family.sentence for family in result.families)
    assert result.notes[0].startswith("Nothing here asks for a change")


def test_a_gradient_that_is_larger_at_one_end_is_told() -> None:
    result = resexp.probe(zoo.factory("cifar-resnet:110,width=4"), "3x8x8", batch=4, draws=2, line=False)
    assert any("times larger at the first addition (blocks.0) than at the last" in note for note in result.notes)
