"""What a strong L2 penalty on the blocks leaves of a net: a constant in a plain net, the identity in a residual one.

    plain      h[k+1] = W relu(h[k]) + b            W, b -> 0:   h[K] -> a constant
    residual   h[k+1] = h[k] + W relu(h[k]) + b                  h[K] -> h[0]

Fully connected nets without normalisation, one linear layer before K blocks and one after, are trained with each decay;
weights and biases of the blocks decay, those of the first and last layer do not. After it, over the test examples, with
variances over examples and summed over units,

    signal                   variance of h[K] over that of h[0]: 0 for a constant, 1 for the identity
    distance_from_identity   mean |h[K] - h[0]|^2 over mean |h[0]|^2: 0 for the identity, 1 where h[K] is 0
    test_error               share of wrong test examples

With decay lambda alone, without a loss, weights would fall to zero exponentially, so both limits are certain; what is
measured is how strong a penalty the loss withstands. Claims at the largest decay, judged by whether they hold in most
seeds (a reference: the book's notes name the two limits): plain_is_constant, signal below `near`; residual_is_identity,
distance below `near`; and residual_still_learns, its error below half of the plain net's.

Measured with the defaults, 8 seeds: at decay 1 the plain nets' signal is 0 to float32 in every seed and they guess (90
% wrong), while the residual blocks are 0.15 % from the identity and their nets 3.6 % wrong, less than without decay
(5.1 %). At 0.1 plain nets begin to fail (17 % wrong, signal 0.16), residual ones are 8 % from the identity and 3.5 %
wrong. With batch normalisation after each layer there is no such limit, since the size of weights does not change the
function (weight-decay).

Source: Prince 2023, notes of chapter 11 on regularisation.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Row
from resexp.training.declared import TrainingExperiment, claim, diverged, shown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resexp.training.data.dataset import Examples
    from resexp.training.history import History

    Found = dict[tuple[str, float], tuple[History, Mapping[str, Tensor]]]
    """Curves, and numbers (seeds,) by quantity, of the nets of a kind trained with a decay."""

KINDS = ("plain", "residual")
CLAIMS = {
    "plain_is_constant": "with the largest decay the plain net's signal is below `near`",
    "residual_is_identity": "with the largest decay the residual blocks are nearer than `near` to the identity",
    "residual_still_learns": "with the largest decay the residual net's error is below half of the plain one's",
}


class DecayLimit(TrainingExperiment):
    """What strong weight decay leaves of the blocks of plain and residual nets: a constant, or the identity."""

    blocks: int = param(6, "blocks K", ge=1, le=10_000)
    width: int = param(32, "units of every hidden layer", ge=1, le=100_000)
    weight_decay: tuple[float, ...] = param(
        (0.0, 0.01, 0.1, 1.0), "decays of the blocks' weights and biases, each trained with", min_length=1
    )
    rate: float = param(0.02, "highest learning rate", gt=0)
    near: float = param(0.02, "signal, and distance from the identity, that count as none", gt=0, lt=1)
    seeds: int = param(8, "nets of each kind, each with its own initialisation and order of the data", ge=2, le=10_000)
    epochs: int = param(20, "passes over the training examples", ge=1, le=100_000)
    batch: int = param(64, "examples a step", ge=2, le=1_000_000)

    axes = ("net", "weight_decay")
    quantities = (
        shown("signal", "variance over examples after the blocks over that before them"),
        shown("distance_from_identity", "mean square of what the blocks change over that of what they are given"),
        shown("test_error", "share of wrong test examples"),
        *(claim(name, meaning) for name, meaning in CLAIMS.items()),
    )
    plot = Plot(x="weight_decay", series="net")
    quick: ClassVar = {"limit": 512, "batch": 32, "weight_decay": (0.0, 1.0), "width": 16}
    smallest: ClassVar = {"blocks": 2, "width": 4, "seeds": 2, "limit": 64, "epochs": 2, "weight_decay": (0.0, 1.0)}
    examples = (
        "decay-limit",
        "decay-limit --weight-decay 0,0.001,0.01,0.1,1 --format table",
        "decay-limit --blocks 20 --seeds 3",
    )

    @model_validator(mode="after")
    def _decays_are_decays(self) -> Self:
        for decay in self.weight_decay:
            if not 0 <= decay * self.rate < 1:
                raise ValueError(
                    f"--weight-decay {decay}: must be at least 0, and times --rate {self.rate} less than 1."
                )
        if len(set(self.weight_decay)) < len(self.weight_decay):
            raise ValueError(f"--weight-decay {','.join(map(str, self.weight_decay))}: one of them stands twice.")
        return self

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """That the limits are reached in most seeds, at the largest decay."""
        return Prediction("reference", value=1.0) if quantity in CLAIMS else None

    def told(self, found: "Found") -> Iterator[str]:
        """Which nets diverged."""
        for (kind, decay), (history, _) in found.items():
            yield from diverged(f"{kind} nets with decay {decay:g}", history.diverged)

    def train(self, lab: Lab) -> "Found":
        """Train both kinds with each decay; goes on where a run that was killed stood."""
        from resexp.training.fit import fit

        data = self.load_data(lab).as_vectors()
        found: Found = {}
        settings = [(kind, decay) for kind in KINDS for decay in self.weight_decay]
        for number, (kind, decay) in enumerate(settings):
            name = f"mlp:{self.blocks + 1}x{self.width},scheme={kind}"
            nets = self.make_vector_nets(lab, name, data.shape[0], data.classes)
            plan = self.plan(rate=self.rate, weight_decay=decay, decays=of_the_blocks)
            here = lab.share(number, number + 1, of=len(settings))
            history = fit(nets, data, plan, here, checkpoint=self.checkpoint(lab).part(f"{kind}-{number}"))
            found[kind, decay] = history, through_blocks(nets, data.test)
        return found

    def make_vector_nets(self, lab: Lab, name: str, inputs: int, classes: int) -> "list[nn.Module]":
        """A fully connected net for each seed, for vectors of so many numbers."""
        from resexp.nets.zoo import factory
        from resexp.training.initial import initialised

        return initialised(factory(f"{name},inputs={inputs},outputs={classes}"), lab, self.seeds)

    def rows(self, found: "Found") -> Iterator[Row]:
        """Rows of all decays, and of the claims at the largest."""
        import torch

        from resexp.core.statistics import Samples

        for quantity in ("signal", "distance_from_identity", "test_error"):
            for (kind, decay), (history, numbers) in found.items():
                values = history.test_error[-1] if quantity == "test_error" else numbers[quantity]
                yield Row({"net": kind, "weight_decay": decay}, quantity, Samples.of(values.double().numpy()))
        strongest = max(self.weight_decay)
        (plain_curves, plain), (residual_curves, residual) = (found[kind, strongest] for kind in KINDS)
        errors = residual_curves.test_error[-1], plain_curves.test_error[-1]
        holds = {
            "plain_is_constant": plain["signal"] < self.near,
            "residual_is_identity": residual["distance_from_identity"] < self.near,
            "residual_still_learns": errors[0] < 0.5 * errors[1],
        }
        whole = {
            kind: torch.tensor([step is None for step in curves.diverged])
            for kind, curves in zip(KINDS, (plain_curves, residual_curves), strict=True)
        }
        for name, held in holds.items():
            place = {"net": name.partition("_")[0], "weight_decay": strongest}
            yield Row(place, name, Samples.of((held & whole[name.partition("_")[0]]).double().numpy()))

    def multiply_adds(self, pixels: int) -> float:
        """Of both kinds, with each decay."""
        return 5.0 * len(KINDS) * len(self.weight_decay) * self.width * (pixels + self.blocks * self.width)


def of_the_blocks(name: str, dimensions: int) -> bool:
    """Whether a parameter of that name decays."""
    return ".blocks." in f".{name}"


def through_blocks(nets: "Sequence[nn.Module]", examples: "Examples") -> "dict[str, Tensor]":
    """Signal and distance from the identity of the blocks of each net, (nets,)."""
    import torch

    from resexp.nets.residual import ResidualNet

    signals, distances = [], []
    with torch.no_grad():
        for net in nets:
            assert isinstance(net, ResidualNet)
            before = net.stem(examples.inputs).double()
            after = before.to(examples.inputs.dtype)
            for block in net.blocks:
                after = block(after)
            after = after.double()
            signals.append(after.var(0).sum() / before.var(0).sum())
            distances.append((after - before).square().mean() / before.square().mean())
    return {"signal": torch.stack(signals), "distance_from_identity": torch.stack(distances)}
