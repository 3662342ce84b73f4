"""Experiments whose numbers are exact: counts and sizes, not samples."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from resexp.core.experiment import Experiment
from resexp.core.lab import Lab
from resexp.core.result import STATISTICS_COLUMNS, FamilyResult, Result, Value, Verdict


class Table(Experiment):
    """An experiment that lists exact numbers. Write `columns`, `table` and, if any, `headlines` and `notes`."""

    random: ClassVar[bool] = False

    columns: ClassVar[tuple[str, ...]] = ()
    """Columns of the rows."""

    def columns_here(self) -> tuple[str, ...]:
        """The columns at these parameters; override it where they depend on them."""
        return self.columns

    @abstractmethod
    def table(self) -> Iterable[dict[str, Value]]:
        """Yield the rows."""

    def headlines(self) -> Iterable[tuple[str, float | int, float | int | None]]:
        """Figures under the table: (name, value, what an independent formula says or None)."""
        return ()

    def notes(self) -> Iterable[str]:
        """What a reader must know of how the numbers were made."""
        return ()

    def estimate_seconds(self, lab: Lab) -> float | None:
        """Exact numbers take moments; override it where they do not."""
        return 0.0

    def compute(self, lab: Lab) -> Result:
        """List the rows; hold each headline that has an independent formula against it."""
        result = Result(self.columns_here(), list(self.table()), notes=list(self.notes()))
        for name, value, theory in self.headlines():
            verdict = _exact_verdict(value, theory)
            statistics: dict[str, Value] = dict.fromkeys(STATISTICS_COLUMNS)
            kind = "exact" if theory is not None else None
            statistics |= {"mean": value, "theory": theory, "theory_kind": kind, "verdict": verdict.value}
            result.headline.append({"quantity": name, **statistics})
            if theory is not None:
                p_value = 0.0 if verdict is Verdict.DISAGREE else 1.0
                result.families.append(FamilyResult(name, verdict.value, p_value, f"{value} against {theory}."))
        return result


def _exact_verdict(value: float, theory: float | None) -> Verdict:
    """Integers must be equal; floats equal to rounding."""
    if theory is None:
        return Verdict.NO_THEORY
    if isinstance(value, int) and isinstance(theory, int):
        same = value == theory
    else:
        same = abs(value - theory) <= 1e-9 * max(abs(value), abs(theory))
    return Verdict.AGREE if same else Verdict.DISAGREE
