"""A survey as rows, headline figures, families and notes."""

from collections.abc import Iterator, Sequence

import numpy as np

from resexp.core.result import STATISTICS_COLUMNS, FamilyResult, Result, Row, Value, Verdict
from resexp.core.statistics import Samples, Summary, summarise
from resexp.probing.advice import law_told, sentences
from resexp.probing.findings import Finding, findings
from resexp.probing.stages import Stage
from resexp.probing.survey import Series, Survey

FEWEST = 3
"""Values of a stage from which its growth is a figure."""
STRAIGHT = {None, "constant", "exponential"}
"""Laws that are the same for a curve and its inverse, and none."""


def rows(survey: Survey) -> Iterator[Row]:
    """Each quantity at each addition, and where the stream enters each stage (block 0)."""
    for stage in survey.stages:
        first = stage.additions[0]
        if first in survey.before:
            name = survey.additions[first].name
            yield from _moments(_place(stage.number, 0, f"into {name}", "stream"), survey.before[first])
        for k in stage.additions:
            place = _place_of(survey, stage, k)
            yield from _moments(place, survey.after[k])
            if np.isfinite(survey.off[k]).all():
                yield Row(place, "dead_units", Samples.of(survey.off[k]))
            if not survey.draws.fixed and np.isfinite(survey.ratio[k]).all():
                yield Row(place, "second_moment_over_expected", Samples.of(survey.ratio[k]), statistic=survey.ratio[k])


def _place_of(survey: Survey, stage: Stage, k: int) -> dict[str, str | int]:
    addition = survey.additions[k]
    branch = f" ({addition.sum.branch})" if stage.period > 1 or addition.sum.branch == "attention" else ""
    return _place(stage.number, stage.block_of(k), f"{addition.name}{branch}", addition.sum.shortcut)


def _place(stage: int, block: int, name: str, shortcut: str) -> dict[str, str | int]:
    return {"stage": stage, "block": block, "name": name, "shortcut": shortcut}


def _moments(place: dict[str, str | int], series: Series) -> Iterator[Row]:
    yield Row(place, "activation_second_moment", Samples.of(series.second))
    if not np.isnan(series.batch_variance).all():
        yield Row(place, "activation_batch_variance", Samples.of(series.batch_variance))
    if series.has_gradient:
        yield Row(place, "gradient_second_moment", Samples.of(series.gradient))
        yield Row(place, "gradient_norm", Samples.of(series.gradient_norm))


def complete(result: Result, survey: Survey) -> Result:
    """The assessed rows with the counts, growth, laws and advice that no single row holds."""
    found = findings(survey)
    figures = [*_counts(survey), *_figures(survey, found)]
    result.headline[:0] = figures
    for finding in found:
        result.families.extend(_laws(finding))
    result.notes[:0] = sentences(survey, found)
    return result


def _counts(survey: Survey) -> Iterator[dict[str, Value]]:
    shortcuts = [a.sum.shortcut for a in survey.additions]
    yield _figure("residual_additions", len(shortcuts))
    for kind in ("identity", "projection"):
        yield _figure(f"{kind}_shortcuts", shortcuts.count(kind))


def _figures(survey: Survey, found: Sequence[Finding]) -> Iterator[dict[str, Value]]:
    several = len(found) > 1
    for finding in found:
        of_stage = f"_stage_{finding.stage.number}" if several else ""
        grown = {"activation": finding.forward, "batch_variance": finding.variance, "gradient": finding.backward}
        for name, growth in grown.items():
            if growth is not None and growth.points >= FEWEST:
                theory = finding.known.growth if finding.known and name != "batch_variance" else None
                yield _summary(f"{name}_growth_per_block{of_stage}", growth.step, theory)
        for name, blocks in finding.overflow.items():
            yield _summary(f"overflow_block_{name}{of_stage}", summarise(Samples.of(blocks), positive=True))
    if len(survey.line):
        yield _summary("gradient_autocorrelation", summarise(Samples.of(survey.line), positive=False))
    rectified = [off for off in survey.off if np.isfinite(off).all()]
    if rectified:
        yield _summary("dead_units", summarise(Samples.of(np.mean(rectified, axis=0)), positive=False))


def _summary(name: str, summary: Summary, theory: float | None = None) -> dict[str, Value]:
    statistics: dict[str, Value] = {column: getattr(summary, column) for column in STATISTICS_COLUMNS[:6]}
    kind, verdict = ("limit", Verdict.NOT_JUDGED) if theory is not None else (None, Verdict.NO_THEORY)
    return {"quantity": name, **statistics, "theory": theory, "theory_kind": kind, "verdict": verdict.value}


def _figure(name: str, value: int) -> dict[str, Value]:
    statistics: dict[str, Value] = dict.fromkeys(STATISTICS_COLUMNS)
    return {"quantity": name, **statistics, "mean": value, "verdict": Verdict.NO_THEORY.value}


def _laws(finding: Finding) -> Iterator[FamilyResult]:
    """Which law each direction follows, beside that of the nearest known scheme."""
    known, beside_forward = finding.known, ""
    if known is not None:
        theory = f"{known.growth:.4g}x a block" if known.growth is not None else known.law
        beside_forward = f"; nearest known scheme: {known.name} ({known.told}), whose theory is {theory}"
    for name, growth, beside in (
        ("forward", finding.forward, beside_forward),
        ("batch_variance", finding.variance, ""),
        ("backward", finding.backward, ""),
    ):
        if growth is not None and growth.points >= FEWEST:
            inverse = ", its inverse from the input on" if name == "backward" and growth.law not in STRAIGHT else ""
            sentence = f"{law_told(growth, inverse)}{beside}."
            yield FamilyResult(f"stage_{finding.stage.number}_{name}", Verdict.NO_THEORY.value, None, sentence)
