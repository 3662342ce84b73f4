"""Experiments on random networks: what a contributor writes. Statistics and verdicts follow in assessment.py.

Declarations import neither numpy nor torch, so that listing experiments and their options is quick.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from resexp.core.experiment import Experiment
from resexp.core.lab import Lab
from resexp.core.result import STATISTICS_COLUMNS, Prediction, Quantity, Result, Row

if TYPE_CHECKING:
    from resexp.core.measured import Measured
    from resexp.core.statistics import Summary

    Figure = tuple[str, Summary | None, float | None, str]


def evenly_spaced(last: int, most: int) -> tuple[int, ...]:
    """At most `most` whole numbers from 0 to `last`, both among them; all where they are so few."""
    if last < most:
        return tuple(range(last + 1))
    return tuple(round(i * last / (most - 1)) for i in range(most))


class Ensemble(Experiment):
    """An experiment that measures many random networks and holds each number against its theory.

    Write `measure` and `theory`; statistics, verdicts, rows and headline figures follow.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = ()
    """What is measured, and how each quantity is judged."""

    @abstractmethod
    def measure(self, lab: Lab) -> Iterator[Row]:
        """Yield each quantity at each place, measured on every network."""

    @abstractmethod
    def theory(self, quantity: str, *args: Any, **axes: Any) -> Prediction | None:
        """What the closed form or the limit says there; None where there is none."""

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """Further figures under the table: (name, summary, theory, kind of theory); none by default."""
        return ()

    def notes(self) -> Iterable[str]:
        """What a reader must know of these parameters; nothing by default."""
        return ()

    def quantities_here(self) -> tuple[Quantity, ...]:
        """The quantities at these parameters; override it where they are judged differently at different ones."""
        return self.quantities

    def columns_here(self) -> tuple[str, ...]:
        """Columns of the rows."""
        return (*self.axes, "quantity", *STATISTICS_COLUMNS)

    def compute(self, lab: Lab) -> Result:
        """Measure, judge and lay out the rows."""
        from resexp.core.assessment import assess

        return assess(self, self.measure(lab))
