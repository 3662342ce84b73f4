"""Predictions by random statistics: what they are made of, what holds of them exactly, and what is judged."""

import math

import numpy as np
import pytest
import torch

from resexp.core.assessment import assess
from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.core.result import STATISTICS_COLUMNS, Result
from resexp.experiments.uncertainty import LOWER, Uncertainty
from resexp.nets.zoo import factory
from resexp.training import calibration, monte_carlo
from resexp.training.data.dataset import Examples
from resexp.training.history import History

LAB = Lab("uncertainty", seed=2)
NET = "cifar-resnet:8,width=2,channels=1,classes=5"
SMALL = {"width": 2, "seeds": 2, "limit": 64, "epochs": 2, "passes": 3, "noise": (0.5, 1.0), "translation": (1, 2)}


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def trained_and_monte_carlo() -> tuple[torch.nn.Module, torch.nn.Module]:
    """A net whose running statistics are not the batch's, and the one of random statistics with its weights."""
    torch.manual_seed(1)
    trained = factory(NET)()
    for _ in range(3):
        trained(2 * images(16, seed=9) + 1)
    net = factory(f"{NET},norm=montecarlo")()
    net.load_state_dict(trained.state_dict())
    return trained.eval(), net.eval()


@torch.no_grad()
def test_a_pass_is_the_trained_net_by_the_statistics_of_a_training_batch() -> None:
    """Of a batch that is predicted itself, a pass is batch normalisation in training."""
    trained, net = trained_and_monte_carlo()
    batch = images(20, seed=4)
    found = monte_carlo.predict(net, batch, [batch])
    torch.testing.assert_close(found.logits, trained(batch).double())
    torch.testing.assert_close(found.log_probabilities, trained.train()(batch).double().log_softmax(1))
    assert (found.logits.log_softmax(1) - found.log_probabilities).abs().max() > 0.1
    assert found.mutual_information == pytest.approx(0, abs=1e-9)


def test_the_mean_over_passes_has_better_scores_and_more_entropy_than_the_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By Jensen's inequality; and images that go through the net in parts are predicted alike."""
    _, net = trained_and_monte_carlo()
    x, labels = images(50), torch.randint(5, (50,), generator=torch.Generator().manual_seed(3))
    batches = [images(6, seed=n) for n in range(10, 15)]
    whole = monte_carlo.predict(net, x, batches)
    passes = [monte_carlo.predict(net, x, [batch]) for batch in batches]
    for score in (calibration.negative_log_likelihood, calibration.brier_score):
        mean = sum(score(one.log_probabilities, labels) for one in passes) / 5
        assert score(whole.log_probabilities, labels) < mean
    entropies = sum(calibration.entropy(one.log_probabilities) for one in passes) / 5
    assert whole.entropy_of_passes == pytest.approx(entropies)
    assert whole.mutual_information == pytest.approx(calibration.entropy(whole.log_probabilities) - entropies)
    assert whole.mutual_information > 1e-3
    monkeypatch.setattr(monte_carlo, "CHUNK", 16)
    parts = monte_carlo.predict(net, x, batches)
    torch.testing.assert_close(parts.log_probabilities, whole.log_probabilities, rtol=1e-5, atol=1e-6)
    assert parts.entropy_of_passes == pytest.approx(whole.entropy_of_passes, rel=1e-5)


def test_batches_are_random_without_replacement_and_another_for_each_pass_and_net() -> None:
    examples = Examples(torch.arange(40.0)[:, None], torch.zeros(40, dtype=torch.long))
    found = [b.flatten().tolist() for net in (0, 1) for b in monte_carlo.random_batches(examples, 30, 2, LAB, net)]
    assert all(len(set(batch)) == 30 for batch in found)
    assert len({tuple(batch) for batch in found}) == 4
    (everything,) = monte_carlo.random_batches(examples, 100, 1, LAB, 0)
    assert sorted(everything.flatten().tolist()) == examples.inputs.flatten().tolist()


def test_images_are_translated_to_the_right_and_noise_is_of_deviation_one() -> None:
    row = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    assert monte_carlo.translated(row, 2).flatten().tolist() == [1, 1, 1, 2]
    assert monte_carlo.translated(row, 0).equal(row)
    with pytest.raises(UsageError, match="4 pixels wide"):
        monte_carlo.translated(row, 4)
    drawn = [monte_carlo.noise(images(400), LAB, net) for net in (0, 1)]
    for noise in drawn:
        assert abs(float(noise.mean())) < 5 / 160
        assert abs(float(noise.std()) - 1) < 5 / 160 / math.sqrt(2)
    assert abs(float((drawn[0] * drawn[1]).mean())) < 5 / 160


