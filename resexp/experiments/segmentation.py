"""A U-Net with and without its skip connections, finding cells in synthetic microscopy (figures 11.10 and 11.11).

On the way down a U-Net sees more and more of the picture, and knows less and less exactly where; what comes across from
the way down tells it where again. Both nets, of valid 3x3 convolutions with batch normalisation, are trained on the
same pictures (training/data/cells.py) with cross-entropy on each pixel; without skips the up-convolution's output alone
goes on, so that net has somewhat fewer parameters. After training, on test pictures,

    test_error      share of wrong pixels, after each epoch
    overlap         pixels of cells in both truth and prediction over those in either (intersection over union)
    border_error    share of wrong pixels among those within 2 pixels of an edge between cell and ground

A reference, judged by whether it holds in most seeds: with skips the overlap is higher (skips_raise_overlap) and the
border error lower (skips_sharpen_borders), as Ronneberger et al. and Drozdzal et al. 2016 report for real cells.

Exact: a prediction stitched from tiles (training/stitching.py) for an image of any size is that for the whole image at
once; stitched_difference is the largest difference of their scores over the largest score, 0 to rounding.

Measured with the defaults, four times 8 seeds: both orders hold in all 32; the median overlap is 0.76 with skips and
0.60 without, and 14 against 27 % of the pixels near edges are wrong. Stitched scores differ by 1e-6 of the largest at
most.

--plot shows a picture that is no tile's size: what the nets saw, the truth, and what each net of seed 0 found in it.

Source: Ronneberger et al. 2015; Prince 2023, section 11.5.3.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.experiment import Pictures, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row, Value
from resexp.theory.unet_sizes import border as lost
from resexp.theory.unet_sizes import fits, neighbours
from resexp.training.declared import TrainingExperiment, claim, diverged, shown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resexp.training.data.dataset import Data
    from resexp.training.history import History

NETS = {"with-skips": "true", "without-skips": "false"}
CLAIMS = {
    "skips_raise_overlap": "with skips the overlap of cells and prediction is higher",
    "skips_sharpen_borders": "with skips fewer pixels near edges are wrong",
}
WARM_UP = 2.0
"""Epochs in which the learning rate rises from zero; without it single nets end where they find hardly any cells."""
REACH = 2
"""Pixels from an edge that are near it."""


@dataclass(frozen=True)
class Found:
    """Of all nets of a kind: curves, numbers (seeds,) by quantity, and pictures (height, breadth) by quantity."""

    history: "History"
    numbers: "Mapping[str, Tensor]"
    pictures: "Mapping[str, Tensor]"


class Segmentation(TrainingExperiment):
    """Cells found by a U-Net with and without skips, in pictures of any size stitched from tiles."""

    data: Literal["cells"] = param("cells", "data set: synthetic cells, drawn anew for each --seed")
    images: int = param(64, "pictures to train on", ge=2, le=100_000)
    test_images: int = param(32, "pictures to test on", ge=1, le=100_000)
    side: int = param(32, "side of the pictures, and of the tiles of a stitched one, in pixels", ge=8, le=4096)
    height: int = param(75, "height of the stitched picture, in pixels", ge=8, le=4096)
    breadth: int = param(110, "breadth of the stitched picture, in pixels", ge=8, le=4096)
    depth: int = param(2, "times that the side is halved and doubled again", ge=1, le=6)
    width: int = param(6, "channels of the first level; each level has twice those of the one above", ge=1, le=1024)
    rate: float = param(0.1, "highest learning rate", gt=0)
    seeds: int = param(8, "nets of each kind, each with its own initialisation and order of the data", ge=2, le=10_000)
    epochs: int = param(10, "passes over the training pictures", ge=1, le=100_000)
    batch: int = param(8, "pictures a step", ge=2, le=1_000_000)

    makes_its_data: ClassVar[bool] = True
    axes = ("net", "epoch", "y", "x")
    quantities = (
        shown("train_loss", "mean cross-entropy of a pixel over an epoch, nats"),
        shown("test_error", "share of wrong pixels of test pictures"),
        shown("overlap", "intersection over union of cells and prediction"),
        shown("border_error", "share of wrong pixels within 2 pixels of an edge"),
        Quantity(
            "stitched_difference",
            "largest difference of stitched scores from those of the whole image, over the largest score",
            positive=False,
            judged="level",
            margin=1e-4,
        ),
        *(claim(name, meaning) for name, meaning in CLAIMS.items()),
    )
    plot = Pictures(x="x", y="y", series="net", quantities=("picture", "truth", "prediction"))
    quick: ClassVar = {
        "images": 32,
        "test_images": 12,
        "side": 24,
        "depth": 1,
        "width": 4,
        "epochs": 16,
        "batch": 4,
        "height": 40,
        "breadth": 50,
    }
    smallest: ClassVar = {
        "seeds": 2,
        "images": 4,
        "test_images": 2,
        "side": 8,
        "depth": 1,
        "width": 2,
        "epochs": 2,
        "batch": 2,
        "height": 9,
        "breadth": 17,
    }
    examples = (
        "segmentation",
        "segmentation --plot results/cells.png",
        "segmentation --depth 3 --side 52 --width 8 --seeds 3",
    )

    @model_validator(mode="after")
    def _pictures_fit(self) -> Self:
        if not fits(self.side + self.border, self.depth, padded=False) or self.side < 2**self.depth:
            below, above = (
                n and n - self.border for n in neighbours(self.side + self.border, self.depth, padded=False)
            )
            nearest = f"{below} or {above}" if below and below >= 2**self.depth else f"{above}"
            raise ValueError(f"--side {self.side}: does not fit a U-Net of depth {self.depth}; {nearest} does.")
        return self

    @property
    def border(self) -> int:
        """Pixels that the net loses, at both ends together."""
        return lost(self.depth, padded=False)

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Training pictures, and pixels that go into each."""
        return min(self.images, self.limit or self.images), (self.side + self.border) ** 2

    def load_data(self, lab: Lab) -> "Data":
        """Pictures that are drawn by the lab's seed, ready to train on."""
        from resexp.training.data.cells import cells

        drawn = cells(lab, train=self.images, test=self.test_images, side=self.side, border=self.border // 2)
        return drawn.limited(self.limit).to(lab.torch_device, lab.torch_dtype)

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """That stitching changes nothing, and that the orders hold in most seeds."""
        if quantity == "stitched_difference":
            return Prediction("exact", value=0.0)
        return Prediction("reference", value=1.0) if quantity in CLAIMS else None

    def told(self, found: "Mapping[str, Found]") -> Iterator[str]:
        """Which nets diverged."""
        for name, one in found.items():
            yield from diverged(f"Nets {name.replace('-', ' ')}", one.history.diverged)

    def train(self, lab: Lab) -> "dict[str, Found]":
        """Train with and without skips; goes on where a run that was killed stood."""
        from resexp.training.fit import fit

        data = self.load_data(lab)
        found = {}
        for number, (name, skips) in enumerate(NETS.items()):
            net = f"unet,depth={self.depth},width={self.width},norm=batch,skips={skips}"
            nets = self.make_nets(lab, net, data)
            here, kept = lab.share(number, number + 1, of=len(NETS)), self.checkpoint(lab).part(name)
            history = fit(nets, data, self.plan(rate=self.rate, warm_up=WARM_UP), here, checkpoint=kept)
            found[name] = self._looked_at(nets, history, data, lab)
        return found

    def _looked_at(self, nets: "list[nn.Module]", history: "History", data: "Data", lab: Lab) -> Found:
        import torch

        from resexp.training.data.cells import mirrored
        from resexp.training.stitching import stitched

        numbers: dict[str, list[Tensor]] = {"overlap": [], "border_error": [], "stitched_difference": []}
        picture, mask = self.large_picture(lab)
        image, predictions = picture.to(data.train.inputs)[None], []
        around = mirrored(image, self.border // 2, self._one_tile - self.height, self._one_tile - self.breadth)
        for net in nets:
            net.eval()
            with torch.no_grad():
                labels = torch.cat([net(x).argmax(1) for x in torch.split(data.test.inputs, 16)])
            numbers["overlap"].append(overlap(labels, data.test.targets))
            numbers["border_error"].append((labels != data.test.targets)[near_edges(data.test.targets)].double().mean())
            tiles = stitched(net, image, border=self.border // 2, tile=self.side, pooled=2**self.depth)
            with torch.no_grad():
                whole = net(around[None])[0][:, : self.height, : self.breadth]
            numbers["stitched_difference"].append(((tiles - whole).abs().max() / whole.abs().max()).double())
            predictions.append(tiles.argmax(0).cpu())
        pictures = {"picture": picture, "truth": mask, "prediction": predictions[0]}
        return Found(history, {name: torch.stack(values).cpu() for name, values in numbers.items()}, pictures)

    @property
    def _one_tile(self) -> int:
        """Side of a tile that holds the whole stitched picture."""
        grid: int = 2**self.depth
        return -(-max(self.height, self.breadth) // grid) * grid + 4 % grid

    def large_picture(self, lab: Lab) -> "tuple[Tensor, Tensor]":
        """The picture that is stitched, standardised, and its cells, (height, breadth) both."""
        import torch

        from resexp.training.data.cells import draw, standardised

        generator = torch.Generator().manual_seed(lab.key("cells large") % 2**63)
        picture, mask = draw(self.height, self.breadth, generator)
        return standardised(picture), mask

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: distances of each pixel of the largest picture from each of its cells, and the maps of a batch."""
        largest = max(self.height * self.breadth, self.side**2)
        maps = self.seeds * self.batch * self.width * (self.side + self.border) ** 2
        return int(48 * 0.01 * largest**2) + 64 * maps

    def multiply_adds(self, pixels: int) -> float:
        """Of both nets: two convolutions on the way down and two or more up, the same at each level, roughly."""
        return len(NETS) * 30.0 * (self.depth + 1) * self.width**2 * pixels

    def rows(self, found: "Mapping[str, Found]") -> Iterator[Row]:
        """Rows of the curves, of what holds at the end, and of the orders."""
        from resexp.core.statistics import Samples

        for name, one in found.items():
            for quantity, curve in (("train_loss", one.history.train_loss), ("test_error", one.history.test_error)):
                for epoch, values in enumerate(curve, 1):
                    yield Row({"net": name, "epoch": epoch}, quantity, Samples.of(values.numpy()))
        for quantity in ("overlap", "border_error", "stitched_difference"):
            for name, one in found.items():
                yield Row({"net": name, "epoch": self.epochs}, quantity, Samples.of(one.numbers[quantity].numpy()))
        with_skips, without = (found[name].numbers for name in NETS)
        orders = {
            "skips_raise_overlap": with_skips["overlap"] > without["overlap"],
            "skips_sharpen_borders": with_skips["border_error"] < without["border_error"],
        }
        for quantity, holds in orders.items():
            place = {"net": "with-skips", "epoch": self.epochs}
            yield Row(place, quantity, Samples.of(holds.double().numpy()))

    def lines(self, found: "Mapping[str, Found]") -> Iterator[dict[str, Value]]:
        """The stitched picture, its cells, and what the first net of each kind found, pixel by pixel."""
        from resexp.training.pictures import pixels

        for name, one in found.items():
            for quantity, picture in one.pictures.items():
                yield from pixels(quantity, picture, {"net": name})


def overlap(labels: "Tensor", truth: "Tensor") -> "Tensor":
    """Intersection over union of class 1, of all pictures together; both (images, height, width)."""
    either = ((labels == 1) | (truth == 1)).sum()
    return ((labels == 1) & (truth == 1)).sum().double() / either.clamp(min=1)


def near_edges(truth: "Tensor") -> "Tensor":
    """Pixels within REACH, in rows and columns, of a pixel of the other class, (images, height, width)."""
    from torch.nn.functional import max_pool2d

    cells = truth[:, None].double()
    side = 2 * REACH + 1
    most, least = max_pool2d(cells, side, 1, REACH), -max_pool2d(-cells, side, 1, REACH)
    return (most > least)[:, 0]
