"""Sizes of the maps through a U-Net, what is cropped, and which inputs fit.

    down    two 3 x 3 convolutions, then the side is halved by 2 x 2 max pooling; channels double with each level
    bottom  two 3 x 3 convolutions
    up      an up-convolution doubles the side and halves the channels, the map of the way down is cropped to fit and
            put beside it, two 3 x 3 convolutions
    last    1 x 1 convolution to the classes

A 3 x 3 convolution without padding (`valid`) takes 2 pixels off a side. At depth d

    n = -4 mod 2^d fits,     n - (12 2^d - 8) comes out          572 in, 388 out at depth 4: n = 12 mod 16, 184 lost

and n is at least 12 2^d - 4 for d > 1, which leaves 4 pixels (18 at depth 1, which leaves 2). `--padded` puts a frame
of zeros around each map instead: n = 0 mod 2^d, nothing is lost or cropped. All numbers are exact, and for each side by
itself: an input need not be square.

Why not one batch of inputs of several sizes (problem 11.12): a batch is one tensor, (batch, channels, height, width).
The weights do not depend on a side, so one trained network takes every side that fits, but only one at a time.

Source: Ronneberger et al. 2015; Prince 2023, figure 11.10 and problem 11.12.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from resexp.core.experiment import param
from resexp.core.result import Value
from resexp.core.table import Table
from resexp.theory import unet_sizes as theory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POOLING = "max pooling 2x2"
CROP = "crop and concatenate"
OPERATIONS = {
    "convolution 3x3": "#0072B2",
    POOLING: "#D55E00",
    "up-convolution 2x2": "#009E73",
    CROP: "#777777",
    "convolution 1x1": "#CC79A7",
}
"""Colours of the arrows of a drawing."""


@dataclass(frozen=True)
class Layer:
    """A layer of level 0, the topmost, and below; crop: pixels cut off each end of the map of the way down."""

    level: int
    layer: str
    size_in: int
    size_out: int
    channels: int
    crop: int | None = None


class UNetSizes(Table):
    """Sides and channels of all maps of a U-Net, and the inputs it takes."""

    size: int = param(572, "side of the input, in pixels", ge=1, le=10**9)
    depth: int = param(4, "times that the side is halved and doubled again, d", ge=1, le=10)
    padded: bool = param(False, "pad the 3 x 3 convolutions, so that they keep the side")
    channels: int = param(1, "channels of the input", ge=1)
    width: int = param(64, "channels of the first level; each level has twice those of the one above", ge=1)
    classes: int = param(2, "channels of the output", ge=1)

    axes = ("level", "layer")
    columns = ("level", "layer", "size_in", "size_out", "channels", "crop")
    sketched: ClassVar[bool] = True
    quick: ClassVar = {}
    examples = (
        "unet-sizes",
        "unet-sizes --size 188",
        "unet-sizes --size 556,572,588 --format table",
        "unet-sizes --size 512 --padded",
        "unet-sizes --plot results/unet.svg",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not theory.fits(self.size, self.depth, padded=self.padded):
            below, above = self._neighbours
            nearest = f"{below} and {above} do" if below is not None else f"{above} is the smallest that does"
            raise ValueError(
                f"--size {self.size}: does not fit a{' padded' if self.padded else ''} U-Net of depth {self.depth}, "
                f"which takes {self._rule}; {nearest}."
            )
        return self

    def table(self) -> Iterator[dict[str, Value]]:
        """One row for each layer, from the input to the output."""
        yield {"level": 0, "layer": "input", "size_out": self.size, "channels": self.channels}
        for layer in self._layers(self.size):
            yield asdict(layer)

    def headlines(self) -> Iterator[tuple[str, float | int, float | int | None]]:
        """The output, followed through the layers, and the inputs that fit, tried one by one, against the formulas."""
        *_, last = self._layers(self.size)
        border = theory.border(self.depth, padded=self.padded)
        yield "output_side", last.size_out, self.size - border
        yield "border_lost", self.size - last.size_out, border
        smallest = next(side for side in count(1) if self._goes_through(side))
        yield "smallest_input", smallest, theory.smallest(self.depth, padded=self.padded)
        below, above = self._neighbours
        if below is not None:
            yield "next_smaller_input", next(n for n in count(self.size - 1, -1) if self._goes_through(n)), below
        yield "next_larger_input", next(n for n in count(self.size + 1) if self._goes_through(n)), above

    def notes(self) -> Iterator[str]:
        """Say what fits, and why only one size at a time does."""
        border, other = theory.border(self.depth, padded=self.padded), self._neighbours[1]
        yield f"Inputs that fit: {self._rule}; each side for itself."
        yield (
            f"One batch cannot mix sizes, because it is one tensor: inputs of {self.size} and {other} have different "
            f"sides in every layer, {self.size - border} and {other - border} at the end. One network takes both, one "
            "after the other, since weights do not depend on the side."
        )

    def sketch_size(self) -> tuple[float, float]:
        """Width and height of the drawing, inches."""
        return 2.0 + 0.5 * (5 * self.depth + 4), 1.0 + 0.8 * (self.depth + 1)

    def sketch(self, axis: "Axes") -> None:
        """Draw the maps level by level, with side and channels, as figure 11.10 does."""
        maps = [Layer(0, "input", self.size, self.size, self.channels), *self._layers(self.size)]
        places = [(float(number), -float(_level_after(layer))) for number, layer in enumerate(maps)]
        skips: dict[int, tuple[float, float]] = {}
        for number, (layer, at) in enumerate(zip(maps, places, strict=True)):
            if number:
                _arrow(axis, places[number - 1], at, layer.layer)
            if layer.layer == POOLING:
                skips[layer.level] = places[number - 1]
            if layer.layer == CROP:
                _arrow(axis, skips[layer.level], at, CROP)
            box = {"boxstyle": "square,pad=0.2", "facecolor": "#eef3f8", "edgecolor": "#333333", "linewidth": 0.6}
            axis.text(*at, f"{layer.size_out}²", ha="center", va="center", fontsize=7, bbox=box, zorder=3)
            axis.text(at[0], at[1] + 0.3, f"{layer.channels:,}", ha="center", va="center", fontsize=6, color="#555555")
        for name, colour in OPERATIONS.items():
            axis.plot([], [], color=colour, ls="--" if name == CROP else "-", label=name)
        axis.legend(loc="lower center", ncols=3, fontsize=7, frameon=False, bbox_to_anchor=(0.5, -0.12))
        axis.set_xlim(-0.7, len(maps) - 0.3)
        axis.set_ylim(-self.depth - 0.8, 0.6)
        axis.set_axis_off()

    @property
    def _rule(self) -> str:
        smallest = theory.smallest(self.depth, padded=self.padded)
        if self.padded:
            return f"multiples of {2**self.depth}"
        return f"sides of {-4 % 2**self.depth} mod {2**self.depth} from {smallest} on"

    @property
    def _neighbours(self) -> tuple[int | None, int]:
        return theory.neighbours(self.size, self.depth, padded=self.padded)

    def _goes_through(self, side: int) -> bool:
        """Whether no odd side is halved, and every map has a pixel."""
        return all(
            layer.size_out >= 1 and not (layer.layer == POOLING and layer.size_in % 2) for layer in self._layers(side)
        )

    def _layers(self, side: int) -> Iterator[Layer]:
        """All layers for an input of this side."""
        skipped = []
        for level in range(self.depth + 1):
            channels = self.width << level
            for layer in self._convolutions(level, side):
                yield layer
                side = layer.size_out
            if level < self.depth:
                skipped.append(side)
                yield Layer(level, POOLING, side, side // 2, channels)
                side //= 2
        for level in reversed(range(self.depth)):
            channels, skip = self.width << level, skipped[level]
            yield Layer(level, "up-convolution 2x2", side, 2 * side, channels)
            side *= 2
            yield Layer(level, CROP, skip, side, 2 * channels, (skip - side) // 2)
            for layer in self._convolutions(level, side):
                yield layer
                side = layer.size_out
        yield Layer(0, "convolution 1x1", side, side, self.classes)

    def _convolutions(self, level: int, side: int) -> Iterator[Layer]:
        lost = 0 if self.padded else 2
        for _ in range(2):
            yield Layer(level, "convolution 3x3", side, side - lost, self.width << level)
            side -= lost


def _level_after(layer: Layer) -> int:
    """Level on which a layer's output is drawn: pooling leads to the one below."""
    return layer.level + (layer.layer == POOLING)


def _arrow(axis: "Axes", start: tuple[float, float], end: tuple[float, float], operation: str) -> None:
    look = {"arrowstyle": "->", "color": OPERATIONS[operation], "shrinkA": 12, "shrinkB": 12}
    axis.annotate("", end, start, arrowprops={**look, "linestyle": "--" if operation == CROP else "-"}, zorder=1)
