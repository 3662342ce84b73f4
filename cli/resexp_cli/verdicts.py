"""What --check does: a claim about all families of a run at once."""

from collections.abc import Sequence

from resexp.core.errors import ResexpError
from resexp.core.result import ALPHA, Result, Verdict


def check_verdicts(results: Sequence[Result]) -> str:
    """Say that the run agrees with its theory, or raise ResexpError (exit 1) where it does not.

    The level of the whole run is alpha: each family's p-value is held against alpha over the number of families.
    """
    families = [family for result in results for family in result.families if family.p_value is not None]
    wrong = [f for f in families if f.p_value is not None and f.p_value < ALPHA / max(1, len(families))]
    if wrong:
        told = "\n".join(f"  {family.quantity}: {family.sentence}" for family in wrong)
        raise ResexpError(f"{len(wrong)} of {len(families)} quantities disagree with their theory:\n{told}")
    return f"check met: no disagreement beyond chance among {len(families)} judged quantities"


def chance(results: Sequence[Result]) -> str | None:
    """How many families chance alone would call `disagree`, where some are; None where none is."""
    families = [family for result in results for family in result.families if family.p_value is not None]
    wrong = sum(family.verdict == Verdict.DISAGREE for family in families)
    if not wrong:
        return None
    expected = ALPHA * len(families)
    return f"{wrong} of {len(families)} judged quantities disagree; chance alone makes about {expected:.2g}."
