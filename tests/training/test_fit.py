"""The parts of the loop: rates, mini-batches, augmentation, objectives, evaluation, several threads' worth of care."""

import math
from collections.abc import Callable

import pytest
import torch

from resexp.core.errors import MissingError, UsageError
from resexp.core.lab import Lab
from resexp.nets import zoo
from resexp.training.batches import Batches, moved
from resexp.training.data.dataset import Data, Examples
from resexp.training.data.load import load
from resexp.training.data.synthetic import regression as regression_data
from resexp.training.fit import Moment, fit
from resexp.training.grouping import most_side_by_side, widest
from resexp.training.initial import initialised
from resexp.training.objective import classification, evaluate
from resexp.training.plan import Plan, layers_alone
from resexp.training.side_by_side import SideBySide

LAB = Lab("fit", seed=4)


def test_rates_follow_the_schedule() -> None:
    step = Plan(epochs=10)
    assert [round(step.factor(k, 10), 6) for k in (0, 59, 60, 84, 85, 99)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    cosine = Plan(epochs=4, schedule="cosine", warm_up=1.0)
    assert cosine.factor(0, 5) == pytest.approx(1 / 5)
    assert cosine.factor(10, 5) == pytest.approx(0.5)
    assert cosine.factor(19, 5) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.95)))
    assert {Plan(schedule="constant").factor(k, 3) for k in range(24)} == {1.0}
    assert [layers_alone("w", d) for d in (0, 1, 2, 4)] == [False, False, True, True]
    with pytest.raises(UsageError):
        Plan(batch=0)


def test_an_epoch_shows_each_example_at_most_once_in_an_order_of_its_own() -> None:
    numbers = torch.arange(50)
    batches = Batches(Examples(numbers[:, None].float(), numbers), 8, LAB, [0, 3], shift=False, mirror=False)
    epochs = [torch.cat([y for _, y in batches.epoch(e)]) for e in (1, 2)]  # (48, 2)
    for epoch in epochs:
        assert all(len(epoch[:, net].unique()) == 48 for net in (0, 1))
        assert not torch.equal(epoch[:, 0], epoch[:, 1])
    assert not torch.equal(epochs[0], epochs[1])
    late = torch.cat([y for _, y in batches.epoch(2, first=4)])
    assert torch.equal(late, epochs[1][32:])
    alone = Batches(batches.examples, 8, LAB, [3], shift=False, mirror=False)
    assert torch.equal(torch.cat([y for _, y in alone.epoch(1)]), epochs[0][:, 1:])
    x, y = next(batches.epoch(1))
    assert torch.equal(x[:, :, 0].long(), y)


def test_images_are_shifted_and_mirrored_each_by_its_own() -> None:
    images = torch.arange(1.0, 1 + 3 * 2 * 16 * 8).view(3, 2, 16, 8)
    down, right, mirrored = torch.tensor([2, 0, -1]), torch.tensor([0, -1, 1]), torch.tensor([0, 1, 1])
    found = moved(images, down, right, mirrored)
    assert torch.equal(found[0, :, 2:], images[0, :, :-2])
    assert not found[0, :, :2].any()
    assert torch.equal(found[1, :, :, :-1], images[1].flip(-1)[:, :, 1:])
    assert not found[1, :, :, -1].any()
    assert torch.equal(found[2, :, :-1, 1:], images[2].flip(-1)[:, 1:, :-1])


def test_augmentation_draws_all_shifts_and_leaves_sequences_their_only_row() -> None:
    digits = load("digits", 300)
    batches = Batches(digits.train, 300, LAB, [0], shift=True, mirror=True)
    drawn = batches._moves(torch.Generator().manual_seed(0))
    assert {tuple(row) for row in drawn.tolist()} == {(d, r, m) for d in (-1, 0, 1) for r in (-1, 0, 1) for m in (0, 1)}
    lines = load("mnist1d", 50).as_images()
    still = Batches(lines.train, 50, LAB, [0], shift=True, mirror=False)._moves(torch.Generator().manual_seed(0))
    assert not still[:, 0].any()
    assert still[:, 1].abs().max() == 5


def test_cross_entropy_is_that_of_each_net_with_smoothing_and_over_pixels() -> None:
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(6, 2, 4, 3, 3, generator=generator)
    targets = torch.randint(4, (6, 2, 3, 3), generator=generator)
    found = classification(0.1).loss(outputs, targets)
    for net in (0, 1):
        alone = torch.nn.functional.cross_entropy(outputs[:, net], targets[:, net], label_smoothing=0.1)
        torch.testing.assert_close(found[net], alone)
    wrong = classification().error(outputs, targets)
    torch.testing.assert_close(wrong[1], (outputs[:, 1].argmax(1) != targets[:, 1]).float().mean())
    vector = classification().loss(outputs[..., 0, 0], targets[..., 0, 0])
    torch.testing.assert_close(
        vector[0], torch.nn.functional.cross_entropy(outputs[:, 0, :, 0, 0], targets[:, 0, 0, 0])
    )


