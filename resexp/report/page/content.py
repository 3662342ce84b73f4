"""What a page shows, before it is HTML: groups of sections, their runs, and what is read off each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resexp.core.result import FamilyResult, Value, Verdict
from resexp.report.command import commands_of
from resexp.report.page.picture import Picture, can_be_drawn, picture_of
from resexp.report.text import headlines, last_rows, short, swept_values
from resexp.runs.cell import Outcome

ORDER = (Verdict.DISAGREE, Verdict.UNDERPOWERED, Verdict.AGREE, Verdict.NOT_JUDGED, Verdict.NO_THEORY)
"""Which verdict stands for several: what matters most first."""
STATISTICS = ("quantity", "mean", "ci_low", "ci_high", "theory", "theory_kind", "verdict")
MOST_DRAWN = 12
"""Settings in one figure of a page."""
MOST_FAMILIES = 300
"""Sentences on families of one run, disagreeing ones first where there are more."""


@dataclass(frozen=True)
class Figure:
    """One number beside its theory. setting: what tells its setting from others; interval: of 95 %."""

    setting: str
    quantity: str
    measured: str
    interval: str
    theory: str
    kind: str
    verdict: str


@dataclass(frozen=True)
class Run:
    """An experiment at one setting or several.

    name: unique on the page; meaning: what the experiment measures; figures: numbers beside theory; families: verdicts
    on whole tables; facts: provenance; left_out: settings that are not in the picture; families_left_out: verdicts
    that are not told one by one.
    """

    name: str
    experiment: str
    meaning: str
    commands: Sequence[str]
    settings: int
    verdicts: Mapping[str, int]
    figures: Sequence[Figure]
    families: Sequence[tuple[str, FamilyResult]]
    notes: Sequence[str]
    facts: Mapping[str, str]
    pictures: Sequence[Picture] = ()
    left_out: int = 0
    families_left_out: int = 0

    @property
    def verdict(self) -> str:
        """The verdict that matters most."""
        return worst(self.verdicts)


@dataclass(frozen=True)
class Section:
    """A statement or an experiment, and the runs that show it.

    text, limit: Markdown; shown_elsewhere: runs that an earlier section of the page shows; missing: runs without a
    result, and why.
    """

    anchor: str
    title: str
    runs: Sequence[Run]
    text: str = ""
    limit: str = ""
    label: str = ""
    shown_elsewhere: Sequence[Run] = ()
    missing: Sequence[tuple[str, str]] = ()

    @property
    def all_runs(self) -> list[Run]:
        """Those shown here and elsewhere."""
        return [*self.runs, *self.shown_elsewhere]

    @property
    def verdict(self) -> str:
        """The verdict that matters most of its runs; `incomplete` where not all of them are there."""
        found = worst(Counter(run.verdict for run in self.all_runs)) if self.all_runs else "not run"
        return "incomplete" if self.missing and found not in {"not run", Verdict.DISAGREE} else found


@dataclass(frozen=True)
class Page:
    """title, introduction (Markdown), groups of sections by heading, facts for the foot."""

    title: str
    introduction: str
    groups: Mapping[str, Sequence[Section]]
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def sections(self) -> list[Section]:
        """All sections."""
        return [section for group in self.groups.values() for section in group]

    @property
    def verdicts(self) -> Counter[str]:
        """How many families of all runs have each verdict."""
        return sum((Counter(run.verdicts) for section in self.sections for run in section.runs), Counter())


def worst(verdicts: Mapping[str, int]) -> str:
    """The verdict that stands for all of them."""
    return next((str(verdict) for verdict in ORDER if verdicts.get(verdict)), str(Verdict.NO_THEORY))


def run_of(
    outcomes: Sequence[Outcome],
    name: str,
    *,
    shown: Sequence[str] = (),
    more: Sequence[Picture] = (),
    made_of: Sequence[Outcome] = (),
) -> Run:
    """What a page shows of outcomes of one experiment.

    shown: headline figures to show, all where there are none; more: further pictures; made_of: what was run, where the
    outcomes are pooled from it.
    """
    cells = [outcome.cell for outcome in outcomes]
    kind = type(cells[0].experiment)
    leads = swept_values(cells)
    families = [
        (_said(lead), family)
        for lead, outcome in zip(leads, outcomes, strict=True)
        for family in outcome.result.families
    ]
    verdicts = Counter(str(family.verdict) for _, family in families)
    if len(families) > MOST_FAMILIES:
        families.sort(key=lambda one: ORDER.index(Verdict(one[1].verdict)))
    pictures = list(more)
    if can_be_drawn(kind):
        pictures.insert(0, picture_of(_spread(outcomes), name))
    return Run(
        name=name,
        experiment=kind.name(),
        meaning=kind.summary(),
        commands=commands_of([outcome.cell for outcome in made_of or outcomes]),
        settings=len(outcomes),
        verdicts=verdicts,
        figures=_figures(outcomes, shown),
        families=families[:MOST_FAMILIES],
        families_left_out=len(families[MOST_FAMILIES:]),
        notes=list(dict.fromkeys(note for outcome in outcomes for note in outcome.result.notes)),
        facts=_facts(made_of or outcomes),
        pictures=pictures,
        left_out=max(0, len(outcomes) - MOST_DRAWN) if pictures else 0,
    )


def _spread(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Some of many settings, the first and the last among them, evenly spaced."""
    last = len(outcomes) - 1
    if last < MOST_DRAWN:
        return list(outcomes)
    return [outcomes[round(k * last / (MOST_DRAWN - 1))] for k in range(MOST_DRAWN)]


