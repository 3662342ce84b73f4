"""Block at which the numbers of a residual network leave the range of a number format.

    h[0] = W x,       h[k+1] = a h[k] + b W relu(h[k]),                x ~ N(0, 1),   no biases
    g[K] ~ N(0, 1),   g[k] = a g[k+1] + b 1(h[k] > 0) W'g[k+1]

with batch normalisation before the ReLU where the scheme asks for it. The networks are computed in the format and never
rescaled (signal/finite_range.py); the common setting --dtype has no say. A signal has left

    activation   at the first block with an activation that is infinite: overflow; or without one that is at least the
                 smallest normal number: underflow (IEEE 754); smaller ones lose digits, on some processors all;
    square       at the first block where the same holds of the squares h * h, as one writes them for a second moment;
    gradient     so many blocks below the last one, where its root mean square is 1.

From the block of `square` on the mean of the squares is infinite. (In float32 and float64 from a few blocks earlier:
their sum overflows before the largest of them does.) The gradient is not made to see the activations overflow, which
they do at about the same depth.

Doubling a block, 2^K, takes the second moment out of float16 at block 15, of float32 at 127, of float64 at 1023. The
largest of many activations is out three or four blocks before their root mean square, and at finite width a typical
network grows more slowly than the mean of all: at width 64 that is one block in twenty. The theory (theory/overflow.py)
is of first order in 1/width; with orthogonal weights it is the limit; there is none for batch normalisation, whose
signals grow by a sum, nor for several inputs, of which the largest decides and each fluctuates on its own.

What is judged is the block over its prediction.

Source: Prince 2023, sections 7.5 and 11.3, problem 11.5; IEEE 754-2019; Micikevicius et al. 2018; Hanin and Nica 2019.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.experiment import Curve, Plot, param
from resexp.core.initialisation import Initialisation, InitialisationName
from resexp.core.lab import Lab
from resexp.core.result import STATISTICS_COLUMNS, FamilyResult, Prediction, Quantity, Result, Row, Value, Verdict
from resexp.core.schemes import Scheme, SchemeName, check_scales, scheme

if TYPE_CHECKING:
    from resexp.signal.finite_range import FiniteNet
    from resexp.theory.overflow import Departure, StackRange

NumberFormat = Literal["float16", "bfloat16", "float32", "float64"]
Signal = Literal["activation", "square", "gradient"]
End = Literal["overflow", "underflow"]

MEANINGS: dict[tuple[Signal, End], str] = {
    ("activation", "overflow"): "first block with an activation beyond the largest number",
    ("square", "overflow"): "first block with a squared activation beyond the largest number",
    ("gradient", "overflow"): "blocks below the last at which the gradient is beyond the largest number",
    ("activation", "underflow"): "first block with all activations below the smallest normal number",
    ("square", "underflow"): "first block with all squared activations below the smallest normal number",
    ("gradient", "underflow"): "blocks below the last at which the gradient is below the smallest normal number",
}
SIGNALS: tuple[Signal, ...] = ("activation", "square", "gradient")
MOST_BLOCKS_UNASKED = 10_000
BATCH_OF_NORM = 16


class Overflow(Ensemble):
    """Block at which activations, their squares and gradients leave the range of a number format."""

    number_format: NumberFormat = param("float16", "number format that everything is computed in")
    scheme: SchemeName = param("residual", "how a block adds its branch to the skip connection")
    alpha: float | None = param(None, "scale of the branch; overrides the scheme's", ge=0, le=1e6)
    init: InitialisationName = param("he", "law of the weights")
    width: int = param(64, "units D of every layer, and inputs", ge=2, le=100_000)
    batch: int | None = param(
        None, "examples a network sees; 1 by default, 16 with batch normalisation", ge=1, le=1_000_000
    )
    draws: int = param(64, "independent random networks", ge=2, le=10_000_000)
    depth: int | None = param(
        None, "blocks of the networks; by default so many that all should leave", ge=1, le=10_000_000
    )

    version: ClassVar[int] = 3
    axes = ("range_exponent",)
    quantities = tuple(
        Quantity(f"{signal}_{end}_block", meaning, judged="level", margin=0.03)
        for (signal, end), meaning in MEANINGS.items()
    )
    plot = Plot(x="range_exponent")
    quick: ClassVar = {"draws": 64}
    examples = (
        "overflow --number-format float16,bfloat16,float32",
        "overflow --scheme plain --init glorot",
        "overflow --number-format float64 --draws 16",
        "overflow --scheme residual,rescaled,batchnorm,skipinit --depth 100",
    )

    @model_validator(mode="after")
    def _something_goes_through(self) -> Self:
        check_scales(self.scheme, self.alpha, self.inputs)
        return self

    @property
    def normalised(self) -> bool:
        """Whether there is batch normalisation."""
        return self.scheme == "batchnorm"

    @property
    def inputs(self) -> int:
        """Examples a network sees."""
        return self.batch or (BATCH_OF_NORM if self.normalised else 1)

    @property
    def shrinks_with_depth(self) -> bool:
        """Whether a deeper network has a smaller branch, so that none is deep enough to leave."""
        return self.scheme == "stable" and self.alpha is None

    @property
    def scales(self) -> Scheme:
        """Scales of skip and branch."""
        return scheme(self.scheme, self.depth or _doubling(self.number_format, self.width), self.alpha)

    @property
    def range(self) -> "StackRange":
        """The network in the terms of the theory, which holds without batch normalisation."""
        from resexp.theory.overflow import FORMATS, StackRange

        init, scales = Initialisation(self.init), self.scales
        return StackRange(
            FORMATS[self.number_format], self.width, scales.skip, scales.branch, init.gain(), not init.orthogonal
        )

    @property
    def end(self) -> End | None:
        """The end of the range that networks go to; None where they do not grow by a factor."""
        return None if self.normalised or self.shrinks_with_depth else self.range.end

    def limit(self, signal: Signal) -> int | None:
        """Block of departure at infinite width; None where there is none."""
        return self.range.limit(signal) if self.end else None

    @property
    def blocks(self) -> int:
        """Blocks to run: what was asked for, else as many as all networks should need, else what doubling needs."""
        if self.depth is not None:
            return self.depth
        needed = [_needed(self, signal) for signal in SIGNALS]
        affordable = [blocks for blocks in needed if blocks is not None and blocks <= MOST_BLOCKS_UNASKED]
        return max(affordable, default=_doubling(self.number_format, self.width))

    @property
    def net(self) -> "FiniteNet":
        """The network in the terms of the engine."""
        from resexp.signal.finite_range import FiniteNet

        init = Initialisation(self.init)
        return FiniteNet(self.blocks, self.width, self.inputs, self.scales, init, self.number_format)

    def measure(self, lab: Lab) -> Iterator[Row]:
        """First block out of range of each network, nan where it stays inside."""
        import numpy as np

        from resexp.core.statistics import Samples
        from resexp.signal.finite_range import first_blocks_out

        found = first_blocks_out(lab, self.net, self.draws)
        left = {end for (_, end), blocks in found.items() if np.isfinite(blocks).any()}
        ends = {self.end} if self.end else left or {"overflow"}
        for (signal, end), blocks in found.items():
            if end in ends:
                place = {"range_exponent": self.range.format.end_exponent(end)}
                expected = _expected(self, signal) if end == self.end else None
                statistic = blocks / expected.block if expected is not None else None
                yield Row(place, f"{signal}_{end}_block", Samples.of(blocks), statistic=statistic)

    def curves(self, lab: Lab) -> Iterator[Curve]:
        """The largest magnitude in the first network, block after block, as far as it lies inside the range."""
        import numpy as np

        from resexp.signal.finite_range import largest_of_one

        for signal, magnitude in largest_of_one(lab, self.net).items():
            yield Curve(
                panel=f"largest {signal} of one network",
                label=f"inside the range of {self.number_format}",
                x=tuple(map(float, range(len(magnitude)))),
                y=tuple(map(float, np.log2(magnitude))),
                x_label="block" if signal == "activation" else "blocks below the last",
                y_label="log2 of the magnitude",
            )

    def theory(self, quantity: str, range_exponent: int) -> Prediction | None:
        """The mean of the block at finite width, where it is known."""
        for signal in SIGNALS:
            expected = _expected(self, signal)
            if quantity == f"{signal}_{self.end}_block" and expected is not None:
                return Prediction(expected.kind, value=expected.block, judged=1.0, bias=expected.bias)
        return None

    def compute(self, lab: Lab) -> Result:
        """Judge what every network gave a number for; where some stayed inside there is no mean, but a note."""
        import numpy as np

        from resexp.core.assessment import assess

        rows = list(self.measure(lab))
        inside = {row.quantity: int(np.isnan(row.samples.mantissa).sum()) for row in rows}
        result = assess(self, [row for row in rows if not inside[row.quantity]])
        result.rows.extend(self._without_mean(row) for row in rows if inside[row.quantity])
        result.families.extend(self._without_verdict(row.quantity, n) for row in rows if (n := inside[row.quantity]))
        order = [quantity.name for quantity in self.quantities]
        result.rows.sort(key=lambda row: order.index(str(row["quantity"])))
        verdicts = {family.quantity: family.verdict for family in result.families}
        result.headline.extend(_figure(row, verdicts) for row in result.rows)  # what a sweep shows of each setting
        result.notes.extend(self._unfinished(inside))
        return result

    def _without_mean(self, row: Row) -> dict[str, Value]:
        prediction = self.theory(row.quantity, **row.axes)
        verdict = Verdict.NOT_JUDGED if prediction else Verdict.NO_THEORY
        known = {"theory": prediction.value, "theory_kind": prediction.kind} if prediction else {}
        statistics = {**dict.fromkeys(STATISTICS_COLUMNS), **known, "draws": self.draws, "verdict": verdict.value}
        return {**row.axes, "quantity": row.quantity, **statistics}

    def _without_verdict(self, quantity: str, inside: int) -> FamilyResult:
        known = any(quantity == f"{signal}_{self.end}_block" and _expected(self, signal) for signal in SIGNALS)
        verdict = Verdict.NOT_JUDGED if known else Verdict.NO_THEORY
        return FamilyResult(quantity, verdict.value, None, f"{inside} of {self.draws} networks stayed inside.")

    def _unfinished(self, inside: dict[str, int]) -> Iterator[str]:
        """How many networks stayed inside, and why."""
        for end in ("overflow", "underflow"):
            found = [(signal, inside.get(f"{signal}_{end}_block", 0)) for signal in SIGNALS]
            counts = ", ".join(f"{signal}s in {count}" for signal, count in found if count)
            if counts:
                yield (
                    f"No {end} of {counts} of {self.draws} networks within {self.blocks:,} blocks of "
                    f"{self.number_format}: no mean is given there. {self._why()}"
                )

    def _why(self) -> str:
        limit = self.limit("activation")
        if limit is not None:
            return f"At infinite width activations leave at block {limit:,}: use a larger --depth."
        if self.normalised:
            return "With batch normalisation a signal grows by a sum, not by a factor."
        if self.shrinks_with_depth:
            return "A deeper network of this scheme has a smaller branch: it grows by e in all and never leaves."
        return "At infinite width the second moment stays as it is, and none ever leaves."

    def notes(self) -> Iterable[str]:
        """Where there is no theory, and why."""
        from resexp.theory.overflow import LOOSEST, MOST_BLOCKS, NARROWEST

        if self.normalised:
            yield "With batch normalisation the gradient is not run: it grows like a power of the depth."
        elif self.end and self.inputs > 1:
            yield "No theory for several inputs: the largest decides, and each fluctuates on its own."
        elif self.end and self.width < NARROWEST:
            yield f"No theory below width {NARROWEST}: it is of first order in 1/width."
        elif self.end and not any(_expected(self, signal) for signal in SIGNALS):
            yield f"No theory beyond {MOST_BLOCKS:,} blocks, nor where the width may shift it by over {LOOSEST:.0%}."

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: the weights of the networks at hand, once or in all blocks, and which units were on."""
        from resexp.signal.finite_range import memory

        return memory(lab, self.net)

    def estimate_seconds(self, lab: Lab) -> float:
        """Seconds, from a few blocks of one tile of networks run here."""
        from resexp.signal.finite_range import estimate_seconds

        return estimate_seconds(lab, self.net, self.draws)


def _figure(row: dict[str, Value], verdicts: Mapping[str, str]) -> dict[str, Value]:
    figure = {"quantity": f"mean_{row['quantity']}", **{name: row[name] for name in STATISTICS_COLUMNS}}
    return {**figure, "verdict": verdicts[str(row["quantity"])]}


@lru_cache(maxsize=64)
def _expected(experiment: Overflow, signal: Signal) -> "Departure | None":
    return experiment.range.first_block_out(signal) if experiment.end and experiment.inputs == 1 else None


def _needed(experiment: Overflow, signal: Signal) -> int | None:
    """Blocks in which all networks should leave."""
    expected, limit = _expected(experiment, signal), experiment.limit(signal)
    if expected is not None and expected.kind == "finite-width":
        return expected.all_out
    return None if limit is None else 2 * limit + 20


@lru_cache(maxsize=64)
def _doubling(number_format: NumberFormat, width: int) -> int:
    """Blocks in which networks that double should leave."""
    return _needed(Overflow(number_format=number_format, width=width, depth=1), "activation") or MOST_BLOCKS_UNASKED
