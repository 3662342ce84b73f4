"""What passes through a network of your own, block by block, forward and backward, before it is trained.

    h[k+1] = S(h[k]) + f(h[k]),   E[q[k+1] | S, z] = mean S^2 + fan-in mean W^2 mean z^2 + mean b^2   for f = W z + b

q is the mean square of h over units and batch. Residual additions are found while the net runs (probing/graph.py tells
the rule), in any nn.Module: a sum of two signals of which one has passed a layer since they parted. At each sum:
second moment, variance over the batch, second moment and norm of the loss's gradient, over several initialisations and
inputs. Growth is fitted by constant, linear, power and exponential laws for each stage, forward and backward, and is
`undecided` where they cannot be told apart (probing/growth.py).

What is judged is `second_moment_over_expected`: the second moment after an addition over its expectation given what
went in. That is exact at any width, with any architecture before it, wherever the branch ends in a layer whose weights
are independent of each other with mean 0; it fails where weights are copies of each other, or not centred. The growth
of the nearest known scheme (probing/schemes.py) is a limit and stands beside the measured one, not judged.

Operations may use several threads (--threads), and then their last digits may depend on how many.

Source: He et al. 2015, 2016; Balduzzi et al. 2017; Yang et al. 2019; De and Smith 2020; Xiong et al. 2020.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.errors import UsageError
from resexp.core.experiment import Digest, Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Result, Row

if TYPE_CHECKING:
    from torch import nn

    from resexp.probing.inputs import Examples
    from resexp.probing.reinitialise import Draws
    from resexp.probing.survey import Survey

LOSSES = ("labels", "direction", "sum")
EXAMPLE = "resexp.probing.examples:residual_mlp"


class Probe(Ensemble):
    """What passes through a network of your own, block by block: growth, gradients, dead units, and what to do.

    Second moment, variance over the batch and gradient at every residual addition of any nn.Module.
    """

    model: str = param(
        EXAMPLE, "file.py:factory, package.module:factory, or a net of the zoo, such as resnet:50", positional=True
    )
    input: str = param(
        "", "one example: 3x224x224 of noise, tokens:128, a .npy or .pt file, a folder of images as photos@3x224x224"
    )
    batch: int = param(16, "examples a pass", ge=1, le=1_000_000)
    draws: int = param(8, "initialisations, each with its own input", ge=2, le=100_000)
    mode: Literal["train", "eval"] = param("train", "mode of the net: eval takes norms' running statistics")
    loss: str = param("labels", "whose gradient is taken: labels (random ones), direction, sum, or file.py:function")
    init: Literal["factory", "permuted"] = param("factory", "new weights by the factory, or by permuting their entries")
    weights: str | None = param(None, "file with weights to look into: .pt or .safetensors; draws then vary the input")
    line: bool = param(True, "whether to look for shattered gradients along a line of inputs")

    version: ClassVar[int] = 2  # gradients fitted from the input on; none at a projected shortcut
    axes = ("stage", "block", "name", "shortcut")
    quantities = (
        Quantity("activation_second_moment", "second moment over units and batch", judged="nothing"),
        Quantity("activation_batch_variance", "variance over the batch, mean over units", judged="nothing"),
        Quantity("gradient_second_moment", "second moment of the loss's gradient", judged="nothing"),
        Quantity("gradient_norm", "norm of the loss's gradient", judged="nothing"),
        Quantity(
            "dead_units", "rectified units of the block that are 0 for all inputs", positive=False, judged="nothing"
        ),
        Quantity(
            "second_moment_over_expected",
            "second moment over its expectation given what went in",
            judged="level",
            headline="second_moment_over_expected",
        ),
    )
    plot = Plot(x="block", log_y=True)
    runs_code: ClassVar[frozenset[str]] = frozenset({"model", "loss"})
    quick: ClassVar = {"model": EXAMPLE, "batch": 16, "draws": 32}
    examples = (
        "probe resnet:18 --input 3x64x64 --batch 8",
        f"probe {EXAMPLE} --draws 32",
        "probe resexp.probing.examples:prenorm_transformer --mode eval",
    )

    @model_validator(mode="after")
    def _input_is_one(self) -> Self:
        from resexp.probing.inputs import parse

        if self.input:
            try:
                parse(self.input)
            except ValueError as error:
                raise ValueError(f"--input {self.input}: {error}.") from None
        return self

    def measure(self, lab: Lab) -> Iterator[Row]:
        """Look into the net and lay out what was found."""
        from resexp.probing.rows import rows

        yield from rows(self.survey(lab))

    def theory(self, quantity: str, **_: Any) -> Prediction | None:
        """One, for what is divided by its expectation; nothing is known of a net of anyone's otherwise."""
        return Prediction("exact", value=1.0) if quantity == "second_moment_over_expected" else None

    def compute(self, lab: Lab) -> Result:
        """Look into the net, judge what can be judged, and say what was found."""
        return report(self, self.survey(lab))

    def digest(self, result: Result) -> Digest:
        """A line for each stage, and the advice."""
        from resexp.probing.digest import stage_lines, told

        return Digest(stage_lines(result), list(told(result)))

    def survey(self, lab: Lab) -> "Survey":
        """Look into the net that `model` names."""
        from resexp.probing.survey import survey

        return survey(
            lab,
            self._draws(),
            self._examples(),
            count=self.draws,
            training=self.mode == "train",
            loss=self._loss(),
            line=self.line,
        )

    def estimate_memory(self, lab: Lab) -> int | None:
        """Bytes at the peak of a pass, from the shapes alone; raises UsageError where the budget is exceeded."""
        needed = _needed(self, 8 if lab.dtype == "float64" else 4)
        if needed is not None and needed > lab.memory:
            raise UsageError(
                f"--memory {lab.memory / 1e6:,.3g}MB: {self.model} needs about {needed / 1e6:,.0f} MB at --batch "
                f"{self.batch}; use a smaller --batch or --input, or more --memory."
            )
        return needed

    def content(self) -> Mapping[str, str]:
        """Versions of the code and the files that the parameters name: other numbers may come of the same names."""
        from resexp.nets.load import content
        from resexp.probing.inputs import digest

        named = {"model": content(self.model), "loss": "" if self.loss in LOSSES else content(self.loss)}
        files = {"input": digest(self.input), "weights": digest(self.weights or "")}
        return {name: said for name, said in {**named, **files}.items() if said}

    def _make(self) -> "Callable[[], nn.Module]":
        """A function that builds the net, with the weights that were asked for."""
        from pathlib import Path

        from resexp.nets.load import factory, load_state

        build, weights = factory(self.model), self.weights
        if weights is None:
            return build

        def make() -> "nn.Module":
            net = build()
            load_state(net, Path(weights))
            return net

        return make

    def _draws(self) -> "Draws":
        from resexp.probing.reinitialise import Draws

        return Draws(self._make(), fixed=self.weights is not None, asked=self.init == "permuted")

    def _examples(self) -> "Examples":
        from resexp.nets.load import default_input
        from resexp.probing.inputs import Examples, parse

        text = self.input or default_input(self.model)
        if not text:
            raise UsageError(
                f"--input: say what one example for {self.model} looks like, such as 3x224x224 or tokens:128."
            )
        return Examples(parse(text), self.batch)

    def _loss(self) -> Any:
        from resexp.nets.load import callable_of

        return self.loss if self.loss in LOSSES else callable_of(self.loss)


@lru_cache(maxsize=64)
def _needed(experiment: Probe, number: int) -> int | None:
    """Bytes at the peak of a pass; number: bytes of one number."""
    from resexp.probing.needs import estimate

    make, examples = experiment._make(), experiment._examples()
    return estimate(make, examples, training=experiment.mode == "train", number=number)


def report(experiment: Probe, survey: "Survey") -> Result:
    """The rows of a survey, assessed, with what was found in it."""
    from resexp.core.assessment import assess
    from resexp.probing.rows import complete, rows

    return complete(assess(experiment, rows(survey)), survey)
