"""What --check does: a claim about all families of a run at once."""

from collections.abc import Sequence

from resexp.core.errors import ResexpError
from resexp.core.result import ALPHA, FamilyResult, Result, Verdict


def check_verdicts(results: Sequence[Result]) -> str:
    """Say that the run agrees with its theory, or raise ResexpError (exit 1) where it does not.

    The level of the whole run is alpha: each family's p-value is held against alpha over the number of families.
    """
    families = _judged(results)
    wrong = [f for f in families if f.p_value is not None and f.p_value < ALPHA / max(1, len(families))]
    if wrong:
        told = "\n".join(f"  {family.quantity}: {family.sentence}" for family in wrong)
        raise ResexpError(f"{len(wrong)} of {len(families)} quantities disagree with their theory:\n{told}")
    return f"check met: no disagreement beyond chance among {len(families)} checked quantities"


def _judged(results: Sequence[Result]) -> list[FamilyResult]:
    unjudged = {Verdict.NOT_JUDGED, Verdict.NO_THEORY}
    return [family for result in results for family in result.families if family.verdict not in unjudged]


def chance(results: Sequence[Result]) -> str | None:
    """How many families chance alone would call `disagree`, where some are; None where none is."""
    families = _judged(results)
    wrong = sum(family.verdict == Verdict.DISAGREE for family in families)
    if not wrong:
        return None
    expected = ALPHA * len(families)
    return f"{wrong} of {len(families)} judged quantities disagree; chance alone makes about {expected:.2g}."