@pytest.fixture(scope="module")
def result() -> Result:
    return Uncertainty.parse(SMALL).compute(LAB)


def test_rows_are_the_declared_ones_and_tempered_is_as_soft_as_monte_carlo(result: Result) -> None:
    assert result.columns == ("severity", "prediction", "quantity", *STATISTICS_COLUMNS)
    found = {(row["quantity"], row["severity"], row["prediction"]): row["mean"] for row in result.rows}
    assert len(found) == len(result.rows) == 5 * 3 * (3 + 3) + 3 * 2 + 3 + 3 + 2
    soft = [found["entropy_noisy", 0.0, kind] for kind in ("tempered", "monte-carlo", "deterministic")]
    assert soft[0] == pytest.approx(soft[1])
    assert soft[0] != pytest.approx(soft[2])
    for severity in (0.0, 1.0):
        kinds = [found["error_noisy", severity, kind] for kind in ("tempered", "deterministic")]
        assert kinds[0] == kinds[1]  # a temperature changes no order
    assert found["brier_score_noisy", 0.0, "monte-carlo"] == found["brier_score_translated", 0.0, "monte-carlo"]
    assert found["brier_score_noisy", 1.0, "monte-carlo"] != found["brier_score_noisy", 0.5, "monte-carlo"]
    assert len({found["entropy_pure_noise", s, "deterministic"] for s in (0.5, 1.0)}) == 2


def test_the_nets_that_are_scored_are_those_that_were_trained() -> None:
    history, numbers = Uncertainty.parse(SMALL).train(LAB)
    found = [numbers[f"{name}_noisy", 0.0, "deterministic"] for name in ("error", "negative_log_likelihood")]
    assert found[0].tolist() == history.test_error[-1].tolist()
    assert found[1] == pytest.approx(history.test_loss[-1].numpy(), rel=1e-5)


def test_the_size_of_the_random_batches_counts(result: Result) -> None:
    """Statistics of all training examples are the same in each pass, and leave nothing to disagree on."""
    whole = Uncertainty.parse({**SMALL, "statistics": 64}).compute(LAB)

    def disagreement(of: Result) -> list[float]:
        return [float(row["mean"]) for row in of.rows if str(row["quantity"]).startswith("mutual")]  # type: ignore[arg-type]

    assert max(map(abs, disagreement(whole))) < 1e-6 < 1e-4 < min(disagreement(result))


@pytest.mark.parametrize("wrong", [0, 3])
def test_verdicts_are_on_the_order_at_the_largest_severity(wrong: int) -> None:
    """The order is as it should be at noise 2, and the other way at 1; `wrong` seeds of 16 diverged."""
    experiment = Uncertainty.parse({"seeds": 16, "noise": (2.0, 1.0)})
    numbers = {place: np.zeros(16) for place in experiment._places()}
    for severity, sign in ((1.0, -1.0), (2.0, 1.0)):
        for quantity, low, high in LOWER.values():
            numbers[quantity, severity, low] = np.full(16, -sign)
            numbers[quantity, severity, high] = np.full(16, sign)
    for values in numbers.values():
        values[:wrong] = math.nan
    losses = torch.zeros(4, 16)
    losses[2:, :wrong] = math.nan
    history = History(*[losses] * 6, watched={})
    found = history, numbers
    claims = [row for row in experiment.rows(found) if row.quantity in LOWER]
    assert len(claims) == len(LOWER)
    for row in claims:
        assert row.samples.mantissa.mean() == pytest.approx(1 - wrong / 16)
        assert row.axes["severity"] == 2.0
    if not wrong:
        verdicts = {
            f.quantity: f.verdict for f in assess(experiment, experiment.rows(found)).families if f.quantity in LOWER
        }
        assert verdicts == dict.fromkeys(LOWER, "agree")
    notes = list(experiment.told(found))
    assert any("seed 2 at step 2" in note for note in notes) == bool(wrong)
    assert any(note.startswith("Does not show here") for note in notes)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"depth": 30}, "6 n \\+ 2"),
        ({"noise": (1.0, -1.0)}, "--noise 1.0,-1.0: one or more positive"),
        ({"noise": (math.nan,)}, "--noise"),
        ({"noise": (math.inf,)}, "--noise"),
        ({"translation": (1, 1)}, "each once"),
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object], what: str) -> None:
    with pytest.raises(Exception, match=what):
        Uncertainty.parse(wrong)
