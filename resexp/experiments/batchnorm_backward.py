"""Batch normalisation forward and backward by hand, against autograd, finite differences and a closed form.

    m = mean z,   s^2 = mean (z - m)^2,   z' = gamma (z - m) / f5 + delta

    equation 11.8    f5 = s + eps              equation 11.10    f5 = sqrt(s^2 + eps)

The backward pass of problem 11.7, from u = dL/dz', with zhat = (z - m) / f5 and e = (z - m) / s:

    11.8     dL/dz = (gamma / f5) (u - mean u - e mean(u zhat))
    11.10    dL/dz = (gamma / f5) (u - mean u - zhat mean(u zhat))

The standard deviation s of one unit over the batch is swept from eps / 10^below to eps 10^above, and set to 0. z'
depends on z only through s and through the direction e. So the matrix dz'/dz multiplies a change of direction by
`across`, a change of s by `along`, and a change of the mean by 0 (theory/batchnorm_derivative.py):

             output deviation         across                  along
    11.8     gamma s/(s + eps)        gamma/(s + eps)         gamma eps/(s + eps)^2
    11.10    gamma s/sqrt(s^2 + eps)  gamma/sqrt(s^2 + eps)   gamma eps/(s^2 + eps)^(3/2)

For s much larger than sqrt(eps) they are the same. Below, 11.10 leaves small what is nearly constant, with a derivative
of gamma/sqrt(eps) at most; 11.8 goes on normalising down to s = eps, and its derivative goes on growing, to gamma/eps:
316 times as much at eps = 1e-5. At s = eps the outputs differ by sqrt(1 + eps) / (2 sqrt(eps)), 158 times.

At s = 0 the square root in 11.8 has no derivative: step by step, and in autograd, backward is 0/0. But z' itself has a
derivative there, gamma/eps across all directions; it is the formula above without its last term.

`off_...` is the largest difference of an entry of dz'/dz by hand, over the largest entry, from that by

    off_steps         the chain rule through the steps of problem 11.7, one after the other, in numpy
    off_autograd      autograd through the forward pass
    off_differences   central finite differences of the forward pass, 1e-5 s to either side

In float64, for one batch drawn with a fixed seed. All of it is exact, up to rounding (1e-12 of the largest entry) and,
in finite differences, the third derivative (1e-7).

Source: Prince 2023, equations 11.7-11.10 and problem 11.7; Ioffe and Szegedy 2015.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from resexp.core.experiment import Plot, param
from resexp.core.result import Value
from resexp.core.table import Table

if TYPE_CHECKING:
    from torch import Tensor

    from resexp.nets.by_hand import DividedBy
    from resexp.theory.batchnorm_derivative import Array

EQUATIONS: "dict[DividedBy, str]" = {"deviation": "11.8", "root": "11.10"}
STEP = 1e-5
ROUNDING, DIFFERENCES = 1e-12, 1e-7


class BatchNormBackward(Table):
    """Batch normalisation by hand against autograd, and dividing by s + eps against sqrt(s^2 + eps)."""

    batch: int = param(16, "values z in the batch, I", ge=3, le=512)
    eps: float = param(1e-5, "epsilon, in units of z for equation 11.8 and of its square for 11.10", ge=1e-30, le=1.0)
    gamma: float = param(1.0, "scale gamma after the normalisation", gt=0)
    below: int = param(2, "decades of the deviation s below eps", ge=0, le=8)
    above: int = param(5, "decades of the deviation s above eps", ge=0, le=30)

    axes = ("deviation",)
    columns = (
        "quantity",
        "deviation",
        "output_deviation",
        "across",
        "along",
        "off_steps",
        "off_autograd",
        "off_differences",
        "log10_deviation_over_eps",
    )
    plot = Plot(x="log10_deviation_over_eps", y="across", log_y=True)
    quick: ClassVar = {"batch": 8}
    examples = (
        "batchnorm-backward",
        "batchnorm-backward --eps 0.001 --plot backward.svg",
        "batchnorm-backward --batch 4,64,256 --format table",
    )

    def table(self) -> Iterator[dict[str, Value]]:
        """One row for each equation and deviation."""
        for case in self._cases():
            off = (case.off(other) for other in (case.steps, case.autograd, case.differences))
            values = (
                f"derivative of equation {EQUATIONS[case.by]}",
                case.s,
                case.output_deviation,
                case.across,
                case.along,
                *off,
                None if case.decade is None else float(case.decade),
            )
            yield dict(zip(self.columns, values, strict=True))

    def headlines(self) -> Iterator[tuple[str, float | int, float | int | None]]:
        """Entries of dz'/dz that agree, factors that do, and how far the equations are apart."""
        from resexp.theory import batchnorm_derivative as theory

        cases = list(self._cases())
        smooth = [case for case in cases if case.s > 0 or case.by == "root"]
        entries = self.batch**2
        steps = sum(case.agreeing(case.steps, ROUNDING) for case in smooth)
        yield "entries_equal_by_steps", steps, entries * len(smooth)
        autograd = sum(case.agreeing(case.autograd, ROUNDING) for case in smooth)
        yield "entries_equal_to_autograd", autograd, entries * len(smooth)
        differences = sum(case.agreeing(case.differences, DIFFERENCES) for case in cases)
        yield "entries_equal_to_differences", differences, entries * len(cases)
        factors = [self._factors(case) for case in cases]
        yield "factors_equal_to_closed_form", sum(map(sum, factors)), sum(map(len, factors))
        at_zero = {case.by: case for case in cases if case.s == 0}
        for by, number in EQUATIONS.items():
            nan = int(at_zero[by].autograd.isnan().sum())
            yield f"nan_of_autograd_at_zero_{number.replace('.', '_')}", nan, entries if by == "deviation" else 0
        at_eps = {case.by: case.output_deviation for case in cases if case.decade == 0}
        ratio = theory.divisor(self.eps, self.eps, "root") / theory.divisor(self.eps, self.eps, "deviation")
        yield "output_ratio_at_deviation_eps", at_eps["deviation"] / at_eps["root"], ratio
        ratio = 1 / math.sqrt(self.eps)
        yield "derivative_ratio_at_zero", at_zero["deviation"].across / at_zero["root"].across, ratio

    def notes(self) -> Iterable[str]:
        """What the columns are."""
        yield (
            "across, along: what dz'/dz multiplies a change of direction and of deviation by. off_...: dz'/dz by hand "
            "against that by steps, autograd and finite differences, over its largest entry; empty where that is 0/0."
        )

    def _cases(self) -> "Iterator[Case]":
        """Each equation at each deviation."""
        import numpy as np

        z = np.random.default_rng(0).standard_normal((self.batch, 1))
        direction = (z - z.mean()) / z.std()
        decades = (None, *range(-self.below, self.above + 1))
        for by in EQUATIONS:
            yield from (self._case(direction, decade, by) for decade in decades)

    def _case(self, direction: "Array", decade: int | None, by: "DividedBy") -> "Case":
        """dz'/dz in four ways; every column of the tensors is the same batch, differentiated in its own direction."""
        import torch

        from resexp.nets import by_hand
        from resexp.theory import batchnorm_derivative as theory

        def forward(z: "Tensor") -> "tuple[Tensor, by_hand.Saved]":
            return by_hand.forward(z, gamma, torch.zeros_like(gamma), self.eps, by)

        s = 0.0 if decade is None else float(f"{self.eps * 10.0**decade:.15g}")
        batch = s * (1 + direction)  # (batch, 1)
        one_of_each = torch.eye(self.batch, dtype=torch.float64)
        gamma = torch.full((self.batch,), self.gamma, dtype=torch.float64)
        z = torch.from_numpy(batch).repeat(1, self.batch).requires_grad_()  # (batch, batch)
        h, saved = forward(z)
        step = STEP * s if s else 1e-3 * STEP * self.eps
        with torch.no_grad():
            differences = (forward(z + step * one_of_each)[0] - forward(z - step * one_of_each)[0]) / (2 * step)
        return Case(
            by,
            s,
            decade,
            direction=torch.from_numpy(direction[:, 0]),
            output_deviation=float(h[:, 0].detach().std(correction=0)),
            hand=by_hand.backward(one_of_each, saved)[0].T.detach(),
            steps=torch.from_numpy(theory.by_steps(batch, one_of_each.numpy(), self.gamma, self.eps, by)).T,
            autograd=torch.autograd.grad(h, z, one_of_each)[0].T,
            differences=differences,
        )

    def _factors(self, case: "Case") -> list[bool]:
        """Which of the factors of a case are those of the closed form."""
        from resexp.theory import batchnorm_derivative as theory

        right = theory.across(case.s, self.gamma, self.eps, case.by)
        pairs = [(case.across, right)]
        if case.along is not None:
            pairs.append((case.along, theory.along(case.s, self.gamma, self.eps, case.by)))
            pairs.append((case.output_deviation / case.s, right))
        return [abs(measured - expected) <= ROUNDING * right for measured, expected in pairs]


