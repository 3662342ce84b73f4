"""Which axes each normaliser averages over, drawn: examples, channels, and space.

    batch      ■·······  ■·······  ■·······  ■·······        an example after another, a cell a channel,
    layer      ■■■■■■■■  ········  ········  ········        all pixels of an image in one cell
    group      ■■■■····  ········  ········  ········
    instance   ■·······  ········  ········  ········

Shaded is what enters one mean and one variance. --plot draws it as blocks of values, with space on an axis of its own.
That it is so is measured on the normalisers themselves, in training mode: one value of random activations is moved, and
what comes out different is counted. It is the whole set that the value shares statistics with, the value alone where
activations are not normalised. Counts are exact.

Source: Prince 2023, figure 11.14; Wu and He 2018, figure 2.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from resexp.core.errors import UsageError
from resexp.core.experiment import param
from resexp.core.lab import Lab
from resexp.core.result import Value
from resexp.core.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from resexp.nets.normalised import Averaged

SHADED, PALE, EDGE = "#0072B2", "#ffffff", "#808080"
DRAWN_EXAMPLES, DRAWN_CHANNELS, DRAWN_PIXELS = 4, 6, 4
DEPTH = (0.45, 0.3)
"""Where an example behind another is drawn, in cells."""
A_LINE = 4
"""Blocks drawn beside each other."""


class NormaliserAxes(Table):
    """Which examples, channels and pixels each normaliser averages over, drawn and measured."""

    normaliser: tuple[str, ...] = param(
        ("batch", "ghost:2", "renorm", "layer", "group", "instance", "weight", "none"),
        "normalisers to draw",
        min_length=1,
    )
    batch: int = param(4, "examples", ge=2, le=1024)
    channels: int = param(8, "channels", ge=1, le=4096)
    side: int = param(3, "height and width of the images, pixels", ge=2, le=256)

    axes = ("normaliser",)
    columns = ("normaliser", "drawn", "values", "statistics", "averages_over")
    sketched: ClassVar[bool] = True
    quick: ClassVar = {}
    examples = (
        "normaliser-axes",
        "normaliser-axes --normaliser batch,layer,group:2 --batch 2",
        "normaliser-axes --plot results/normaliser-axes.svg",
    )

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        from resexp.nets.normalised import averaged

        for text in self.normaliser:
            try:
                averaged(text, self.batch, self.channels)
            except UsageError as error:
                raise ValueError(f"--normaliser {text}: {error}") from None
        if len(set(self.normaliser)) < len(self.normaliser):
            raise ValueError(f"--normaliser {','.join(self.normaliser)}: each can be asked for once.")
        return self

    def table(self) -> Iterator[dict[str, Value]]:
        """One row for each normaliser."""
        from resexp.theory.normaliser_axes import over, picture

        for text in self.normaliser:
            of = self._averaged(text)
            examples, together = (of.examples[0], of.channels) if of else (0, 0)
            drawn = picture(self.batch, self.channels, examples, together)
            statistics = len(of.examples) * self.channels // of.channels if of else 0
            yield {
                "normaliser": text,
                "drawn": drawn,
                "values": self._values(of) if of else 0,
                "statistics": statistics,
                "averages_over": over(text.partition(":")[0]),
            }

    def headlines(self) -> Iterator[tuple[str, int, int]]:
        """How many values move when one is moved, against the size of its set."""
        for text in self.normaliser:
            of = self._averaged(text)
            yield f"values_moved_by_one_{text.replace(':', '_')}", self._moved(text), self._values(of) if of else 1

    def notes(self) -> Iterable[str]:
        """How to read the drawing."""
        yield (
            "One example after another, a cell a channel with all its pixels; shaded is what one mean and one variance "
            "are of. values: so many; statistics: so many pairs of them."
        )

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: a few copies of the activations."""
        return (1 << 24) + 8 * 8 * self.batch * self.channels * self.side**2

    def sketch_size(self) -> tuple[float, float]:
        """Width and height of the drawing, inches."""
        return 2.4 * min(A_LINE, len(self.normaliser)), 2.1 * -(-len(self.normaliser) // A_LINE)

    def sketch(self, axis: "Axes") -> None:
        """A block of values for each normaliser: channels to the right, space upwards, examples into the depth."""
        rows, columns, pixels = min(self.batch, DRAWN_EXAMPLES), min(self.channels, DRAWN_CHANNELS), DRAWN_PIXELS
        for number, text in enumerate(self.normaliser):
            line, place = divmod(number, A_LINE)
            x, y = place * (columns + rows * DEPTH[0] + 1.6), -line * (pixels + rows * DEPTH[1] + 2.6)
            self._draw(axis, text, (x, y), (rows, columns, pixels))
        axis.set_aspect("equal")
        axis.set_axis_off()
        axis.autoscale_view()

    def _draw(self, axis: "Axes", text: str, corner: tuple[float, float], size: tuple[int, int, int]) -> None:
        """One block, from behind to the front: tops, sides, and the front of the first example."""
        from matplotlib.patches import Polygon

        from resexp.theory.normaliser_axes import part

        rows, columns, pixels = size
        of = self._averaged(text)
        inside = part(of.examples[0], self.batch, rows) if of else 0
        wide = part(of.channels, self.channels, columns) if of else 0

        def face(points: Sequence[tuple[float, float, float]], *, shaded: bool) -> None:
            corners = [(corner[0] + c + n * DEPTH[0], corner[1] + s + n * DEPTH[1]) for c, s, n in points]
            colour, hatch = (SHADED, "///") if shaded else (PALE, None)
            axis.add_patch(Polygon(corners, facecolor=colour, edgecolor=EDGE, linewidth=0.5, hatch=hatch))

        for n in reversed(range(rows)):
            for c in range(columns):
                top = [(c, pixels, n), (c + 1, pixels, n), (c + 1, pixels, n + 1), (c, pixels, n + 1)]
                face(top, shaded=n < inside and c < wide)
            for s in range(pixels):
                right = [(columns, s, n), (columns, s + 1, n), (columns, s + 1, n + 1), (columns, s, n + 1)]
                face(right, shaded=n < inside and wide == columns)
        for c in range(columns):
            for s in range(pixels):
                face([(c, s, 0), (c + 1, s, 0), (c + 1, s + 1, 0), (c, s + 1, 0)], shaded=inside > 0 and c < wide)
        x, y = corner
        if not inside:
            box = {"facecolor": PALE, "edgecolor": "none", "pad": 1.5}
            axis.text(
                x + columns / 2, y + pixels / 2, "nothing is averaged", fontsize=7, ha="center", va="center", bbox=box
            )
        axis.text(x, y + pixels + rows * DEPTH[1] + 0.35, text, fontsize=9, fontweight="bold", va="bottom")
        axis.text(x + columns / 2, y - 0.25, "channels", fontsize=7, ha="center", va="top")
        axis.text(x - 0.2, y + pixels / 2, "space", fontsize=7, ha="right", va="center", rotation=90)
        middle = columns + rows * DEPTH[0] / 2 + 0.25
        axis.text(x + middle, y + rows * DEPTH[1] / 2, "examples", fontsize=7, ha="left", va="center", rotation=34)

    def _averaged(self, text: str) -> "Averaged | None":
        from resexp.nets.normalised import averaged

        return averaged(text, self.batch, self.channels)

    def _values(self, of: "Averaged") -> int:
        return of.examples[0] * of.channels * self.side**2

    def _moved(self, text: str) -> int:
        """Values of the output that change when the first value of the input does."""
        import torch

        from resexp.nets.batch_norms import BatchRenorm
        from resexp.nets.normalised import normaliser

        layer = normaliser(text, self.channels, self.side).double()
        if isinstance(layer, BatchRenorm):
            layer.r_max, layer.d_max = 1.0, 0.0  # as training begins: before it has statistics to hold on to
        x = torch.randn(
            self.batch,
            self.channels,
            self.side,
            self.side,
            dtype=torch.float64,
            generator=torch.Generator().manual_seed(0),
        )
        with torch.no_grad():
            before = layer(x).clone()  # nothing may have been copied where nothing is normalised
            x[0, 0, 0, 0] += 1.0
            return int((layer(x) != before).sum())
