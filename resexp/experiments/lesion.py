"""Layers left out of trained networks, or out of order: a residual net hardly minds, a plain net and VGG fail.

A residual net of K blocks is a sum over 2^K paths; without one block half of them are left, and they still work. In a
plain net, and in VGG, the one path is cut.

Three kinds of nets are trained alike: residual and plain ones of equal depth (blocks of two convolutions; shortcut A,
so that they have as many parameters), and VGG (configuration D, as many stages as the image can be halved, a layer is
a convolution with its norm and ReLU). Batch normalisation follows every convolution. Stochastic gradient descent,
momentum 0.9, weight decay 1e-4, mini-batches of 128, a rate of 0.05, divided by ten after 60 % and 85 % of the epochs.
The plain net has 32 layers and that rate because deeper ones do not train here: a lesion says nothing of a net that
never worked. Then, without further training, on the test part:

    error_without_layer      without block or layer k, its shortcut kept: what comes in goes through unchanged, or
                             strided and with zeros in new channels where the shape changes
    ..._batch_statistics     the same with batch normalisation by the statistics of the examples at hand, so that the
                             running statistics of the intact net are not why it fails
    error_by_number_deleted  without d random layers, means over --choices of them; 0 is the intact net
    error_by_number_moved    m random layers, none of them in its place, each in that of another of the same shape
    kendall_tau              rank correlation of that order of layers with the net's: 1 in order, -1 reversed
    path_energy_share        of residual nets: how much of the gradient's energy the paths of each length carry, by the
    ..._at_start             trained net and at initialisation (see path-gradients; random labels, evaluation mode)

Errors are shares of the test examples; a draw is a seed. The first block of a residual net is the exception: it makes
the features that all others add to.

Theory is a reference, the order that others saw on CIFAR-10, with thresholds chosen on the embedded digits: the median
error over single deletions is below --survives in residual nets, and above --fails in plain nets and VGG. What is
judged is that it is so in most seeds; with fewer than 8 chance is not ruled out, and the verdict is `underpowered`.

Source: Veit, Wilber and Belongie 2016, section 4; Prince 2023, section 11.2.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.ensemble import evenly_spaced
from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Row
from resexp.training.declared import TrainingExperiment, check_depth, claim, convolutions, shown

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array
    from resexp.training.data.dataset import Data, Examples
    from resexp.training.history import History
    from resexp.training.lesions import Chain

    Found = dict[tuple[str, int], list[float]]
    """Numbers of all seeds by (quantity, number)."""

Kind = Literal["residual", "plain", "vgg"]
FAMILIES: dict[Kind, str] = {"residual": "cifar-resnet", "plain": "plain"}
SINGLE = {"error_without_layer": False, "error_without_layer_batch_statistics": True}
"""Quantities of single deletions, and whether norms go by the examples at hand."""
LONGEST_ROW = 7
"""Most numbers of layers that are deleted, or moved, at once."""
FOR_PATHS = 16
"""Examples whose gradient is followed through paths."""
WORKS = 0.2
"""Training error above which a net is said not to have trained."""


CLAIMS = {
    f"{kind}_{verb}{statistics}": (kind, quantity)
    for kind, verb in {"residual": "survives", "plain": "fails", "vgg": "fails"}.items()
    for statistics, quantity in zip(("", "_batch_statistics"), SINGLE, strict=True)
}
"""Claims on the median over single deletions, each with its net and the errors it is about."""


class Lesion(TrainingExperiment):
    """Test error of trained residual, plain and VGG nets without some of their layers, or with layers out of order."""

    depth: int = param(32, "layers of the residual and the plain net, 6 n + 2", ge=14, le=1000)
    width: int = param(8, "channels of the first stage; later ones have 2 and 4 times as many", ge=1, le=1024)
    epochs: int = param(24, "passes over the training examples", ge=1, le=100_000)
    rate: float = param(0.05, "highest learning rate", gt=0)
    choices: int = param(5, "random sets of layers for each number deleted or moved, in each net", ge=1, le=10_000)
    survives: float = param(0.1, "median error over single deletions below which a net survives them", gt=0, le=1)
    fails: float = param(0.5, "median error over single deletions above which a net fails", gt=0, le=1)

    axes = ("net", "number")
    quantities = (
        shown("error_without_layer", "test error without block or layer `number`"),
        shown("error_without_layer_batch_statistics", "the same, norms by the statistics of the test examples"),
        shown("error_by_number_deleted", "test error without `number` random layers"),
        shown("error_by_number_moved", "test error with `number` random layers out of their places"),
        shown("kendall_tau", "rank correlation of that order of layers with the net's"),
        shown("path_energy_share", "share of the gradient's energy through paths of length `number`"),
        shown("path_energy_share_at_start", "the same before training"),
        *(claim(name, f"median of {quantity} of {kind} nets") for name, (kind, quantity) in CLAIMS.items()),
    )
    plot = Plot(x="number", series="net")
    quick: ClassVar = {"depth": 20, "seeds": 8, "limit": 256, "batch": 32, "epochs": 6, "choices": 1} | {
        "survives": 0.35,
        "fails": 0.7,
    }
    smallest: ClassVar = {"depth": 14, "width": 2, "seeds": 2, "limit": 64, "batch": 32, "epochs": 1, "choices": 1}
    examples = (
        "lesion",
        "lesion --seeds 8",
        "lesion --depth 20 --choices 20",
        "lesion --data cifar10:cifar-10-batches-bin --width 16 --epochs 40",
    )

    @model_validator(mode="after")
    def _depth_is_of_the_family(self) -> Self:
        check_depth("--depth", self.depth)
        if self.survives > self.fails:
            raise ValueError(f"--survives {self.survives}: must be at most --fails {self.fails}.")
        return self

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """That the claim holds in most seeds."""
        return Prediction("reference", value=1.0) if quantity in CLAIMS else None

    def told(self, found: "Mapping[Kind, tuple[History, Found]]") -> Iterator[str]:
        """Which nets never worked, and what was left out."""
        for kind, (history, _) in found.items():
            errors = history.train_error[-1].nan_to_num(1.0)
            bad = [f"seed {n} ({float(errors[n]):.0%})" for n in (errors > WORKS).nonzero().flatten().tolist()]
            if bad:
                yield (
                    f"{kind}: ended with a training error above {WORKS:.0%} in {', '.join(bad)}; compare what fails "
                    "without a layer with the error of the intact net, and train for more --epochs."
                )
        if "vgg" not in found:
            yield "No VGG: these images are too small to be halved."

    def _kinds(self, data: "Data") -> "Iterator[Kind]":
        yield from FAMILIES
        if min(data.shape[1:]) > 1:
            yield "vgg"

    def _make(self, lab: Lab, kind: Kind, data: "Data") -> "list[nn.Module]":
        """A net of the kind for each seed."""
        if kind != "vgg":
            return self.make_nets(lab, f"{FAMILIES[kind]}:{self.depth},width={self.width}", data)
        from resexp.nets.small_vgg import small_vgg
        from resexp.training.initial import initialised

        sizes = {"side": min(data.shape[1:]), "channels": data.shape[0], "classes": data.classes}
        return initialised(partial(small_vgg, width=self.width, **sizes), lab, self.seeds)

    def train(self, lab: Lab) -> "dict[Kind, tuple[History, Found]]":
        """Curves of each kind of net and what its lesions do; a run that was killed goes on where it stood."""
        from resexp.training.fit import fit
        from resexp.training.lesions import chain_of

        data = self.load_data(lab).as_images()
        kinds = list(self._kinds(data))
        plan, checkpoint, found = self.plan(rate=self.rate), self.checkpoint(lab), {}
        for number, kind in enumerate(kinds):
            nets = self._make(lab, kind, data)
            numbers: Found = {}
            if kind == "residual":
                self._path_lengths(numbers, "path_energy_share_at_start", lab, nets, data)
            history = fit(
                nets, data, plan, lab.share(number, number + 1, of=len(kinds)), checkpoint=checkpoint.part(kind)
            )
            for seed, net in enumerate(nets):
                self._lesions(numbers, chain_of(net), data.test, partial(_random, lab, kind, seed))
            if kind == "residual":
                self._path_lengths(numbers, "path_energy_share", lab, nets, data)
            found[kind] = history, numbers
        return found

    def _lesions(
        self, found: "Found", chain: "Chain", test: "Examples", random: "partial[np.random.Generator]"
    ) -> None:
        """Add what the lesions of one net do."""
        from resexp.training import lesions

        layers = len(chain.layers)
        for quantity, batch_statistics in SINGLE.items():
            single = [lesions.deletion(layers, [layer]) for layer in range(layers)]
            for layer, error in enumerate(chain.errors(test, single, batch_statistics=batch_statistics)):
                found.setdefault((quantity, layer + 1), []).append(float(error))
        counts = evenly_spaced(layers, LONGEST_ROW)
        sets = [
            lesions.random_deletion(random("deleted", d, n), layers, d) for d in counts for n in range(self.choices)
        ]
        means = chain.errors(test, sets).reshape(len(counts), self.choices).mean(1)
        for count, error in zip(counts, means, strict=True):
            found.setdefault(("error_by_number_deleted", count), []).append(float(error))
        stages = chain.stages(test.inputs[:1])
        movable = lesions.movable(stages)
        counts = tuple(movable[n] for n in evenly_spaced(len(movable) - 1, LONGEST_ROW)) if movable else ()
        for count in counts:
            orders = [
                lesions.random_permutation(random("moved", count, n), layers, stages, count)
                for n in range(self.choices)
            ]
            tau = sum(map(lesions.kendall_tau, orders)) / self.choices
            found.setdefault(("error_by_number_moved", count), []).append(float(chain.errors(test, orders).mean()))
            found.setdefault(("kendall_tau", count), []).append(tau)

    def _path_lengths(self, found: "Found", quantity: str, lab: Lab, nets: "list[nn.Module]", data: "Data") -> None:
        """Add the shares of all lengths of path in the gradient's energy, of residual nets."""
        import torch

        from resexp.nets.residual import ResidualNet
        from resexp.probing.block_paths import cross, through_paths

        for seed, net in enumerate(nets):
            assert isinstance(net, ResidualNet)
            labels = torch.Generator().manual_seed(lab.key("labels", seed) % 2**63)
            crossings, last = cross(net.eval(), data.test.inputs[:FOR_PATHS], labels)
            _, energy, _ = through_paths(crossings, last, _random(lab, "residual", seed, "paths"), 0)
            for length, share in enumerate(energy / energy.sum()):
                found.setdefault((quantity, length), []).append(float(share))

    def rows(self, found: "Mapping[Kind, tuple[History, Found]]") -> Iterator[Row]:
        """Rows of each kind of net, and of the claims on it."""
        import numpy as np

        from resexp.core.statistics import Samples

        for kind, (_, numbers) in found.items():
            for (quantity, number), values in numbers.items():
                yield Row({"net": kind, "number": number}, quantity, Samples.of(np.array(values)))
            for name, (of, quantity) in CLAIMS.items():
                if of == kind:
                    median = _median(numbers, quantity)
                    holds = median < self.survives if kind == "residual" else median > self.fails
                    yield Row({"number": 1, "net": kind}, name, Samples.of(holds.astype(np.float64)))

    def multiply_adds(self, pixels: int) -> float:
        """Of the residual, the plain and the VGG net, whose 13 convolutions shrink as they widen."""
        return 2 * convolutions(self.depth, self.width, pixels) + convolutions(13, self.width, pixels)

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """Error of the intact nets, median over single deletions, and the lengths of paths."""
        import numpy as np

        from resexp.core.statistics import Samples, summarise

        found: dict[str, Found] = {}
        for quantity, one in measured.items():
            for row in one.rows:
                place = quantity, int(row.axes["number"])
                found.setdefault(str(row.axes["net"]), {})[place] = row.samples.mantissa.tolist()
        for kind, numbers in found.items():
            intact = np.array(numbers["error_by_number_deleted", 0])
            yield f"{kind}_error_intact", summarise(Samples.of(intact), positive=False), None, ""
            for quantity in SINGLE:
                name = f"{kind}_median_{quantity}"
                yield name, summarise(Samples.of(_median(numbers, quantity)), positive=False), None, ""
        for quantity in ("path_energy_share_at_start", "path_energy_share"):
            shares = np.array([values for (name, _), values in found["residual"].items() if name == quantity])
            mean = np.arange(len(shares)) @ shares / (len(shares) - 1)  # (seeds,)
            name = quantity.replace("path_energy_share", "mean_path_length_over_blocks")
            yield name, summarise(Samples.of(mean), positive=False), None, ""


def _median(found: "Found", quantity: str) -> "Array":
    """Median over all layers of the error without one, (seeds,)."""
    import numpy as np

    return np.asarray(np.median([values for (name, _), values in found.items() if name == quantity], axis=0))


def _random(lab: Lab, kind: str, seed: int, purpose: str, *position: int) -> "np.random.Generator":
    import numpy as np

    return np.random.Generator(lab.bit_stream(f"{kind} {purpose}", seed, *position))
