"""What an experiment gives back: long, tidy rows, headline figures, judged families, notes.

Everything in a Result is plain data (str, int, float, None), ready for CSV and JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from resexp.core.statistics import Array, Samples

Value = str | int | float | None
Judged = Literal["log increments", "increments", "level", "ratio", "share", "nothing"]
TheoryKind = Literal["exact", "limit", "finite-width", "monte-carlo", "reference"]

STATISTICS_COLUMNS = (
    "mean",
    "stderr",
    "ci_low",
    "ci_high",
    "median",
    "draws",
    "theory",
    "theory_kind",
    "verdict",
)
"""Columns of a measured number, a public interface: ci is the 95 % interval of the mean over networks."""


ALPHA = 0.005
"""Probability that a family whose theory is true is called `disagree`."""


class Verdict(StrEnum):
    """What can be said of a number that stands beside a theory."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNDERPOWERED = "underpowered"
    NOT_JUDGED = "not judged"
    NO_THEORY = "no theory"


@dataclass(frozen=True)
class Row:
    """One quantity at one place, measured on every network.

    axes: where (`{"block": 3}`, `{"stage": 1, "name": "layer1.0"}`); samples: (draws,);
    statistic: (draws,) what is judged, where that is not the sample itself;
    denominator: (draws,) for a ratio of means over networks, whose numerator the samples then are.
    """

    axes: Mapping[str, Any]
    quantity: str
    samples: "Samples"
    statistic: "Array | None" = None
    denominator: "Array | None" = None


@dataclass(frozen=True)
class Prediction:
    """What theory says of a Row.

    log: natural logarithm of the mean over networks (positive quantities; no depth overflows it);
    value: the mean itself where it may be negative;
    typical_log: mean over networks of the logarithm, which at finite width is below `log`;
    judged: expectation of the Row's `statistic` where it has one;
    bias: declared bound on the error of the judged increment into this row (0 where exact);
    rare: where what is measured happens in few networks only, a bound on the bias times the number of networks: the
    bias is then at least rare / draws, and falls when seeds are pooled.
    """

    kind: TheoryKind
    log: float | None = None
    value: float | None = None
    typical_log: float | None = None
    judged: float | None = None
    bias: float = 0.0
    rare: float = 0.0
    is_definition: bool = False

    def __post_init__(self) -> None:
        """Refuse a kind that does not exist."""
        if self.kind not in get_args(TheoryKind):
            raise ValueError(
                f"the kind of a theory must be one of {', '.join(get_args(TheoryKind))}, not '{self.kind}'"
            )


@dataclass(frozen=True)
class Quantity:
    """A measured quantity and how it is judged.

    judged: `log increments` (growth from row to row), `increments` (what a row adds), `level` (the statistic itself),
    `ratio` (of means over networks, by Fieller's residual), `share` (1 or 0 in each network, theory 1 or 0: what most
    networks give, by the exact binomial test) or `nothing`;
    margin: how far off, in the judged statistic, still counts as the same;
    headline: name of the figure that sums the family up; reverse: rows grow from the last to the first;
    hidden: judged and summed up, but without rows of its own.
    """

    name: str
    meaning: str
    positive: bool = True
    judged: Judged = "log increments"
    margin: float = 0.02
    headline: str | None = None
    reverse: bool = False
    hidden: bool = False

    def __post_init__(self) -> None:
        """Refuse a way of judging that does not exist."""
        if self.judged not in get_args(Judged):
            raise ValueError(f"{self.name}: judged must be one of {', '.join(get_args(Judged))}, not '{self.judged}'")


@dataclass(frozen=True)
class FamilyResult:
    """Verdict on one quantity over all its rows, in a word, a number and a sentence.

    moments: what is kept of the networks (core/pooling.py), so that runs with other seeds can be pooled.
    """

    quantity: str
    verdict: str
    p_value: float | None
    sentence: str
    moments: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Result:
    """Rows (dicts over `columns`), headline figures, families and notes of one cell."""

    columns: tuple[str, ...]
    rows: list[dict[str, Value]]
    headline: list[dict[str, Value]] = field(default_factory=list)
    families: list[FamilyResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
