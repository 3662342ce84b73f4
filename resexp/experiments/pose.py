"""A stacked hourglass that finds the joints of stick figures, after each of its stacks (figure 11.12).

An hourglass goes down to a single pixel, so that each of its heat maps has seen the whole picture, and up again, with
residual branches across. The next one starts from its maps and what led to them, and can mend them: a left hand in the
right place of a wrong figure, say. Here the figures (training/data/figures.py) have hands and feet that look alike, and
stand among lines that are nobody's.

Intermediate supervision: the loss is summed over the stacks, each held to the same maps. A joint is found where its map
is highest (training/joints.py). Maps are trained as distributions over their pixels, by cross-entropy with a Gaussian
around the joint: --loss squared-error is that of Newell et al., who trained for days with RMSprop. After training, on
test pictures, for each stack and joint and for `all`,

    correct_keypoints   share of joints found within --within pixels (PCK, probability of correct keypoint)
    correct_by_guess    the same of the best constant guess: of the place where most joints of the training part are

A reference, judged by whether it holds in most seeds: the maps of every stack find more joints than the best constant
guess (stacks_beat_guess). last_stack_gain is what the last stack finds more than the first; Newell et al. report that
it finds more.

Measured with the defaults, twice 8 seeds: every stack finds more than the guess in all 16. The guess finds 7 % of the
joints, the first stack 57 %, the last 57 and 60 %: 88 to 92 % of the heads, about 70 % of the hips and 30 % of the
hands. Does not show here: that the last stack finds at least as many as the first in every seed; it does in 12 of 16,
and the gain, 0.3 and 2 %, is within what seeds differ by. With squared error and these few steps of gradient descent
maps stay flat (rates of 0.003 to 0.02): 5 % are found, no more than by the guess.

--plot shows test pictures: the picture, the truth, the highest of all joints' maps after the last stack, and figures
with the joints that the first and the last stack of seed 0 found.

Source: Newell et al. 2016; Prince 2023, section 11.5.3.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.experiment import Pictures, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Row, Value
from resexp.training.declared import TrainingExperiment, claim, diverged, shown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.training.data.dataset import Data
    from resexp.training.history import History
    from resexp.training.joints import HeatMaps

SHRINKING = 4
"""Side of a picture over that of a heat map."""
SMALLEST = 64
"""Pixels that an hourglass makes one."""
SPEED = 1.5e9
"""Multiply-adds of forward passes that one core does a second while it trains these nets; their layers are small."""
CLAIMS = {
    "stacks_beat_guess": "every stack finds more joints than the best constant guess",
}


@dataclass(frozen=True)
class Found:
    """Curves; correct (seeds, stacks, joints) and by_guess (joints,), shares; pictures (height, width) by quantity."""

    history: "History"
    correct: "Tensor"
    by_guess: "Tensor"
    pictures: "tuple[Mapping[str, Tensor], ...]"


class Pose(TrainingExperiment):
    """Share of a stick figure's joints that a stacked hourglass finds, after each stack and by joint."""

    data: Literal["figures"] = param("figures", "data set: synthetic figures, drawn anew for each --seed")
    images: int = param(512, "pictures to train on", ge=2, le=100_000)
    test_images: int = param(256, "pictures to test on", ge=1, le=100_000)
    side: int = param(SMALLEST, f"side of the pictures in pixels, a multiple of {SMALLEST}", ge=SMALLEST, le=1024)
    stacks: int = param(2, "hourglasses, one after the other", ge=1, le=16)
    width: int = param(16, "channels of an hourglass, a multiple of 4", ge=4, le=1024)
    loss: Literal["cross-entropy", "squared-error"] = param("cross-entropy", "what is made small")
    within: float = param(4.0, "distance at which a joint is found, in pixels", gt=0)
    pictures: int = param(3, "test pictures to show", ge=1, le=100)
    rate: float = param(0.2, "highest learning rate", gt=0)
    seeds: int = param(8, "nets, each with its own initialisation and order of the data", ge=2, le=10_000)
    epochs: int = param(6, "passes over the training pictures", ge=1, le=100_000)
    batch: int = param(16, "pictures a step", ge=2, le=1_000_000)

    makes_its_data: ClassVar[bool] = True
    axes = ("stack", "joint", "epoch", "figure", "y", "x")
    quantities = (
        shown("train_loss", "loss of a joint summed over stacks, mean over an epoch; nats for cross-entropy"),
        shown("test_error", "share of test joints that the last stack does not find"),
        shown("correct_keypoints", "share of test joints found within --within pixels"),
        shown("correct_by_guess", "share of test joints within --within pixels of the best constant guess"),
        *(claim(name, meaning) for name, meaning in CLAIMS.items()),
    )
    plot = Pictures(
        x="x", y="y", series="figure", quantities=("picture", "truth", "heat_maps", "first_stack", "last_stack")
    )
    quick: ClassVar = {"images": 192, "test_images": 64, "width": 8, "epochs": 4, "batch": 8, "pictures": 1}
    smallest: ClassVar = {
        "seeds": 2,
        "images": 8,
        "test_images": 4,
        "width": 4,
        "stacks": 1,
        "epochs": 2,
        "batch": 4,
        "pictures": 1,
    }
    examples = (
        "pose",
        "pose --plot results/pose.png",
        "pose --stacks 3 --within 6 --seeds 2",
    )

    @model_validator(mode="after")
    def _pictures_fit(self) -> Self:
        if self.side % SMALLEST:
            raise ValueError(f"--side {self.side}: pictures for an hourglass are multiples of {SMALLEST} pixels.")
        if self.width % 4:
            raise ValueError(f"--width {self.width}: must be a multiple of 4, for the net starts with a quarter of it.")
        return self

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Training pictures, and pixels of each."""
        return min(self.images, self.limit or self.images), self.side**2

    def load_data(self, lab: Lab) -> "Data":
        """Pictures and joints that are drawn by the lab's seed, ready to train on."""
        from resexp.training.data.figures import figures

        drawn = figures(lab, train=self.images, test=self.test_images, side=self.side)
        return drawn.limited(self.limit).to(lab.torch_device, lab.torch_dtype)

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """That the orders hold in most seeds."""
        return Prediction("reference", value=1.0) if quantity in CLAIMS else None

    def told(self, found: Found) -> Iterator[str]:
        """Which nets diverged, and whether the last stack finds more than the first in each seed."""
        yield from diverged("Nets", found.history.diverged, "they count as nets that find nothing")
        gain = self._gain(found)
        held = int((gain >= 0).sum())
        if self.stacks > 1 and held < self.seeds:
            yield (
                "Does not show here: that the last stack finds at least as many joints as the first in every seed; it "
                f"does in {held} of {self.seeds}."
            )

    def train(self, lab: Lab) -> Found:
        """Train the nets; goes on where a run that was killed stood."""
        from resexp.nets.zoo import factory
        from resexp.training.data.figures import JOINTS
        from resexp.training.fit import fit
        from resexp.training.initial import initialised
        from resexp.training.joints import HeatMaps, best_guess, correct

        data, maps = self.load_data(lab), HeatMaps(SHRINKING, self.within, self.loss)
        net = f"hourglass:{self.stacks},width={self.width},channels={data.shape[0]},joints={len(JOINTS)}"
        nets = initialised(factory(net), lab, self.seeds)
        plan, kept = self.plan(rate=self.rate, warm_up=1.0, schedule="cosine"), self.checkpoint(lab).part("hourglass")
        history = fit(nets, data, plan, lab, objective=maps.objective, checkpoint=kept)
        guess = best_guess(data.train.targets, self.side, self.within)
        by_guess = correct(guess, data.test.targets, self.within).double().mean(0).cpu()
        shares, pictures = self._looked_at(nets, data, maps)
        shares[[step is not None for step in history.diverged]] = 0.0
        return Found(history, shares, by_guess, pictures)

    def _looked_at(
        self, nets: "list[nn.Module]", data: "Data", maps: "HeatMaps"
    ) -> "tuple[Tensor, tuple[Mapping[str, Tensor], ...]]":
        import torch

        from resexp.training.data.figures import figure
        from resexp.training.joints import correct, located

        shares, pictures = [], []
        for number, net in enumerate(nets):
            net.eval()
            with torch.no_grad():
                parts = [torch.stack(net(x), 1) for x in torch.split(data.test.inputs, 64)]
            outputs = torch.cat(parts)  # (images, stacks, joints, side, side)
            places = located(outputs, SHRINKING)  # (images, stacks, joints, 2)
            shares.append(correct(places, data.test.targets[:, None], self.within).double().mean(0))
            for image in range(min(self.pictures, len(data.test)) if number == 0 else 0):
                first, last = (places[image, stack].float().cpu() for stack in (0, -1))
                pictures.append(
                    {
                        "picture": data.test.inputs[image, 0].cpu(),
                        "truth": figure(data.test.targets[image].float().cpu(), self.side),
                        "heat_maps": maps.brightness(outputs[image, -1]).amax(0).cpu(),
                        "first_stack": figure(first, self.side),
                        "last_stack": figure(last, self.side),
                    }
                )
        return torch.stack(shares).cpu(), tuple(pictures)

    def _gain(self, found: Found) -> "Tensor":
        """What the last stack finds more than the first, (seeds,)."""
        share = found.correct.mean(2)
        return share[:, -1] - share[:, 0]

    def rows(self, found: Found) -> Iterator[Row]:
        """Rows of the curves, of the shares found at the end by stack and joint, and of the orders."""
        from resexp.core.statistics import Samples
        from resexp.training.data.figures import JOINTS

        for quantity, curve in (("train_loss", found.history.train_loss), ("test_error", found.history.test_error)):
            for epoch, values in enumerate(curve, 1):
                yield Row({"stack": self.stacks, "epoch": epoch}, quantity, Samples.of(values.numpy()))
        over_joints, by_guess = found.correct.mean(2), float(found.by_guess.mean())
        for stack in range(self.stacks):
            for joint, name in enumerate(JOINTS):
                shares = found.correct[:, stack, joint]
                yield Row({"stack": stack + 1, "joint": name}, "correct_keypoints", Samples.of(shares.numpy()))
            yield Row(
                {"stack": stack + 1, "joint": "all"}, "correct_keypoints", Samples.of(over_joints[:, stack].numpy())
            )
        for name, share in zip((*JOINTS, "all"), (*found.by_guess.tolist(), by_guess), strict=True):
            yield Row(
                {"joint": name},
                "correct_by_guess",
                Samples.of(over_joints[:, 0].new_full((self.seeds,), share).numpy()),
            )
        orders = {
            "stacks_beat_guess": (over_joints > by_guess).all(1),
        }
        for quantity, holds in orders.items():
            yield Row({"stack": self.stacks, "joint": "all"}, quantity, Samples.of(holds.double().numpy()))

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """Shares found after the first and the last stack and by the guess, and what the last finds more."""
        from resexp.core.measured import level_samples
        from resexp.core.statistics import Samples, summarise

        shares = {
            row.axes["stack"]: level_samples(row)
            for row in measured["correct_keypoints"].rows
            if row.axes["joint"] == "all"
        }
        for name, stack in {"first_stack": 1, "last_stack": self.stacks}.items():
            yield f"correct_keypoints_{name}", summarise(Samples.of(shares[stack]), positive=False), None, ""
        gain = Samples.of(shares[self.stacks] - shares[1])
        yield "last_stack_gain", summarise(gain, positive=False), None, ""

    def lines(self, found: Found) -> Iterator[dict[str, Value]]:
        """The pictures that are shown, pixel by pixel."""
        from resexp.training.pictures import pixels

        for number, pictures in enumerate(found.pictures, 1):
            for quantity, picture in pictures.items():
                yield from pixels(quantity, picture, {"figure": number})

    def _multiply_adds(self) -> float:
        """Of a forward pass of one picture, about: layers before the hourglasses, and those."""
        of_64, width = (self.side / SMALLEST) ** 2, self.width
        return of_64 * (12_500 * width + 1_500 * width**2 + self.stacks * (3_100 * width**2 + 5_600 * width))

    def estimate_seconds(self, lab: Lab) -> float | None:
        """From the multiply-adds of all nets, at the speed of one core; None on another device."""
        if self.sizes is None or lab.device != "cpu":
            return None
        return 1e-3 * self.images + self.seeds * self.epochs * self.sizes[0] * self._multiply_adds() / SPEED

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: the pictures, and what up to 16 nets side by side hold of a batch."""
        of_64 = (self.side / SMALLEST) ** 2
        held = of_64 * self.width * (3_600 + 7_500 * self.stacks)
        pictures = (self.images + self.test_images) * self.side**2
        tested = min(self.test_images, 1024) * 3 * of_64 * 1024 * self.width
        count = pictures + min(self.seeds, 16) * (self.batch * held + tested)
        return int(count) * (8 if lab.dtype == "float64" else 4)