def _figures(outcomes: Sequence[Outcome], shown: Sequence[str]) -> list[Figure]:
    rows = headlines(outcomes) or last_rows(outcomes)
    if shown:
        rows = [row for row in rows if row["quantity"] in shown]
    return [_figure(row) for row in rows if "mean" in row and (row["mean"] is not None or row["theory"] is not None)]


def _figure(row: Mapping[str, Value]) -> Figure:
    low, high = row.get("ci_low"), row.get("ci_high")
    interval = f"{short(low)} to {short(high)}" if low is not None and high is not None else ""
    extra = {key: value for key, value in row.items() if key not in {*STATISTICS, "stderr", "median", "draws"}}
    return Figure(
        setting=_said(extra),
        quantity=str(row["quantity"]).replace("_", " "),
        measured=short(row["mean"]),
        interval=interval,
        theory=short(row["theory"]),
        kind=str(row.get("theory_kind") or ""),
        verdict=str(row.get("verdict") or ""),
    )


def _said(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {short(value)}" for name, value in values.items() if value is not None)


def _facts(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Where the numbers came from."""
    runs = [outcome.run for outcome in outcomes]

    def said(values: "list[Any]") -> str:
        different = list(dict.fromkeys(str(value) for value in values if value is not None))
        return ", ".join(different[:4]) + (f" and {len(different) - 4} more" if len(different) > 4 else "")

    seconds = sum(found for run in runs if isinstance(found := run.get("seconds"), int | float))
    of_each = [found for run in runs if isinstance(found := run.get("versions"), dict)]
    versions = [", ".join(f"{name} {number}" for name, number in found.items()) for found in of_each]
    facts = {
        "stored as": said([f"{run['experiment']}/{run['id']}" for run in runs]),
        "seed": said([run.get("seed") for run in runs]),
        "device": said([f"{run.get('device')}, {run.get('dtype')}" for run in runs]),
        "computed in": f"{seconds:.1f} s" if seconds >= 0.05 else "less than 0.1 s",
        "finished": said([str(run.get("finished", ""))[:16].replace("T", " ") for run in runs][-1:]),
        "versions": said(versions),
        "commit": said([run.get("git_commit") for run in runs]),
    }
    return {name: value for name, value in facts.items() if value}
