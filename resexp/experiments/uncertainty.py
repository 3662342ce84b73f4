"""Monte Carlo batch normalisation: is a net more honest about what it does not know if its statistics are random?

Nets trained with batch normalisation predict in three ways, without further training:

    deterministic   by the running statistics, as always
    monte-carlo     the mean of the probabilities over --passes; in each, mean and variance of every layer are those of
                    one random training batch, of as many examples as in training unless --statistics says otherwise
    tempered        softmax(logits / T) of the deterministic net, with the T at which its mean entropy on the unchanged
                    test images is that of monte-carlo (no labels are used): as soft, and knowing nothing more

on the test images, on noisy ones (normal noise of standard deviation `severity`, that of the inputs being 1), on
translated ones (by `severity` pixels to the right, the edge repeated), and on pure noise. Scores, means over examples:
negative log-likelihood, nats; Brier score, 0 to 2; expected calibration error in 15 bins of confidence; error; entropy,
nats; mutual_information, by how much the entropy of the mean is above the mean over passes, which is never negative.
Severity 0 is the unchanged test images. A draw is a seed: a net, its order of the data, its noise and its passes.

Theory is a reference: that Monte Carlo statistics make better uncertainty, and that a temperature does not carry over
to shifted inputs. At the largest severity:

    noisy_likelihood_improves       monte-carlo has the lower negative log-likelihood than deterministic
    noisy_brier_improves            and the lower Brier score
    noisy_calibration_improves      and the lower calibration error
    pure_noise_entropy_rises        the higher entropy on pure noise
    noisy_brier_beats_temperature   the lower Brier score than tempered

What is judged is that it is so in most seeds; with fewer than 8 chance is not ruled out, and the verdict is
`underpowered`. Nets that diverge count as seeds in which it is not so.

Measured on the digits with the defaults, 8 seeds, five times: all five claims held in all 40 seeds. At noise 2 the
likelihood's negative logarithm fell from 7 to 6.3 or so, Brier scores by 0.05 to 0.06 of 1.2, calibration errors by
0.05 of 0.57. Nets are far too sure there, so that softer probabilities alone help: a temperature of 1.13 gives all of
what the likelihood gains, two fifths of the Brier score and a third of the calibration error, and on translated images
most of each. `noisy_brier_beats_temperature` is not judged after less than 300 steps. The rest does not show here. On
the unchanged test images likelihood, Brier score and calibration error are no better than the deterministic ones, each
within what varies from seed to seed, and errors change nowhere. On translated images Brier scores fall by 0.03 to 0.06,
but not in every seed (39 of 40). Neither prediction knows noise for what it is: on pure noise of deviation 2 entropies
are 0.46 and 0.57 nats, where knowing nothing is log 10 = 2.30. With `--batch 128`, in training and in passes,
statistics vary less, and changes are about a quarter of that.

Source: Teye et al. 2018; Ovadia et al. 2019; Guo et al. 2017.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self, get_args

from pydantic import model_validator

from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row
from resexp.training.declared import TrainingExperiment, check_depth, claim, convolutions, diverged, shown

if TYPE_CHECKING:
    from torch import nn

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array
    from resexp.training.checkpoint import Checkpoint
    from resexp.training.data.dataset import Data
    from resexp.training.history import History

    Place = tuple[str, float, str]
    """Quantity, severity and prediction."""
    Found = dict[Place, Array]
    """Numbers of all seeds, (seeds,)."""

PredictionName = Literal["deterministic", "monte-carlo", "tempered"]
DETERMINISTIC, MONTE_CARLO, TEMPERED = PREDICTIONS = get_args(PredictionName)
SCORES = {
    "negative_log_likelihood": "negative log-likelihood of the right class, nats",
    "brier_score": "Brier score, 0 to 2",
    "calibration_error": "expected calibration error in 15 bins",
    "error": "share of wrong images",
    "entropy": "entropy of the predicted probabilities, nats",
}
BETTER_LOWER = {
    "negative_log_likelihood": "negative log-likelihood",
    "brier_score": "Brier score",
    "calibration_error": "calibration error",
}
"""Scores that a better prediction has lower, and their names in a sentence."""
LOWER = {
    "noisy_likelihood_improves": ("negative_log_likelihood_noisy", MONTE_CARLO, DETERMINISTIC),
    "noisy_brier_improves": ("brier_score_noisy", MONTE_CARLO, DETERMINISTIC),
    "noisy_calibration_improves": ("calibration_error_noisy", MONTE_CARLO, DETERMINISTIC),
    "pure_noise_entropy_rises": ("entropy_pure_noise", DETERMINISTIC, MONTE_CARLO),
    "noisy_brier_beats_temperature": ("brier_score_noisy", MONTE_CARLO, TEMPERED),
}
"""Claims, each with a quantity, the prediction that has the lower one at the largest severity, and the other."""
STEPS_TO_SETTLE = 300
"""After fewer steps a temperature may do as well (on digits: in 2 of 40 seeds after 168)."""
MOST_SEVERE = 1_000_000
CLASSES = 10
TEST_SHARE = 0.25
"""Test examples over training examples, where nothing is known."""
FORWARD = 2e10
"""Multiply-adds a second of a forward pass on one core of a common machine, all else included."""


class Uncertainty(TrainingExperiment):
    """Likelihood and calibration of nets with batch norm, deterministic and by Monte Carlo, on shifted images."""

    depth: int = param(8, "layers of the residual net, 6 n + 2", ge=8, le=10_000)
    width: int = param(8, "channels of the first stage; the second and third have 2 and 4 times as many", ge=1, le=1024)
    rate: float = param(0.1, "highest learning rate, reached after an epoch", gt=0)
    weight_decay: float = param(1e-4, "factor of the weights in their L2 decay", ge=0)
    passes: int = param(16, "random batches whose statistics each prediction is a mean over", ge=1, le=10_000)
    statistics: int | None = param(None, "examples of such a batch; if not given, as many as in training", ge=2)
    noise: tuple[float, ...] = param((0.25, 0.5, 1.0, 2.0), "standard deviations of the noise, inputs' being 1")
    translation: tuple[int, ...] = param((1, 2, 3), "pixels by which images are translated")
    seeds: int = param(8, "nets, each with its own initialisation and order of the data", ge=2, le=10_000)
    batch: int = param(32, "examples a step", ge=2, le=1_000_000)

    axes = ("severity", "prediction")
    quantities = (
        *(
            shown(f"{name}_{shift}", f"{meaning}; {shift} images")
            for shift in ("noisy", "translated")
            for name, meaning in SCORES.items()
        ),
        shown("entropy_pure_noise", "entropy of the predicted probabilities, nats; pure noise"),
        shown("mutual_information_noisy", "of class and batch, nats; noisy images"),
        shown("mutual_information_translated", "of class and batch, nats; translated images"),
        shown("mutual_information_pure_noise", "of class and batch, nats; pure noise"),
        Quantity("temperature", "of tempered", judged="nothing", headline="temperature", hidden=True),
        *(
            claim(name, f"{low} has the lower {quantity} than {high} at the largest severity")
            for name, (quantity, low, high) in LOWER.items()
        ),
    )
    plot = Plot(x="severity", series="prediction")
    quick: ClassVar = {"width": 4, "limit": 700, "noise": (2.0,), "translation": (3,)}
    smallest: ClassVar = {"width": 2, "seeds": 2, "limit": 64, "epochs": 1, "passes": 2, "noise": (1.0,)}
    examples = (
        "uncertainty",
        "uncertainty --passes 64 --statistics 8",
        "uncertainty --noise 0.5,1 --translation 1 --seeds 16",
    )

    @model_validator(mode="after")
    def _can_be_shifted(self) -> Self:
        check_depth("--depth", self.depth)
        for option, severities in (("--noise", self.noise), ("--translation", self.translation)):
            fits = all(0 < severity <= MOST_SEVERE for severity in severities)
            if not severities or not fits or len(set(severities)) < len(severities):
                said = ",".join(map(str, severities)) or "''"
                raise ValueError(
                    f"{option} {said}: one or more positive numbers up to {MOST_SEVERE:,}, each once; 0, the unchanged "
                    "images, is always there."
                )
        return self

    @property
    def net(self) -> str:
        """Name of the trained net in the zoo."""
        return f"cifar-resnet:{self.depth},width={self.width}"

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """That the order holds in most seeds, as others say; nothing is known of the scores themselves."""
        steps = self.training_steps
        too_few = quantity == "noisy_brier_beats_temperature" and steps is not None and steps < STEPS_TO_SETTLE
        return Prediction("reference", value=1.0) if quantity in LOWER and not too_few else None

    def told(self, found: "tuple[History, Found]") -> Iterator[str]:
        """Which nets diverged, and what does not show."""
        history, numbers = found
        yield from diverged("The net", history.diverged, "counted against every claim")
        lower = []
        for name, said in BETTER_LOWER.items():
            ours, theirs = (numbers[f"{name}_noisy", 0.0, prediction] for prediction in (MONTE_CARLO, DETERMINISTIC))
            lower.append((int((ours < theirs).sum()), said))
        if min(lower)[0] < self.seeds:
            yield (
                "Does not show here: a better likelihood or calibration on the unchanged test images. Monte Carlo has "
                f"the lower {', '.join(f'{said} in {count}' for count, said in lower)} of {self.seeds} seeds."
            )

    def train(self, lab: Lab) -> "tuple[History, Found]":
        """The training, and the scores of all predictions; goes on where a run that was killed stood."""
        from resexp.training.fit import fit
        from resexp.training.monte_carlo import translated

        data = self.load_data(lab).as_images()
        translated(data.test.inputs[:1], max(self.translation))  # what cannot be is refused before nets are trained
        nets = self.make_nets(lab, self.net, data)
        plan = self.plan(rate=self.rate, weight_decay=self.weight_decay, warm_up=1.0)
        checkpoint = self.checkpoint(lab)
        history = fit(nets, data, plan, lab.share(0, 1, of=2), checkpoint=checkpoint.part("training"))
        return history, self._found(lab.share(1, 2, of=2), nets, data, checkpoint.part("scores"))

    def _found(self, lab: Lab, nets: "list[nn.Module]", data: "Data", kept: "Checkpoint") -> "Found":
        """Scores of all nets; those that a killed run kept are not computed again."""
        import torch

        from resexp.training.landscape import one_thread

        before, places = kept.load(), list(self._places())
        scores = list(before[0]["scores"]) if before else []
        with one_thread():
            for number in range(len(scores), self.seeds):
                numbers = self._scores(lab, number, nets[number], data)
                scores.append(torch.tensor([numbers[place] for place in places], dtype=torch.float64))
                if kept.is_due(finished=number + 1 == self.seeds):
                    kept.save({"scores": torch.stack(scores)}, {})
                lab.progress(number + 1, self.seeds)
        return dict(zip(places, torch.stack(scores).T.numpy(), strict=True))

    def _shifts(self) -> Iterator[tuple[str, float]]:
        """What is done to images, and how severely."""
        yield from (("noisy", float(deviation)) for deviation in (0, *sorted(self.noise)))
        yield from (("translated", float(pixels)) for pixels in (0, *sorted(self.translation)))
        yield from (("pure_noise", float(deviation)) for deviation in sorted(self.noise))

    def _places(self) -> "Iterator[Place]":
        """All numbers of a net."""
        for shift, severity in self._shifts():
            for name in SCORES:
                if shift != "pure_noise" or name == "entropy":
                    yield from ((f"{name}_{shift}", severity, prediction) for prediction in PREDICTIONS)
            yield f"mutual_information_{shift}", severity, MONTE_CARLO
        yield "temperature", 0.0, TEMPERED

    def _scores(self, lab: Lab, number: int, trained: "nn.Module", data: "Data") -> "dict[Place, float]":
        """The numbers of one net."""
        import torch

        from resexp.nets.zoo import factory
        from resexp.training import calibration
        from resexp.training.monte_carlo import noise, predict, random_batches, translated

        net = factory(f"{self.net},channels={data.shape[0]},classes={data.classes},norm=montecarlo")()
        net.load_state_dict(trained.state_dict())
        net.to(lab.torch_device, lab.torch_dtype).eval()
        images, labels = data.test.inputs, data.test.targets
        batches = random_batches(data.train, self.statistics or self.batch, self.passes, lab, number)
        added = noise(images, lab, number)
        unchanged = predict(net, images, batches)
        temperature = calibration.temperature_of(unchanged.logits, calibration.entropy(unchanged.log_probabilities))
        found: dict[Place, float] = {("temperature", 0.0, TEMPERED): temperature}
        for shift, severity in self._shifts():
            if shift == "translated":
                shifted = translated(images, int(severity))
            else:
                shifted = added * severity + (images if shift == "noisy" else 0.0)
            said = predict(net, shifted, batches) if severity else unchanged
            found[f"mutual_information_{shift}", severity, MONTE_CARLO] = said.mutual_information
            given = {
                DETERMINISTIC: torch.log_softmax(said.logits, 1),
                MONTE_CARLO: said.log_probabilities,
                TEMPERED: torch.log_softmax(said.logits / temperature, 1),
            }
            for prediction, log_probabilities in given.items():
                found[f"entropy_{shift}", severity, prediction] = calibration.entropy(log_probabilities)
                for name, score in calibration.SCORES.items():
                    found[f"{name}_{shift}", severity, prediction] = score(log_probabilities, labels)
        return found

    def rows(self, found: "tuple[History, Found]") -> Iterator[Row]:
        """Rows of all scores, and of the claims on them."""
        import numpy as np

        from resexp.core.statistics import Samples

        numbers, largest = found[1], float(max(self.noise))
        for (quantity, severity, prediction), values in numbers.items():
            yield Row({"severity": severity, "prediction": prediction}, quantity, Samples.of(values))
        for name, (quantity, low, high) in LOWER.items():
            place = {"severity": largest, "prediction": MONTE_CARLO}
            holds = numbers[quantity, largest, low] < numbers[quantity, largest, high]
            yield Row(place, name, Samples.of(holds.astype(np.float64)))

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """By how much Monte Carlo changes scores on the unchanged and on the most severely shifted images."""
        from resexp.core.measured import level_samples
        from resexp.core.statistics import Samples, summarise

        for name in SCORES:
            for shift in ("noisy", "translated"):
                found = {tuple(row.axes.values()): level_samples(row) for row in measured[f"{name}_{shift}"].rows}
                worst = max(severity for severity, _ in found)
                for severity, said in ((0.0, "unchanged"), (worst, shift)):
                    if severity or shift == "noisy":
                        change = found[severity, MONTE_CARLO] - found[severity, DETERMINISTIC]
                        yield f"{name}_change_{said}", summarise(Samples.of(change), positive=False), None, ""

    def multiply_adds(self, pixels: int) -> float:
        """Of one net."""
        return convolutions(self.depth, self.width, pixels)

    def seconds_beside_training(self, examples: int, pixels: int) -> float:
        """Of the passes over test images, shifted and not."""
        passes = len(list(self._shifts())) * examples * TEST_SHARE * self.passes
        return self.seeds * passes * self.multiply_adds(pixels) / FORWARD

    def estimate_memory(self, lab: Lab) -> int | None:
        """Bytes: the batches of all passes, and what the passes say of as many images as go through a net at once."""
        if self.sizes is None:
            return None
        from resexp.training.monte_carlo import CHUNK

        examples, pixels = self.sizes
        batches = 4 * pixels * min(self.statistics or self.batch, examples)
        return self.passes * (batches + 3 * 8 * CLASSES * CHUNK)
