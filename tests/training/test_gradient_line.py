"""What is measured along the gradient, on a quadratic loss whose answer is known, and of nets side by side."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from resexp.core.lab import Lab
from resexp.nets import zoo
from resexp.training.checkpoint import Checkpoint
from resexp.training.data.dataset import Data, Examples
from resexp.training.fit import Moment, fit
from resexp.training.gradient_line import GradientLine
from resexp.training.initial import initialised
from resexp.training.objective import classification, regression
from resexp.training.plan import Plan
from resexp.training.side_by_side import SideBySide

LENGTHS = (0.3, 0.6, 1.5)


def seen(net: SideBySide, line: GradientLine, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """What the line finds before the first step, (nets,) of each measure."""
    x, y = (t.unsqueeze(1).expand(-1, net.count, *t.shape[1:]) for t in (inputs, targets))
    loss = line.objective.loss(net.train()(x), y)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    line(Moment(1, 0, 1, net, slice(0, net.count), x, y, loss.detach(), 0.1))
    return {name: values[0] for name, values in line.found.items()}


def test_a_quadratic_loss_gives_the_closed_forms() -> None:
    """A linear layer, squared error: Hessian A, loss - s g'g + s^2 g'Ag / 2, distance s |Ag|, smoothness |Ag| / |g|."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    layer = nn.Linear(4, 3).to(torch.float64)
    found = seen(SideBySide([layer]), GradientLine(regression(), LENGTHS, 1, 1), x, y)

    with_one = torch.cat([x, torch.ones(20, 1, dtype=torch.float64)], 1)
    theta = torch.cat([layer.weight, layer.bias[:, None]], 1).detach()  # (outputs, inputs + 1)
    of_row = 2 * with_one.T @ with_one / (20 * 3)  # the Hessian of each row of theta
    gradient = 2 * (with_one @ theta.T - y).T @ with_one / (20 * 3)
    moved = gradient @ of_row
    start = float((with_one @ theta.T - y).square().mean())
    losses = [start - s * float(gradient.square().sum()) + s * s / 2 * float((gradient * moved).sum()) for s in LENGTHS]
    assert float(found["loss_range"]) == pytest.approx(max(losses) - min(losses), rel=1e-10)
    change = float(moved.norm())
    assert float(found["gradient_range"]) == pytest.approx((LENGTHS[-1] - LENGTHS[0]) * change, rel=1e-10)
    assert float(found["beta_smoothness"]) == pytest.approx(change / float(gradient.norm()), rel=1e-10)


def nets_and_data() -> tuple[list[nn.Module], Data]:
    lab = Lab("smoothness", seed=2, dtype="float64")
    nets = initialised(zoo.factory("plain:8,width=2,channels=1"), lab, 2)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(24, 1, 8, 8, generator=generator, dtype=torch.float64)
    examples = Examples(x, torch.randint(10, (24,), generator=generator))
    return nets, Data("noise", examples, examples, classes=10)


def test_each_net_moves_along_its_own_gradient() -> None:
    """Side by side as alone, and another number in each net."""
    nets, data = nets_and_data()
    x, y = data.train.inputs, data.train.targets
    together = seen(SideBySide(nets), GradientLine(classification(), LENGTHS, 1, 2), x, y)
    for number, net in enumerate(nets):
        alone = seen(SideBySide([net]), GradientLine(classification(), LENGTHS, 1, 1), x, y)
        for name, values in alone.items():
            assert float(together[name][number]) == pytest.approx(float(values), rel=1e-9), name
            assert abs(float(together[name][1 - number]) / float(values) - 1) > 1e-3, name


def test_weights_gradients_and_buffers_are_left_as_they_were() -> None:
    nets, data = nets_and_data()
    net = SideBySide(nets)
    seen(net, GradientLine(classification(), LENGTHS, 1, 2), data.train.inputs, data.train.targets)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    gradients = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    x, y = (t.unsqueeze(1).expand(-1, 2, *t.shape[1:]) for t in (data.train.inputs, data.train.targets))
    GradientLine(classification(), LENGTHS, 1, 2)(Moment(1, 0, 1, net, slice(0, 2), x, y, torch.zeros(2), 0.1))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), gradients, strict=True) if p.grad is not None)


def test_training_is_the_same_with_and_without_a_look() -> None:
    plan = Plan(epochs=2, batch=8, rate=0.1)
    curves = []
    for looks in (True, False):
        nets, data = nets_and_data()
        more = {"before_step": GradientLine(classification(), LENGTHS, 6, 2)} if looks else {}
        curves.append(fit(nets, data, plan, Lab("smoothness", dtype="float64"), **more).step_loss)  # type: ignore[arg-type]
    assert torch.equal(*curves)


def test_beyond_the_dtype_is_infinite_and_a_diverged_net_is_nan() -> None:
    net, line = SideBySide([nn.Linear(2, 2)]), GradientLine(regression(), (1e30, 2e30), 1, 1)
    assert float(seen(net, line, torch.ones(4, 2), torch.zeros(4, 2))["loss_range"]) == math.inf
    broken = nn.Linear(2, 2)
    nn.init.constant_(broken.weight, math.nan)
    found = seen(SideBySide([broken]), GradientLine(regression(), LENGTHS, 1, 1), torch.ones(4, 2), torch.ones(4, 2))
    assert all(math.isnan(float(value)) for value in found.values())


def test_a_run_killed_within_an_epoch_keeps_what_was_found(tmp_path: Path) -> None:
    """Killed at step 4 of 6, in the second epoch; what the checkpoint holds is not measured again."""
    plan, lab = Plan(epochs=2, batch=8, rate=0.1), Lab("smoothness", dtype="float64")

    def run(name: str, stop: int) -> GradientLine:
        nets, data = nets_and_data()
        line = GradientLine(classification(), LENGTHS, 6, 2)

        def tell(moment: Moment) -> None:
            if moment.step == stop:
                raise KeyboardInterrupt

        checkpoint = line.checkpoint(Checkpoint(tmp_path / name, seldom=0.0)).part("nets")
        fit(nets, data, plan, lab, before_step=line, progress=tell, checkpoint=checkpoint)
        return line

    whole = run("whole", 99)
    with pytest.raises(KeyboardInterrupt):
        run("killed", 5)
    again = run("killed", 99)
    assert not whole.found["loss_range"].isnan().any()
    for name, values in whole.found.items():
        assert torch.equal(again.found[name], values)
