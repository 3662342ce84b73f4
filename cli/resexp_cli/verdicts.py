"""What --check does: a claim about all families of a run at once."""

from collections.abc import Sequence

from resexp.core.errors import ResexpError
from resexp.core.result import ALPHA, Result


def check_verdicts(results: Sequence[Result]) -> None:
    """Raise ResexpError (exit 1) where a family disagrees with its theory.

    The level of the whole run is alpha: each family's p-value is held against alpha over the number of families.
    """
    families = [family for result in results for family in result.families if family.p_value is not None]
    wrong = [f for f in families if f.p_value is not None and f.p_value < ALPHA / max(1, len(families))]
    if wrong:
        told = "\n".join(f"  {family.quantity}: {family.sentence}" for family in wrong)
        raise ResexpError(f"{len(wrong)} of {len(families)} families disagree with their theory:\n{told}")
