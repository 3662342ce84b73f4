"""How many units of a block are on for all inputs of a batch, for none, or switch between them.

A unit is on for an input if the input of its ReLU is positive. Which ReLU that is depends on the order of layers in
the branch f: relu-linear, f(h) = W relu(h), the units of the skip connection themselves; linear-relu, relu(W h), those
of the branch; two-layer, W2 relu(W1 relu(h)), both counted together. Batch normalisation comes first, before each ReLU
or linear layer.

At infinite width the B inputs of a ReLU are normals, any two with the correlation c of the infinite-width recursion:

    P(always on) = P(always off) = integral of phi(t) Phi(t sqrt(c / (1 - c)))^B dt

and the rest switches. P is 2^-B for independent inputs, c = 0, and 1/2 for c -> 1.

A plain net without normalisation makes all inputs alike, c -> 1, until hardly any unit switches: each is on for the
whole batch, or dead for it. On such a batch the net is nearly linear, and that is why its gradients do not shatter.
Skip connections delay that: c grows more slowly, and more slowly still with a small branch.

With batch normalisation before the ReLU a unit has mean zero over the batch, so that it is on for some inputs and off
for others: none is always on or always off, exactly, at any width. (A unit that did not vary at all would count as off;
the networks here have none.)

In the first block the law is exact. Later it is a limit: in a network of width D the correlations of a batch scatter
about c, and the means are off by a multiple of 1/D, which is declared. A network so narrow that all its units may be
off for an input at once, and it dies, has no theory.

Co-activation is the share of units that are on for both of two inputs: kappa0(c) / 2 = (pi - arccos c) / (2 pi). That
is 1/4 at c = 0, which the laws 2^-L and (3/4)^L of shattered gradients assume in every layer, and 1/2 at c = 1; with
batch normalisation c = -1/(B - 1).

Source: Balduzzi et al. 2017, on activations with and without batch normalisation; Prince 2023, section 11.4.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.experiment import Plot, param
from resexp.core.initialisation import Initialisation, InitialisationName
from resexp.core.lab import Lab
from resexp.core.network import Order
from resexp.core.result import Prediction, Quantity, Row, TheoryKind
from resexp.core.schemes import Scheme, SchemeName, scheme

if TYPE_CHECKING:
    from torch import Tensor

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.signal.forward import Block
    from resexp.signal.stack import Stack

ON_OR_OFF, SWITCHING, CO_ACTIVATION, NORMALISED = 3.0, 5.5, 1.0, 0.3
"""Bounds on what a finite width adds to each share, times the width; to the first two after ten layers of ReLUs, to
fewer less; to co-activation without and with batch normalisation.