def test_evaluation_by_batch_statistics_leaves_the_net_as_it_was() -> None:
    """With statistics of the batch the outputs are those of training mode; running ones and modes stay."""
    data = load("digits", 64)
    (net,) = initialised(zoo.factory("cifar-resnet:8,width=4,channels=1"), LAB, 1)
    side, objective = SideBySide([net]), classification()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    here, _ = evaluate(side, data.test, objective, batch_statistics=True)
    stale, _ = evaluate(side, data.test, objective)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    expected = torch.nn.functional.cross_entropy(net(data.test.inputs), data.test.targets)
    assert float(here) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert abs(float(here) - float(stale)) > 1e-3


def test_a_net_learns_the_teacher() -> None:
    data = regression_data(LAB, examples=512, test=128)
    nets = initialised(zoo.factory("mlp:3x64,inputs=10,outputs=1"), LAB, 2)
    history = fit(nets, data, Plan(epochs=20, batch=32, rate=0.01), LAB)
    assert (history.test_loss[-1] < 0.3 * data.test.targets.var()).all()
    assert history.test_error.isnan().all()
    assert history.diverged == [None, None]


@pytest.mark.parametrize("precision", ["full", "mixed"])
def test_the_loop_learns_the_digits_and_tells_what_it_sees(precision: str) -> None:
    data = load("digits", 400)
    nets = initialised(zoo.factory("cifar-resnet:8,width=8,channels=1"), LAB, 2)
    told: list[Moment] = []
    history = fit(
        nets,
        data,
        Plan(epochs=4, batch=50, precision=precision),
        LAB,
        progress=told.append,  # type: ignore[arg-type]
    )
    assert (history.train_error[-1] < 0.1).all()
    assert history.step_loss.shape == (32, 2)
    torch.testing.assert_close(history.train_loss[1], history.step_loss[8:16].mean(0))
    assert [moment.step for moment in told] == list(range(1, 33))
    assert [round(m.rate or 0, 6) for m in told[::8]] == [0.1, 0.1, 0.1, 0.01]
    test = data.test
    outputs = nets[1].eval()(test.inputs)
    assert float((outputs.argmax(1) != test.targets).double().mean()) == pytest.approx(float(history.test_error[-1, 1]))


def test_random_numbers_and_threads_of_the_program_stay_as_they_were() -> None:
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    nets = initialised(zoo.factory("cifar-resnet:8,width=2,channels=1,drop=dropout:0.5"), LAB, 2)
    fit(nets, load("digits", 32), Plan(epochs=1, batch=16), LAB)
    assert torch.equal(torch.rand(3), expected)


def test_nets_are_drawn_by_number_in_either_dtype() -> None:
    make = zoo.factory("cifar-resnet:8,width=2,channels=1")
    three, two = initialised(make, LAB, 3), initialised(make, Lab("fit", seed=4, dtype="float64"), 2)
    assert torch.equal(three[1].stem[0].weight.double(), two[1].stem[0].weight)  # type: ignore[index, union-attr]
    assert not torch.equal(three[0].stem[0].weight, three[1].stem[0].weight)  # type: ignore[index, union-attr]


def test_as_many_nets_are_joined_as_fit_the_cache() -> None:
    net = zoo.factory("cifar-resnet:8,width=8,channels=1")()
    small, large = (Examples(torch.zeros(1, 1, side, side), torch.zeros(1)) for side in (8, 32))
    assert widest(net, small.inputs) == 8 * 64
    assert [most_side_by_side(net, small, batch) for batch in (32, 128, 512)] == [16, 4, 2]
    assert most_side_by_side(net, large, 128) == 2
    assert net.training


def test_a_machine_that_cannot_compile_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class InductorError(RuntimeError):
        """As torch's own, whose import takes seconds."""

    def broken(_: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(_: torch.Tensor) -> torch.Tensor:
            raise InductorError("InvalidCxxCompiler: No working C++ compiler found\nmore")

        return forward

    InductorError.__module__ = "torch._inductor.exc"
    monkeypatch.setattr(torch, "compile", broken)
    nets = initialised(zoo.factory("cifar-resnet:8,width=2,channels=1"), LAB, 1)
    with pytest.raises(MissingError, match="No working C\\+\\+ compiler found\\); leave it out"):
        fit(nets, load("digits", 32), Plan(epochs=1, batch=16, compile=True), LAB)


def test_no_epochs_train_nothing() -> None:
    data = Data("one", *[Examples(torch.randn(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))] * 2, classes=10)
    nets = initialised(zoo.factory("cifar-resnet:8,width=2,channels=1"), LAB, 1)
    assert fit(nets, data, Plan(epochs=0), LAB).step_loss.shape == (0, 1)


def test_an_estimate_grows_with_what_is_trained() -> None:
    """In proportion to seeds and epochs; with the parts beside the training; unknown on other devices and files."""
    from resexp.experiments.degradation import Degradation
    from resexp.experiments.hessian import Hessian

    lab = Lab("degradation", seed=0)

    def seconds(**values: object) -> float:
        found = Degradation.parse(values).estimate_seconds(lab)
        assert found is not None
        return found

    assert seconds(seeds=6, epochs=16) == pytest.approx(4 * seconds(seeds=3, epochs=8))
    assert Degradation.parse({"data": "folder:/images"}).estimate_seconds(lab) is None
    assert Degradation.parse({}).estimate_seconds(Lab("degradation", seed=0, device="cuda")) is None
    few, many = (Hessian.parse({"steps": steps}).estimate_seconds(lab) for steps in (10, 1000))
    assert few is not None
    assert many is not None
    assert many > 20 * few
