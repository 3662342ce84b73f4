"""The loss of a trained net on a plane through its weights: directions, the loss at points of the plane, curvature.

    f(x, y) = loss(theta + x d1 + y d2)

Filter normalisation: each filter of a random direction, and each row of a linear layer, gets the norm of the net's own,
so that a step of 1 is as long as the weights wherever it goes. Biases and the scales and shifts of normalisers stay
where they are, as in the authors' code.

Sources: Li et al. 2018, sections 4 and 7, and its code.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from resexp.training.checkpoint import Checkpoint
from resexp.training.data.dataset import Examples
from resexp.training.grouping import widest
from resexp.training.objective import Objective, evaluate
from resexp.training.side_by_side import SideBySide

CACHE = 2 * 2**20
"""Bytes of one activation of all points that are evaluated as one; measured with residual-32 of width 8."""
FEWEST, MOST = 2, 16
CURVED_DOWN = 0.1
"""A point is not convex where the least eigenvalue is negative and exceeds this share of the largest in size."""

Direction = dict[str, Tensor]
"""A tensor for each parameter that moves, by its name."""


def filter_normalised(net: nn.Module, generator: torch.Generator) -> Direction:
    """A normal direction whose filters have the norms of the net's own. The generator is the processor's."""
    direction = {}
    for name, weight in net.named_parameters():
        if weight.dim() > 1:
            drawn = torch.randn(weight.shape, generator=generator).to(weight.device, weight.dtype)
            direction[name] = drawn * (norms(weight.detach()) / norms(drawn))
    return direction


def norms(weight: Tensor) -> Tensor:
    """Norm of each filter, (filters, 1, ...)."""
    found: Tensor = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())), keepdim=True)
    return found


def shaped(net: nn.Module, vector: Tensor) -> Direction:
    """The direction whose tensors behind each other are the vector (parameters,)."""
    parameters = dict(net.named_parameters())
    parts = torch.split(vector, [parameter.numel() for parameter in parameters.values()])
    return {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}


class Plane:
    """A plane through a net's weights, and several of its points evaluated side by side."""

    def __init__(self, net: nn.Module, directions: tuple[Direction, Direction], examples: Examples) -> None:
        size = len(examples) * widest(net, examples.inputs[:1]) * examples.inputs.element_size()
        self.most = max(FEWEST, min(MOST, CACHE // size))
        self._net, self._examples = net, examples
        self._start = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
        self._directions = directions
        self._joined: SideBySide | None = None

    @torch.no_grad()
    def losses(self, points: Tensor, objective: Objective, *, batch_statistics: bool = False) -> tuple[Tensor, Tensor]:
        """Loss and error at points (points, 2), float64 (points,) each; the net is left as it was.

        As many points are evaluated as one as fit in equal parts; rounding may depend on how many.
        """
        parts = -(-len(points) // self.most)
        together = -(-len(points) // parts)
        padded = torch.cat([points, points[-1:].expand(parts * together - len(points), 2)])
        net = self._side_by_side(together)
        found = []
        for some in torch.split(padded, together):
            self._move(net, some)
            found.append(torch.stack(evaluate(net, self._examples, objective, batch_statistics=batch_statistics)))
        loss, error = torch.cat(found, dim=1)[:, : len(points)]
        return loss, error

    def _side_by_side(self, count: int) -> SideBySide:
        if self._joined is None or self._joined.count != count:
            self._joined = SideBySide([copy.deepcopy(self._net) for _ in range(count)])
        return self._joined

    def _move(self, net: SideBySide, points: Tensor) -> None:
        """Put copy k of the net at point k."""
        for link in net.links:
            parts = [direction[link.name] for direction in self._directions if link.name in direction]
            if parts:
                place = points.to(parts[0].device, parts[0].dtype)
                moved = torch.tensordot(place[:, : len(parts)], torch.stack(parts), dims=1)  # (points, *shape)
                link.joined.copy_((self._start[link.name] + moved).view_as(link.joined))


def loss_at(net: nn.Module, examples: Examples, objective: Objective, *, batch_statistics: bool) -> float:
    """Loss of the net as it is; it is left so."""
    one = SideBySide([copy.deepcopy(net)])
    return float(evaluate(one, examples, objective, batch_statistics=batch_statistics)[0])


def share_not_convex(surface: Tensor, step: float) -> float:
    """Share of the inner points of a square grid at which the loss (rows, columns) is not convex in the plane.

    Eigenvalues are those of the 2 x 2 Hessian by central differences; step: between points, the same both ways. Points
    beside one without a finite loss do not count; nan where none is left.
    """
    least, largest = curvature(surface, step)
    known = least.isfinite() & largest.isfinite()
    bent = (least < 0) & (least.abs() > CURVED_DOWN * largest.abs())
    return float(bent[known].double().mean()) if known.any() else float("nan")


def curvature(surface: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Least and largest eigenvalue at the inner points, (rows - 2, columns - 2) each."""
    middle = surface[1:-1, 1:-1]
    along_x = surface[1:-1, 2:] - 2 * middle + surface[1:-1, :-2]
    along_y = surface[2:, 1:-1] - 2 * middle + surface[:-2, 1:-1]
    mixed = (surface[2:, 2:] - surface[2:, :-2] - surface[:-2, 2:] + surface[:-2, :-2]) / 4
    centre, radius = (along_x + along_y) / 2, torch.hypot((along_x - along_y) / 2, mixed)
    return (centre - radius) / step**2, (centre + radius) / step**2


def row_points(x: Sequence[float], y: float) -> Tensor:
    """Points (x, y) of one row of a grid, (points, 2)."""
    along = torch.tensor(x, dtype=torch.float64)
    return torch.stack([along, torch.full_like(along, y)], dim=1)


@dataclass
class Surfaces:
    """Losses on grids, row by row, kept as they come. checkpoint: where those of a run that was killed are.

    tell: called with the number of rows that are done.
    """

    checkpoint: Checkpoint
    objective: Objective
    batch_statistics: bool
    tell: Callable[[int], None]
    _rows: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept = self.checkpoint.load()
        if kept is not None:
            self._rows = dict(kept[0])

    def of(self, name: str, plane: Callable[[], Plane], x: Sequence[float], y: Sequence[float]) -> Tensor:
        """Losses (rows, columns) at all x and y; plane: makes the plane where rows are missing."""
        rows = self._rows.setdefault(name, torch.empty(0, len(x), dtype=torch.float64))
        through = plane() if len(rows) < len(y) else None
        self.tell(len(rows))
        for place in y[len(rows) :]:
            assert through is not None
            loss, _error = through.losses(row_points(x, place), self.objective, batch_statistics=self.batch_statistics)
            self._rows[name] = torch.cat([self._rows[name], loss.cpu()[None]])
            self.tell(1)
            if self.checkpoint.is_due():
                self.checkpoint.save(self._rows, {})
        return self._rows[name]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch, so that the same bytes come out whatever number is set."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