Measured at widths 32 to 400, batches 2 to 4000, 50 to 300 blocks: up to 2.3, 4.4, 0.6 and 0.17."""
LAYERS_TO_SCATTER = 10
FEWEST_UNITS = 10.0  # of all networks: what is rarer than that is too rare for a t-test, and counts as bias
NUMBERS = 4


class DeadUnits(Ensemble):
    """Share of units that are always on, always off, or switch over a batch, block by block, against infinite width.

    And the share that is on for both of two inputs.
    """

    depth: int = param(50, "residual blocks K", ge=1, le=10_000)
    width: int = param(100, "units D of every layer, and inputs", ge=2, le=100_000)
    batch: int = param(100, "examples B a network sees", ge=1, le=10_000_000)
    draws: int = param(128, "independent random networks", ge=2, le=10_000_000)
    scheme: SchemeName = param("plain", "how a block adds its branch to the skip connection")
    order: Order = param("relu-linear", "order of layers in the branch, figure 11.5 b, a, c")
    init: InitialisationName = param("he", "law of the weights")

    version: ClassVar[int] = 3
    axes = ("block",)
    quantities = (
        Quantity("share_switching", "share of units on for some inputs of the batch", positive=False, judged="level"),
        Quantity("share_always_on", "share of units on for the whole batch", positive=False, judged="level"),
        Quantity("share_always_off", "share of units on for no input of it", positive=False, judged="level"),
        Quantity("co_activation", "share of units on for both of two inputs", positive=False, judged="level"),
    )
    plot = Plot(x="block")
    quick: ClassVar = {"depth": 8, "width": 100, "batch": 12, "draws": 64}
    examples = (
        "dead-units",
        "dead-units --scheme plain,residual,stable,batchnorm",
        "dead-units --scheme residual --order relu-linear,linear-relu",
        "dead-units --batch 2,10,100,1000 --depth 20 --draws 32",
    )

    @model_validator(mode="after")
    def _something_can_switch(self) -> Self:
        if self.batch < 2:
            raise ValueError("--batch 1: a unit cannot switch over a single example; use --batch 2 or more.")
        return self

    @property
    def scales(self) -> Scheme:
        """Scales of skip and branch."""
        return scheme(self.scheme, self.depth)

    @property
    def stack(self) -> "Stack":
        """The network in the terms of the engine."""
        from resexp.signal.stack import Stack

        init = Initialisation(self.init)
        return Stack(self.depth, self.width, self.batch, self.scales, self.order, init, "relu", "independent")

    def measure(self, lab: Lab) -> Iterator[Row]:
        """Run the networks forward and lay out the shares in each block."""
        from resexp.core.statistics import Samples
        from resexp.signal.forward import read_off

        read = read_off(lab, self.stack, self.draws, _count)
        for k in range(self.depth):
            for name, shares in read.items():
                yield Row({"block": k + 1}, name, Samples.of(shares[k]))

    def theory(self, quantity: str, block: int) -> Prediction | None:
        """The law at the correlation of infinite width; with batch normalisation exactly that all units switch."""
        from resexp.theory.unit_switching import co_activation

        if self.scales.batchnorm:
            if quantity != "co_activation":
                return Prediction("exact", value=1.0 if quantity == "share_switching" else 0.0)
            value = co_activation(-1.0 / (self.batch - 1))
            return Prediction("limit", value=value, bias=NORMALISED / self.width)
        if self.dies:
            return None
        always_on, both_on = (float(law[block - 1]) for law in _law(self))
        value = {"co_activation": both_on, "share_switching": 1.0 - 2.0 * always_on}.get(quantity, always_on)
        layers = self._layers_before(block)
        kind: TheoryKind = "limit" if layers else "exact"
        if quantity == "co_activation":
            return Prediction(kind, value=value, bias=CO_ACTIVATION / self.width if layers else 0.0)
        bound = SWITCHING if quantity == "share_switching" else ON_OR_OFF
        bias = bound * min(1.0, layers / LAYERS_TO_SCATTER) / self.width
        return Prediction(kind, value=value, bias=bias, rare=FEWEST_UNITS / self.width)

    def _layers_before(self, block: int) -> int:
        """Layers of ReLUs that the input of the block's last ReLU has gone through: with none, the law is exact."""
        first = 1 if self.order == "two-layer" else 0
        return first if self.scales.branch == 0.0 else first + (first + 1) * (block - 1)

    @property
    def dies(self) -> bool:
        """Whether all units are off for some input in more than a few networks."""
        from resexp.theory.unit_switching import networks_die

        lives = self.scales.batchnorm or self.scales.branch == 0.0
        return not lives and networks_die(self.depth, self.width, self.batch)

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """The last block in one line each."""
        from resexp.core.statistics import summarise

        for name, one in measured.items():
            said = one.predictions[-1]
            value, kind = (said.value, said.kind) if said is not None else (None, "limit")
            yield f"{name}_last_block", summarise(one.rows[-1].samples, positive=False), value, kind

    def notes(self) -> Iterable[str]:
        """Say where networks are too narrow for the theory of living ones."""
        if self.dies:
            yield (
                f"At width {self.width} and depth {self.depth} some inputs turn all units of a block off at once. No "
                "theory is given; use a larger --width."
            )

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes of one tile on each thread, and of the shares read off."""
        from resexp.signal.forward import memory

        return memory(lab, self.stack, self.draws, NUMBERS)

    def estimate_seconds(self, lab: Lab) -> float:
        """Seconds, from a few blocks of one tile of networks run here."""
        from resexp.signal.forward import seconds

        return seconds(lab, self.stack, self.draws, _count)


def _count(block: "Block") -> "Mapping[str, Tensor]":
    """Shares of the units of all ReLUs of the block, (networks,) each."""
    import torch

    batch = block.skip.shape[1]
    on = torch.cat([(x > 0).sum(1) for x in block.activated], dim=1)  # (networks, units): inputs a unit is on for
    pairs = (on * (on - 1)).double().mean(1) / (batch * (batch - 1))
    always_on, always_off = (on == batch).double().mean(1), (on == 0).double().mean(1)
    return {
        "share_switching": 1.0 - always_on - always_off,
        "share_always_on": always_on,
        "share_always_off": always_off,
        "co_activation": pairs,
    }


@lru_cache(maxsize=32)
def _law(experiment: DeadUnits) -> "tuple[list[float], list[float]]":
    """P(always on) and P(both of two on), of each block; means over both ReLUs of a two-layer branch."""
    from resexp.theory import infinite_width, unit_switching
    from resexp.theory.gaussian import kappa1

    scales = experiment.scales
    block = infinite_width.Block(
        skip=scales.skip,
        branch=scales.branch,
        inner=scales.inner,
        gain=Initialisation(experiment.init).gain(),
        order=experiment.order,
        activation="relu",
    )
    limit = infinite_width.stack(experiment.depth, block)
    always_on, both_on = [], []
    for c in map(float, limit.correlation[:-1]):
        of_relus = [c, float(kappa1(c))] if experiment.order == "two-layer" else [c]
        always_on.append(sum(unit_switching.share_always_on(x, experiment.batch) for x in of_relus) / len(of_relus))
        both_on.append(sum(map(unit_switching.co_activation, of_relus)) / len(of_relus))
    return always_on, both_on
