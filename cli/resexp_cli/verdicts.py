"""What --check does: a claim about all families of a run at once."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from resexp.core.errors import ResexpError
from resexp.core.result import ALPHA, FamilyResult, Result, Verdict

MOST_NAMED = 6
"""Quantities of one verdict that are named."""


@dataclass
class Judged:
    """The families of a run, counted; kept are only those that may disagree.

    results: how many were added; families: called agree or disagree; disagreeing: of these; tested: all that were held
    against a theory, whatever came of it; improbable: p below alpha; open: verdict and quantity of the others.
    """

    results: int = 0
    families: int = 0
    disagreeing: int = 0
    tested: int = 0
    improbable: list[FamilyResult] = field(default_factory=list)
    open: Counter[tuple[str, str]] = field(default_factory=Counter)

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
            self.tested += family.p_value is not None
            if family.verdict not in {Verdict.AGREE, Verdict.DISAGREE}:
                self.open[family.verdict, family.quantity] += 1
                continue
            self.families += 1
            self.disagreeing += family.verdict == Verdict.DISAGREE
            if family.p_value is not None and family.p_value < ALPHA:
                self.improbable.append(replace(family, moments=None))

    def add_unpooled(self, name: str) -> None:
        """Count a setting whose seeds could not be pooled, and so give no verdict."""
        self.results += 1
        self.open[Verdict.NOT_JUDGED, name] += 1

    def still_open(self) -> str:
        """The quantities without agree or disagree, by verdict; empty where there are none."""
        kinds = (Verdict.UNDERPOWERED, Verdict.NOT_JUDGED, Verdict.NO_THEORY)
        named = {kind: {q: n for (verdict, q), n in self.open.items() if verdict == kind} for kind in kinds}
        return "; ".join(f"{kind.value}: {_named(quantities)}" for kind, quantities in named.items() if quantities)


def _named(counts: dict[str, int]) -> str:
    """Names with how often each came; of many the first."""
    names = [name if count == 1 else f"{name} ({count} times)" for name, count in counts.items()]
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return ", ".join([*names[:MOST_NAMED], *more])


def check_verdicts(judged: Judged) -> str:
    """Say that the run agrees with its theory, or raise ResexpError (exit 1) where it does not, or nothing was judged.

    The level of the whole run is alpha: each p-value is held against alpha over the number of families that were
    tested, those too that came out underpowered: they might have disagreed.
    """
    still_open = judged.still_open()
    if not judged.families:
        because = f" ({still_open})" if still_open else ""
        hint = " Use more --draws." if any(verdict == Verdict.UNDERPOWERED for verdict, _ in judged.open) else ""
        nothing = "Check not met: no quantity was called agree or disagree, so nothing was checked"
        raise ResexpError(f"{nothing}{because}.{hint}")
    level = ALPHA / judged.tested
    wrong = [f for f in judged.improbable if f.p_value is not None and f.p_value < level]
    if wrong:
        told = "\n".join(f"  {family.quantity}: {family.sentence}" for family in wrong)
        raise ResexpError(f"{len(wrong)} of {judged.families} judged quantities disagree with their theory:\n{told}")
    met = f"check met: no disagreement beyond chance among {judged.families} judged quantities"
    return f"{met}; {still_open}" if still_open else met


def chance(judged: Judged) -> str | None:
    """How many families chance alone would call `disagree`, where some are; None where none is."""
    if not judged.disagreeing:
        return None
    wrong, families = judged.disagreeing, judged.families
    return f"{wrong} of {families} judged quantities disagree; chance alone makes about {ALPHA * judged.tested:.2g}."
