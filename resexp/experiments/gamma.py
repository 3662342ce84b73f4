"""How the scales of batch normalisation, and with them the effective depth, grow during training.

A chain of pre-activation blocks of one width,

    h[k+1] = h[k] + W2 relu(BN(W1 relu(BN(h[k])))),   gamma = 1 at first in both normalisations

At initialisation every branch adds the same variance to a skip connection that has gathered k + 1 of them, so later
blocks hardly change what they are given. By gamma, of the second normalisation in the branch, a block sets its own
share, and may use during training what it could not at the start:

    gamma_first_third, _last_third   mean |gamma| over channels, and over the first or last third of the blocks
    effective_depth                  sum over blocks of v_branch / (v_skip + v_branch), v a variance over images and
                                     pixels, mean over channels: the mean length of the paths that carry the variance,
                                     if blocks are independent
    train_error                      share of wrong examples in an epoch

Judged is that in most seeds the gammas of the last third end more than `least` above those of the first, and that the
effective depth grew, which is a reference. It shows with random labels only, which a net must learn by heart: 0.19
after the 30 epochs here, 0.28 after 60 on all digits; the effective depth grows by an eighth. With the true labels it
does not show here: gammas of the last third end at most 0.09 above those of the first, after 60 epochs on all digits,
mostly because the first ones shrink, the effective depth falls, and `--labels true` is called wrong. Nor does it show
in nets of three stages, whose first block in each stage has the largest gammas. L2 decay is on weights of layers alone,
since on gamma it would pull all of them down.

Source: Prince 2023, section 11.4.1; Veit et al. 2016 for lengths of paths; Zhang et al. 2017 for random labels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Row
from resexp.training.declared import TrainingExperiment, claim, convolutions, diverged, shown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.training.data.dataset import Data
    from resexp.training.fit import Moment
    from resexp.training.history import History

PROBE = 256
"""Training examples that the variances are over."""
ORDERS = ("later_gammas_larger", "effective_depth_grows")
THIRDS = ("gamma_first_third", "gamma_last_third")


class Gamma(TrainingExperiment):
    """Scales of batch normalisation in early and late residual blocks, and the effective depth, during training."""

    labels: Literal["random", "true"] = param("random", "random: drawn once for all, to be learned by heart")
    blocks: int = param(9, "residual blocks K", ge=3, le=10_000)
    width: int = param(16, "channels of every layer", ge=1, le=1024)
    rate: float = param(0.1, "highest learning rate", gt=0)
    weight_decay: float = param(1e-4, "factor of the weights of layers in their L2 decay", ge=0)
    least: float = param(0.1, "by how much later gammas must exceed earlier ones", ge=0)
    limit: int | None = param(512, "examples of each part, training and test, at most", ge=2)
    seeds: int = param(8, "nets, each with its own initialisation and order of the data", ge=2, le=10_000)
    epochs: int = param(30, "passes over the training examples", ge=1, le=100_000)
    batch: int = param(32, "examples a step", ge=2, le=1_000_000)

    axes = ("epoch",)
    quantities = (
        shown(THIRDS[0], "mean |gamma| in the first third of the blocks", positive=True),
        shown(THIRDS[1], "mean |gamma| in the last third of the blocks", positive=True),
        shown("effective_depth", "sum over blocks of the branch's share of the variance", positive=True),
        shown("train_error", "share of wrong training examples of an epoch"),
        claim(ORDERS[0], "gammas of the last third end that much above those of the first"),
        claim(ORDERS[1], "the effective depth ends above that at initialisation"),
    )
    plot = Plot(x="epoch")
    quick: ClassVar = {"blocks": 6, "width": 8, "limit": 128, "batch": 16, "epochs": 20, "least": 0.03}
    smallest: ClassVar = {"blocks": 3, "width": 4, "seeds": 2, "limit": 32, "batch": 16, "epochs": 2}
    examples = (
        "gamma",
        "gamma --labels random,true --format table",
        "gamma --limit 2000 --batch 128 --epochs 60 --least 0.15",
    )

    def theory(self, quantity: str, epoch: int) -> Prediction | None:
        """That the order holds in most seeds; nothing is known of the gammas themselves."""
        return Prediction("reference", value=1.0) if quantity in ORDERS else None

    def told(self, found: "History") -> Iterator[str]:
        """Which nets diverged."""
        return diverged("Nets", found.diverged, "counted as out of order")

    def notes(self) -> Iterable[str]:
        """With which labels it shows."""
        if self.labels == "random":
            yield "Shown with random labels; with the true ones it does not show here: --labels true."
        else:
            yield "Does not show here: it does with random labels, which have to be learned by heart."

    def train(self, lab: Lab) -> "History":
        """Train all nets; goes on where a run that was killed stood."""
        from resexp.training.data.load import load
        from resexp.training.data.synthetic import with_random_labels
        from resexp.training.fit import fit
        from resexp.training.initial import initialised
        from resexp.training.plan import layers_alone

        data = load(self.data, self.limit).as_images()
        data = with_random_labels(data, lab) if self.labels == "random" else data
        data = data.to(lab.torch_device, lab.torch_dtype)
        nets = initialised(lambda: self.net(data.shape[0], data.classes), lab, self.seeds)
        plan = self.plan(rate=self.rate, weight_decay=self.weight_decay, decays=layers_alone)
        return fit(nets, data, plan, lab, watch=watch(data), checkpoint=self.checkpoint(lab).part("nets"))

    def net(self, channels: int, classes: int) -> "nn.Module":
        """A convolution, the blocks, all at the size of the image, and a classifier."""
        from resexp.nets.blocks import chain, closing, stages
        from resexp.nets.recipe import Recipe
        from resexp.nets.residual import ResidualNet

        recipe = Recipe(blocks=self.blocks)
        units = stages([self.blocks], self.width, self.width, self.width, bottleneck=False)
        return ResidualNet(
            recipe.layer(channels, self.width, 3),
            chain(recipe, units, shortcut="a", preactivation=True),
            closing(recipe, self.width, classes, preactivation=True),
        )

    def rows(self, found: "History") -> Iterator[Row]:
        """Rows of the gammas and the depth from the start on, of the error from the first epoch on."""
        from resexp.core.statistics import Samples

        third = self.blocks // 3
        gammas, shares = found.watched["gamma"], found.watched["share"]  # (epochs + 1, nets, blocks)
        series = {
            THIRDS[0]: gammas[..., :third].mean(2),
            THIRDS[1]: gammas[..., -third:].mean(2),
            "effective_depth": shares.sum(2),
        }
        for name, values in series.items():
            for epoch, value in enumerate(values):
                yield Row({"epoch": epoch}, name, Samples.of(value.double().numpy()))
        for epoch, value in enumerate(found.train_error, 1):
            yield Row({"epoch": epoch}, "train_error", Samples.of(value.numpy()))
        excess = series[THIRDS[1]][-1] - series[THIRDS[0]][-1]
        depth = series["effective_depth"]
        for name, holds in zip(ORDERS, (excess > self.least, depth[-1] > depth[0]), strict=True):
            yield Row({"epoch": self.epochs}, name, Samples.of(holds.double().numpy()))

    def multiply_adds(self, pixels: int) -> float:
        """Of the two convolutions of each block."""
        return convolutions(2 * self.blocks, self.width, pixels)

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """By how much later gammas end above earlier ones, and how the effective depth grew."""
        from resexp.core.statistics import Samples, summarise

        first, last, depth = (
            [row.samples.mantissa for row in measured[name].rows] for name in (*THIRDS, "effective_depth")
        )
        yield "gamma_last_minus_first_third", summarise(Samples.of(last[-1] - first[-1]), positive=False), None, ""
        yield "effective_depth_growth", summarise(Samples.of(depth[-1] / depth[0]), positive=False), None, ""


def watch(data: "Data") -> "Callable[[Moment], Mapping[str, Tensor]]":
    """Mean |gamma| and the branch's share of the variance, (nets, blocks) each; by the statistics of a batch."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    from resexp.nets.residual import Residual, ResidualNet
    from resexp.training.modes import keeping_buffers

    probe = data.train.inputs[:PROBE]

    @torch.no_grad()
    def look(moment: "Moment") -> "Mapping[str, Tensor]":
        side, net = moment.net, moment.net.net
        assert isinstance(net, ResidualNet)
        net.train()
        gammas, shares = [], []
        with keeping_buffers(net):
            h = net.stem(probe.repeat(1, side.count, 1, 1))
            for block in net.blocks:
                assert isinstance(block, Residual)
                last = [module for module in block.branch.modules() if isinstance(module, _BatchNorm)][-1]
                gammas.append(torch.unflatten(last.weight.abs(), 0, (side.count, -1)).mean(1))
                skip = block.shortcut(block.before(h))
                h = block(h)
                of_skip, of_branch = (variance(part, side.count) for part in (skip, h - skip))
                shares.append(of_branch / (of_skip + of_branch))
        return {"gamma": torch.stack(gammas, 1), "share": torch.stack(shares, 1)}

    return look


def variance(h: "Tensor", nets: int) -> "Tensor":
    """Variance over images and pixels, mean over channels, (nets,), of h (batch, nets * channels, height, width)."""
    import torch

    return torch.unflatten(h.var((0, 2, 3), correction=0), 0, (nets, -1)).mean(1)
