"""Sentences: what was found in a net, what it means, and what to do about it."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from resexp.core.statistics import Summary
from resexp.probing.findings import Finding
from resexp.probing.growth import Growth
from resexp.probing.stages import Stage
from resexp.probing.survey import Survey

MATTERS = 1.05
"""Growth a block above which something is said of it, if it adds up to more than HARMLESS."""
HARMLESS = 4.0
DEAD = 0.05
SHATTERED = 0.3
FEWEST_BLOCKS = 3
"""Blocks below which growth is not worth advice."""
SOON = 4
"""An overflow within so many times the depth is worth a sentence."""


def sentences(survey: Survey, found: Sequence[Finding]) -> Iterator[str]:
    """All that is worth saying, the advice first."""
    for finding in found:
        yield from _advice(survey, finding, several=len(found) > 1)
    yield from _signals(survey)
    yield from _structure(survey)
    yield from _not_measured(survey)


def law_told(growth: Growth) -> str:
    """Such as `exponential; 1.98x per block (95 % interval 1.95 to 2.01) over 16 blocks`."""
    steps, step = growth.points - 1, growth.step
    return f"{growth.told}; {_factor(step)} per block{_interval(step)} over {steps} block{'s' * (steps > 1)}"


def _factor(summary: Summary) -> str:
    return f"{summary.mean:.3g}x" if summary.mean is not None else "no number"


def _interval(summary: Summary) -> str:
    if summary.ci_low is None or summary.ci_high is None:
        return ""
    return f" (95 % interval {summary.ci_low:.3g} to {summary.ci_high:.3g})"


def _advice(survey: Survey, finding: Finding, *, several: bool) -> Iterator[str]:
    """Of one stage."""
    where = f"Stage {finding.stage.number}, {_span(survey, finding.stage)}: " if several else ""
    blocks, known = finding.stage.blocks, finding.known
    if blocks < FEWEST_BLOCKS:
        return
    explodes = _matters(finding.forward), _matters(finding.backward)
    if known.law == "exponential" and any(explodes):
        told = []
        if explodes[0] and finding.forward is not None:
            told.append(
                f"variance (second moment) grows {_factor(finding.forward.step)} per block over {blocks} blocks"
            )
        if explodes[1] and finding.backward is not None:
            told.append(f"the squared gradient grows {_factor(finding.backward.step)} per block towards the input")
        remedy = f"scale the branches by 1/sqrt({blocks}) = {1 / math.sqrt(blocks):.2g}, or normalise first"
        yield f"{where}{' and '.join(told)}: {remedy}."
    elif known.name == "post-norm" and finding.backward is not None and _matters(finding.backward, either=True):
        step = finding.backward.step
        yield (
            f"{where}the squared gradient changes by {_factor(step)} per block towards the input, as it does with a "
            "norm after each sum: warm the learning rate up, or normalise first in each branch."
        )
    elif known.law == "linear" and explodes[0] and finding.forward is not None and finding.forward.law == "exponential":
        yield (
            f"{where}the second moment grows {_factor(finding.forward.step)} per block, by a factor rather than a sum, "
            f"although there is {known.told}: later branches give out more than earlier ones; look at what follows the "
            "norm, and at the batch variance (inputs or tokens that become alike add up)."
        )
    elif known.law == "linear" and explodes[0] and finding.forward is not None:
        total = finding.forward.total.mean or 1.0
        yield (
            f"{where}the second moment grows {total:.3g} times over {blocks} blocks, by a sum rather than a factor, as "
            f"with {known.told}: no need to act; initialising the last layer of each branch {math.sqrt(blocks):.2g} "
            "times smaller would keep it level."
        )
    for name, beyond in finding.overflow.items():
        first = float(np.min(beyond))
        if first < SOON * blocks:
            yield (
                f"{where}{name} overflows at block {first:,.0f} to {float(np.max(beyond)):,.0f}, were the stage so "
                f"long; it has {blocks}."
            )


def _matters(growth: Growth | None, *, either: bool = False) -> bool:
    """Whether a growth is more than chance and adds up to something; either: or a shrinking does."""
    if growth is None or growth.step.ci_low is None or growth.step.ci_high is None or growth.total.mean is None:
        return False
    grows = growth.step.ci_low > MATTERS and growth.total.mean > HARMLESS
    shrinks = growth.step.ci_high < 1 / MATTERS and growth.total.mean < 1 / HARMLESS
    return grows or (either and shrinks)


def _signals(survey: Survey) -> Iterator[str]:
    """Dead units, shattered gradients, outputs that are no numbers."""
    if survey.unstable:
        lost = [k for k, s in enumerate(survey.after) if not np.isfinite(s.second).all()]
        where = (
            f"; the first sum that is not is {survey.additions[lost[0]].name or 'in the net itself'}" if lost else ""
        )
        yield f"The output is not finite in {survey.unstable} of {survey.ratio.shape[1]} draws{where}."
    measured = np.isfinite(survey.off).all(axis=1)
    if measured.any():
        share = np.where(measured, survey.off.mean(axis=1), 0.0)
        worst = int(np.argmax(share))
        if share[worst] > DEAD:
            yield (
                f"Dead units: {share[worst]:.0%} of the rectified units before {_few([survey.additions[worst].name])} "
                "are zero for every input of the batch. With a larger --batch those that are left are dead for good: "
                "normalise before the activation, or use a leaky one."
            )
    if len(survey.line) and survey.line.mean() < SHATTERED:
        yield (
            f"Gradients are shattered: 1/{survey.line_points - 1} of the way from one input to another, the gradient "
            f"correlates by {survey.line.mean():.2f} with what it was (1: it does not change)."
        )


def _structure(survey: Survey) -> Iterator[str]:
    """What the net is made of, where it is not what it seems."""
    first = survey.first
    if not survey.additions:
        yield "No residual additions were found: the net is plain, and there are no blocks to follow."
    if survey.equal_layers is not None:
        a, b = survey.equal_layers
        yield (
            f"{a} and {b} begin with the same numbers, as copies of one layer do (nn.TransformerEncoder): growth can "
            "look exponential where independent layers grow slowly. --init permuted draws each on its own."
        )
    changed = [a.name for a in survey.additions if a.changed]
    if changed:
        yield (
            f"An in-place activation changes the shortcut itself before it is added, in {_few(changed)}: what is added "
            "is the rectified signal. Use inplace=False there."
        )
    if first.parallel:
        yield f"{first.parallel} sums join parallel branches of which neither is a shortcut; they are not followed."
    if first.concatenations:
        yield f"{first.concatenations} concatenations join a signal with what a branch made of it; they add nothing."
    if first.recurrent:
        names = _few([name or "the net itself" for name in first.recurrent])
        yield f"{names} step in time inside one operation: not looked into, only what is added around them."
    if survey.draws.note:
        yield survey.draws.note


def _not_measured(survey: Survey) -> Iterator[str]:
    """What could not be looked at."""
    first = survey.first
    if first.no_gradient:
        yield f"Gradients are not measured: {first.no_gradient}."
    else:
        without = [a.name for a, s in zip(survey.additions, survey.after, strict=True) if not s.has_gradient]
        if without:
            yield (
                f"Gradients are not measured at {_few(without)}: no gradient reaches these sums, as under no_grad, "
                "reentrant checkpointing or in a reversible block."
            )
    if first.hidden:
        yield f"{first.hidden} additions are inside scripted code or autograd functions, and not looked into."
    if survey.missing:
        yield f"{survey.missing} additions are not in every draw (layers dropped at random), and left out."


def _span(survey: Survey, stage: Stage) -> str:
    names = [survey.additions[k].name for k in (stage.additions[0], stage.additions[-1])]
    return names[0] if names[0] == names[1] else f"{names[0]} to {names[1]}"


def _few(names: Sequence[str]) -> str:
    """Some names, and how many there are."""
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:3]) + (f" and {len(unique) - 3} others" if len(unique) > 3 else "")
