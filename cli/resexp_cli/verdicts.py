"""What --check does: a claim about all families of a run at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from resexp.core.errors import ResexpError
from resexp.core.result import ALPHA, FamilyResult, Result, Verdict


@dataclass
class Judged:
    """The judged families of a run, counted; kept are only those that may disagree.

    results: how many were added; families: how many were judged; disagreeing: of these; improbable: p below alpha.
    """

    results: int = 0
    families: int = 0
    disagreeing: int = 0
    improbable: list[FamilyResult] = field(default_factory=list)

    @classmethod
    def of(cls, results: Iterable[Result]) -> Self:
        """All of the results."""
        judged = cls()
        for result in results:
            judged.add(result)
        return judged

    def add(self, result: Result) -> None:
        """Count the families of one more result."""
        self.results += 1
        for family in result.families:
            if family.verdict not in {Verdict.NOT_JUDGED, Verdict.NO_THEORY}:
                self.families += 1
                self.disagreeing += family.verdict == Verdict.DISAGREE
                if family.p_value is not None and family.p_value < ALPHA:
                    self.improbable.append(replace(family, moments=None))


def check_verdicts(judged: Judged) -> str:
    """Say that the run agrees with its theory, or raise ResexpError (exit 1) where it does not.

    The level of the whole run is alpha: each family's p-value is held against alpha over the number of families.
    """
    level = ALPHA / max(1, judged.families)
    wrong = [f for f in judged.improbable if f.p_value is not None and f.p_value < level]
    if wrong:
        told = "\n".join(f"  {family.quantity}: {family.sentence}" for family in wrong)
        raise ResexpError(f"{len(wrong)} of {judged.families} quantities disagree with their theory:\n{told}")
    return f"check met: no disagreement beyond chance among {judged.families} checked quantities"


def chance(judged: Judged) -> str | None:
    """How many families chance alone would call `disagree`, where some are; None where none is."""
    if not judged.disagreeing:
        return None
    wrong, families = judged.disagreeing, judged.families
    return f"{wrong} of {families} judged quantities disagree; chance alone makes about {ALPHA * families:.2g}."
