"""Loss on planes through the weights of trained nets, with skips and without (figure 11.13).

    f(x, y) = loss(theta + x d1 + y d2),    x and y from -span to span

d1 and d2 are random directions, normalised filter by filter: each filter has the norm of the net's own, and what has
one dimension (biases, gamma, beta) does not move. Without that, nets whose weights are larger look flatter, whatever
they are. Loss is the mean cross-entropy of --sample of the training examples.

share_not_convex is the share of the inner grid points whose 2 x 2 Hessian, by central differences, has a negative
eigenvalue that exceeds a tenth of the largest in size; a seed's is the median over --pairs of directions. Li et al.
looked at the eigenvalues of the whole Hessian in the same way; theirs would be exact, the plane's only bounds them: a
point that is not convex in a plane is not convex. It depends on the step of the grid, so compare equal --points.

    trajectory_explained_1, _2   shares of the squared distances of the weights after each epoch from the last ones that
                                 lie along their first two principal components (Li et al., section 7)
    plane `trajectory`           loss on the plane of those components, through the last weights, of the first seed;
                                 x and y are distances there, and train_loss stands at each epoch's place

--mode eval takes the running statistics of batch normalisation, those at the centre; --mode train the statistics of the
examples themselves, which take the size of weights out again.

Theory is a reference, an ordering over seeds: in each, the residual net has the smaller share of points that are not
convex, and (from 21 points each way on) its share is at most 0.2. What is judged is that it is so in most seeds; eight
are the fewest that can rule out chance. It holds on the embedded digits in evaluation mode. In training mode it does
not show here, and is not judged: both shares are near 0.6.

By default nets have 32 layers, since a plain net of 56 does not train at all here (resexp degradation), and a net that
failed to train would be no comparison; this plain net ends under 1 % training error. `--depth 56` is the figure of the
paper. At --quick the plain net is hardly trained: that shows that the program works, and compares nothing.

--band 2/4 computes the second quarter of the grid's rows: `--band 1/4,2/4,3/4,4/4` are four cells that may run at the
same time and share their trained nets. The numbers of a point are the same, bit for bit; shares are those of the band
and are not judged. --plot draws all bands of a sweep as one surface.

Source: Li et al. 2018; Prince 2023, figure 11.13.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.experiment import Surface, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Result, Row
from resexp.training.declared import TRAINED, TrainingExperiment, check_depth, claim, convolutions, shown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resexp.training.data.dataset import Data
    from resexp.training.landscape import Plane, Surfaces
    from resexp.training.shared import Shared
    from resexp.training.surface_progress import SurfaceProgress
    from resexp.training.surface_rows import Line, NetFound, PlaneFound, SurfacesFound

KINDS = {"plain": "plain", "residual": "cifar-resnet"}
"""Families of the zoo."""
NEARLY_CONVEX = 0.2
"""Largest share of points that are not convex, of the residual net."""
MARGIN = 0.15
"""What the plane of a trajectory shows beyond its places, over their extent."""
FINE = 21
"""Points each way from which on a share is held against that: second differences are too rough on a coarser grid."""
FORWARD = 2.5e10
"""Multiply-adds a second of one core, of forward passes alone."""


class Landscape(TrainingExperiment):
    """Loss surfaces of plain and residual nets around the weights that training found (figure 11.13)."""

    depth: int = param(32, "layers of both nets, 6 n + 2", ge=8, le=10_000)
    width: int = param(8, "channels of the first stage; the second and third have 2 and 4 times as many", ge=1, le=1024)
    epochs: int = param(40, "passes over the training examples", ge=2, le=100_000)
    rate: float = param(0.05, "highest learning rate", gt=0)
    weight_decay: float = param(1e-4, "factor of the weights in their L2 decay", ge=0)
    points: int = param(51, "points of the grid each way, an odd number", ge=5, le=2001)
    span: float = param(1.0, "how far the grid goes each way, in norms of the filters", gt=0)
    pairs: int = param(1, "pairs of random directions of each net", ge=1, le=1000)
    sample: int = param(128, "training examples whose loss is taken", ge=2)
    mode: Literal["eval", "train"] = param("eval", "statistics of batch normalisation: running ones, or the examples'")
    band: str = param("1/1", "rows of the grid to compute: 2/4 is the second quarter")

    axes = ("net", "plane", "seed", "pair", "epoch", "y", "x")
    quantities = (
        shown("share_not_convex", "share of inner grid points where the loss is not convex in the plane"),
        shown("centre_loss", "loss at the weights found, nats"),
        shown("largest_loss", "largest loss on the grid, nats", positive=True),
        shown("trajectory_explained_1", "share of the distances from the last weights along the first component"),
        shown("trajectory_explained_2", "the same along the second component"),
        shown("train_error", "share of wrong training examples in the last epoch"),
        shown("test_error", "share of wrong test examples at the end"),
        claim("residual_is_more_convex", "residual net has the smaller share of points that are not convex"),
        claim("residual_is_nearly_convex", f"at most {NEARLY_CONVEX} of the residual net's points are not convex"),
    )
    plot = Surface(x="x", y="y", quantity="loss", path="train_loss", part="band")
    quick: ClassVar = {"width": 4, "limit": 256, "batch": 32, "epochs": 6, "seeds": 8, "points": 11, "sample": 32}
    smallest: ClassVar = {"depth": 8, "width": 2, "seeds": 2, "limit": 64, "epochs": 2, "points": 5, "sample": 16}
    examples = (
        "landscape --plot results/landscape.png",
        "landscape --quick --format table",
        "landscape --mode eval,train --points 21",
        "landscape --band 1/4,2/4,3/4,4/4",
    )

    @model_validator(mode="after")
    def _is_a_grid_of_such_nets(self) -> Self:
        check_depth("--depth", self.depth)
        if self.points % 2 == 0:
            raise ValueError(f"--points {self.points}: must be odd, so that the weights found are a point of the grid.")
        found = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", self.band)
        if not found or int(found[1]) > int(found[2]) or int(found[2]) > self.points // 3:
            raise ValueError(
                f"--band {self.band}: must be such as 2/4, the second of four bands, of three rows of the grid or more."
            )
        return self

    @property
    def part(self) -> tuple[int, int]:
        """Which band, from 1 on, and of how many."""
        number, _, of = self.band.partition("/")
        return int(number), int(of)

    @property
    def rows_here(self) -> range:
        """Rows of the grid in the band."""
        number, of = self.part
        return range(self.points * (number - 1) // of, self.points * number // of)

    def along(self, low: float, high: float) -> list[float]:
        """Places of the grid's points from low to high."""
        return [low + (high - low) * k / (self.points - 1) for k in range(self.points)]

    def compute(self, lab: Lab) -> Result:
        """Train, evaluate, judge; then the band has no more use for the nets that bands share."""
        result = super().compute(lab)
        self._shared(lab).finished(self.part[0])
        return result

    def rows(self, found: "SurfacesFound") -> Iterator[Row]:
        """Statistics over seeds."""
        return found.rows()

    def lines(self, found: "SurfacesFound") -> "Iterator[Line]":
        """All points of all planes."""
        return found.lines()

    def told(self, found: "SurfacesFound") -> Iterator[str]:
        """Which nets diverged."""
        return found.notes()

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """That the ordering holds in most seeds, as others saw, where the whole grid is at hand."""
        judged = {q.name for q in self.quantities if q.judged != "nothing"}
        if quantity not in judged or self.mode == "train" or self.part[1] > 1:
            return None
        if quantity == "residual_is_nearly_convex" and self.points < FINE:
            return None
        return Prediction("reference", value=1.0)

    def notes(self) -> Iterator[str]:
        """In which mode, and what is not judged."""
        which = "running statistics" if self.mode == "eval" else "the statistics of the examples themselves"
        yield f"Batch normalisation by {which} (--mode {self.mode})."
        if self.mode == "train":
            yield "In training mode the difference between the nets does not show here; nothing is judged."
        if self.part[1] > 1:
            yield f"Rows {self.rows_here.start} to {self.rows_here.stop - 1} of the grid: shares are theirs alone."

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: the weights after each epoch, those of the points at hand, and the directions."""
        from resexp.nets.zoo import parameters

        weights = parameters(f"{KINDS['residual']}:{self.depth},width={self.width}")
        return (8 if lab.dtype == "float64" else 4) * weights * (self.seeds * (2 * self.epochs + 8) + 64)

    def multiply_adds(self, pixels: int) -> float:
        """Of both kinds."""
        return 2 * convolutions(self.depth, self.width, pixels)

    def seconds_beside_training(self, examples: int, pixels: int) -> float:
        """Of the points of all grids."""
        points = self.points * len(self.rows_here) * (self.seeds * self.pairs + 1)
        return points * min(self.sample, examples) * self.multiply_adds(pixels) / FORWARD

    def _shared(self, lab: Lab) -> "Shared":
        """The trained nets, which bands share."""
        from resexp.training.checkpoint import checkpoint_of
        from resexp.training.shared import Shared

        whole = self.model_copy(update={"band": "1/1"})
        of = self.part[1]
        return Shared(checkpoint_of(whole, lab).part("trained") if of > 1 else None, of)

    def train(self, lab: Lab) -> "SurfacesFound":
        """Train, or find what another band trained, and evaluate the planes."""
        from resexp.training.landscape import Surfaces, one_thread
        from resexp.training.objective import classification
        from resexp.training.surface_rows import SurfacesFound, holding

        data = self.load_data(lab).as_images()
        names = {kind: f"{KINDS[kind]}:{self.depth},width={self.width}" for kind in KINDS}
        nets = {kind: self.make_nets(lab, name, data) for kind, name in names.items()}
        progress = self._progress(lab, len(data.train))
        trained = self._shared(lab).get(lambda: self._trained(lab, nets, data, progress))
        progress.trained()
        kept, by_batch = self.checkpoint(lab).part("surfaces"), self.mode == "train"
        surfaces = Surfaces(kept, classification(), by_batch, progress.rows_done)
        with one_thread():
            found = {
                f"{kind}:{self.depth}": self._of_kind(lab, kind, nets[kind], trained, data, surfaces) for kind in KINDS
            }
        plain, residual = (net.over_seeds["share_not_convex"] for net in found.values())
        claims = {
            "residual_is_more_convex": holding(residual < plain, residual, plain),
            "residual_is_nearly_convex": holding(residual <= NEARLY_CONVEX, residual),
        }
        return SurfacesFound(found, claims)

    def _progress(self, lab: Lab, examples: int) -> "SurfaceProgress":
        """Progress in forward passes of the sample."""
        from resexp.training.surface_progress import SurfaceProgress

        passes = self.seeds * self.epochs * examples / min(self.sample, examples)
        training, rows = round(passes * FORWARD / TRAINED), (self.seeds * self.pairs + 1) * len(self.rows_here)
        return SurfaceProgress(lab.progress, len(KINDS), training, len(KINDS) * rows, self.points)

    def _trained(
        self, lab: Lab, nets: "Mapping[str, list[nn.Module]]", data: "Data", progress: "SurfaceProgress"
    ) -> "dict[str, Tensor]":
        """Train the nets; what is needed of them, as tensors by kind/name, for a checkpoint to keep."""
        from dataclasses import replace

        import torch

        from resexp.training.fit import fit
        from resexp.training.trajectory import Trajectory, watch_weights

        plan = self.plan(rate=self.rate, weight_decay=self.weight_decay)
        found = {}
        for number, (kind, some) in enumerate(nets.items()):
            here = replace(lab, progress=progress.of_training(number))
            history = fit(some, data, plan, here, watch=watch_weights, checkpoint=self.checkpoint(lab).part(kind))
            found[f"{kind}/diverged"] = torch.tensor([-1 if s is None else s for s in history.diverged])
            found[f"{kind}/train_error"] = history.train_error[-1]
            found[f"{kind}/test_error"] = history.test_error[-1]
            found[f"{kind}/loss"] = torch.cat([history.step_loss[:1], history.train_loss])  # (epochs + 1, seeds)
            for seed, net in enumerate(some):
                trajectory = Trajectory.of(history.watched["weights"][:, seed].nan_to_num())
                found[f"{kind}/{seed}/directions"] = trajectory.directions
                found[f"{kind}/{seed}/places"] = trajectory.places
                found[f"{kind}/{seed}/explained"] = trajectory.explained
                found |= {f"{kind}/{seed}/net/{name}": t.clone() for name, t in net.state_dict().items()}
        return found

    def _of_kind(
        self,
        lab: Lab,
        kind: str,
        nets: "list[nn.Module]",
        trained: "Mapping[str, Tensor]",
        data: "Data",
        surfaces: "Surfaces",
    ) -> "NetFound":
        """Planes of the nets of one kind."""
        import numpy as np

        from resexp.training.landscape import loss_at
        from resexp.training.surface_rows import NetFound, PathFound

        planes: list[PlaneFound] = []
        shares, centres, largest = [], [], []
        for seed, net in enumerate(nets):
            start = f"{kind}/{seed}/net/"
            net.load_state_dict({name.removeprefix(start): t for name, t in trained.items() if name.startswith(start)})
            of_pairs = [self._random(lab, kind, seed, pair, net, data, surfaces) for pair in range(self.pairs)]
            shares.append(float(np.median([share for _, share in of_pairs])))
            losses = np.stack([plane.loss.numpy() for plane, _ in of_pairs])
            few = data.limited(self.sample).train
            centres.append(loss_at(net, few, surfaces.objective, batch_statistics=surfaces.batch_statistics))
            largest.append(float(losses.max()))
            planes.extend(plane for plane, _ in of_pairs)
        planes.append(self._along_trajectory(kind, nets[0], trained, data, surfaces))
        explained = np.stack([trained[f"{kind}/{seed}/explained"].numpy() for seed in range(self.seeds)])
        over_seeds = {
            "share_not_convex": np.array(shares),
            "centre_loss": np.array(centres),
            "largest_loss": np.array(largest),
            "trajectory_explained_1": explained[:, 0],
            "trajectory_explained_2": explained[:, 1],
            "train_error": trained[f"{kind}/train_error"].numpy(),
            "test_error": trained[f"{kind}/test_error"].numpy(),
        }
        path = PathFound(0, trained[f"{kind}/0/places"], trained[f"{kind}/loss"][:, 0])
        diverged = [None if step < 0 else int(step) for step in trained[f"{kind}/diverged"]]
        return NetFound(over_seeds, planes, path, diverged)

    def _random(
        self, lab: Lab, kind: str, seed: int, pair: int, net: "nn.Module", data: "Data", surfaces: "Surfaces"
    ) -> "tuple[PlaneFound, float]":
        """One plane of random directions, and the share of its points that are not convex."""
        import torch

        from resexp.training.landscape import Plane, filter_normalised, share_not_convex
        from resexp.training.surface_rows import PlaneFound

        def plane() -> "Plane":
            generator = torch.Generator().manual_seed(lab.key("directions", seed, pair) % 2**63)
            drawn = filter_normalised(net, generator), filter_normalised(net, generator)
            return Plane(net, drawn, data.limited(self.sample).train)

        here, x = self.rows_here, self.along(-self.span, self.span)
        around = range(max(0, here.start - 1), min(self.points, here.stop + 1))  # second differences need neighbours
        loss = surfaces.of(f"{kind}/{seed}/{pair}", plane, x, [x[row] for row in around])
        share = share_not_convex(loss, x[1] - x[0])
        first = here.start - around.start
        return PlaneFound("random", seed, pair, x, [x[r] for r in here], loss[first : first + len(here)]), share

    def _along_trajectory(
        self, kind: str, net: "nn.Module", trained: "Mapping[str, Tensor]", data: "Data", surfaces: "Surfaces"
    ) -> "PlaneFound":
        """The plane in which the first net's training moved most."""
        from resexp.training.landscape import Plane, shaped
        from resexp.training.surface_rows import PlaneFound

        def plane() -> "Plane":
            one, other = (shaped(net, direction) for direction in trained[f"{kind}/0/directions"])
            return Plane(net, (one, other), data.limited(self.sample).train)

        places = trained[f"{kind}/0/places"]
        margin = MARGIN * (places.amax(0) - places.amin(0))
        (left, bottom), (right, top) = (places.amin(0) - margin).tolist(), (places.amax(0) + margin).tolist()
        x, y = self.along(left, right), self.along(bottom, top)
        y = [y[row] for row in self.rows_here]
        return PlaneFound("trajectory", 0, None, x, y, surfaces.of(f"{kind}/trajectory", plane, x, y))