@dataclass(frozen=True)
class Case:
    """An equation at one deviation s = eps 10^decade, or 0; dz'/dz in four ways, (batch, batch), z' by z."""

    by: "DividedBy"
    s: float
    decade: int | None
    direction: "Tensor"  # (batch), mean 0, deviation 1
    output_deviation: float
    hand: "Tensor"
    steps: "Tensor"
    autograd: "Tensor"
    differences: "Tensor"

    @property
    def across(self) -> float:
        """What the derivative by hand multiplies a change by that leaves mean and deviation alone."""
        change = self.direction.roll(1) - self.direction.roll(-1)
        change -= change.mean() + (change @ self.direction) / self.direction.square().sum() * self.direction
        return float(change @ self.hand @ change / change.square().sum())

    @property
    def along(self) -> float | None:
        """What it multiplies a change of the deviation by; None without one."""
        if self.s == 0:
            return None
        return float(self.direction @ self.hand @ self.direction / self.direction.square().sum())

    def off(self, other: "Tensor") -> float | None:
        """Largest difference of an entry by hand, over the largest entry; None where the other is nan."""
        largest = float((self.hand - other).abs().max() / self.hand.abs().max())
        return None if math.isnan(largest) else largest

    def agreeing(self, other: "Tensor", tolerance: float) -> int:
        """How many entries are the same, to so much of the largest."""
        return int(((self.hand - other).abs() <= tolerance * self.hand.abs().max()).sum())
