"""Sentences: what was found in a net, what it means, and what to do about it."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from resexp.core.statistics import Summary
from resexp.probing.findings import Finding
from resexp.probing.growth import Growth
from resexp.probing.line import STEP
from resexp.probing.stages import Stage
from resexp.probing.survey import Survey

MATTERS = 1.05
"""Growth a block above which something is said of it, if it adds up to more than HARMLESS."""
HARMLESS = 4.0
DEAD = 0.05
SHATTERED = 0.3
FEWEST_BLOCKS = 3
"""Blocks below which growth is not worth advice."""
MUCH = 10.0
"""Growth over a stage by a sum from which a remedy is told."""
UNEVEN = 10.0
"""Norm of the gradient at the net's first addition over that at its last from which it is told."""
STEEP = 1.25
"""Exponent of depth from which growth is no longer that of a sum."""
SOON = 4
"""An overflow within so many times the depth is worth a sentence."""


def sentences(survey: Survey, found: Sequence[Finding]) -> Iterator[str]:
    """All that is worth saying, the advice first."""
    advice = list(_advice(survey, found))
    yield from advice
    if survey.additions and not any(f.known and f.forward and f.stage.blocks >= FEWEST_BLOCKS for f in found):
        yield f"No stage of the net's own stream has {FEWEST_BLOCKS} blocks or more: its growth is shown, not judged."
    elif survey.additions and not advice and survey.equal_layers is None:
        yield (
            "Nothing here asks for a change: no growth by a factor that adds up to much, no dead units"
            f"{', no shattered gradients' if len(survey.line) else ''}."
        )
    yield from _structure(survey)
    yield from _not_measured(survey)


def _advice(survey: Survey, found: Sequence[Finding]) -> Iterator[str]:
    yield from _explosion([finding for finding in found if finding.known and finding.known.law == "exponential"])
    copies = survey.equal_layers is not None
    for finding in found:
        where = f"Stage {finding.stage.number}, {_span(survey, finding.stage)}: " if len(found) > 1 else ""
        for sentence in _of_stage(finding, copies):
            yield f"{where}{sentence}" if where else sentence.replace("the ", "The ", 1)
    if not any(finding.known and finding.known.law == "exponential" for finding in found):
        yield from _whole_gradient(survey, found)
    yield from _signals(survey)


def _whole_gradient(survey: Survey, found: Sequence[Finding]) -> Iterator[str]:
    """Of the gradient's norm from one end of the net to the other."""
    own = [k for finding in found if not finding.stage.inner for k in finding.stage.additions]
    if len(own) < FEWEST_BLOCKS or not all(survey.after[k].has_gradient for k in own):
        return
    first, last = min(own), max(own)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.exp(np.log(survey.after[first].gradient_norm / survey.after[last].gradient_norm).mean()))
    if UNEVEN < ratio < math.inf:
        yield (
            f"The gradient's norm is {ratio:.3g} times larger at the first addition ({survey.additions[first].name}) "
            f"than at the last ({survey.additions[last].name}): under plain SGD one learning rate moves the layers "
            "near the input far more; branches that start smaller, or at zero, keep it level."
        )


def law_told(growth: Growth, of: str = "") -> str:
    """Such as `exponential; 1.98x per block (95 % interval 1.95 to 2.01) over 16 blocks`; of: what follows the law."""
    steps, step = growth.points - 1, growth.step
    return f"{growth.told}{of}; {_factor(step)} per block{_interval(step)} over {steps} block{'s' * (steps > 1)}"


def _factor(summary: Summary) -> str:
    return f"{summary.mean:.3g}x" if summary.mean is not None else "no number"


def _interval(summary: Summary) -> str:
    if summary.ci_low is None or summary.ci_high is None:
        return ""
    return f" (95 % interval {summary.ci_low:.3g} to {summary.ci_high:.3g})"


def _explosion(found: Sequence[Finding]) -> Iterator[str]:
    """Of all stages together whose theory is growth by a factor."""
    forward = [f.forward for f in found if f.forward is not None and _matters(f.forward)]
    backward = [f.backward for f in found if f.backward is not None and _matters(f.backward)]
    blocks = sum(finding.stage.blocks for finding in found)
    if blocks < FEWEST_BLOCKS or not (forward or backward):
        return
    stages = f" in {len(found)} stages" if len(found) > 1 else ""
    told = []
    if forward:
        told.append(f"variance (second moment) grows {_factors(forward)} per block over {blocks} blocks{stages}")
    if backward:
        told.append(f"the squared gradient grows {_factors(backward)} per block towards the input")
    remedy = f"scale the branches by 1/sqrt({blocks}) = {1 / math.sqrt(blocks):.2g}, or normalise first"
    yield f"{' and '.join(told)}: {remedy}."


def _factors(grown: Sequence[Growth]) -> str:
    """`1.98x`, or `1.5x to 1.98x` where stages differ."""
    steps = sorted((growth.step for growth in grown), key=lambda step: step.mean or 0.0)
    low, high = _factor(steps[0]), _factor(steps[-1])
    return low if low == high else f"{low} to {high}"


def _of_stage(finding: Finding, copies: bool) -> Iterator[str]:
    """Of one stage whose theory is anything else, and where its numbers end; copies: layers begin as one another."""
    blocks, known, forward, backward = finding.stage.blocks, finding.known, finding.forward, finding.backward
    if known is None or blocks < FEWEST_BLOCKS:
        return
    if known.name == "post-norm" and backward is not None and _matters(backward, either=True):
        yield (
            f"the squared gradient changes by {_factor(backward.step)} per block towards the input, as it does with a "
            "norm after each sum: warm the learning rate up, or normalise first in each branch."
        )
    if known.law == "linear" and forward is not None and _matters(forward) and not copies:
        yield from _of_sums(finding, forward)
    for name, beyond in finding.overflow.items():
        first = float(np.min(beyond))
        if first < SOON * blocks:
            yield (
                f"{name} overflows at block {first:,.0f} to {float(np.max(beyond)):,.0f}, were the stage so long; it "
                f"has {blocks}."
            )


def _of_sums(finding: Finding, forward: Growth) -> Iterator[str]:
    """Of a stage with a norm in each branch, whose second moment should grow by a sum."""
    known, blocks, total = finding.known, finding.stage.blocks, forward.total.mean or 1.0
    assert known is not None
    if forward.law == "exponential":
        yield (
            f"the second moment grows {_factor(forward.step)} per block, by a factor rather than a sum, although there "
            f"is {known.told}: later branches give out more than earlier ones; look at what follows the norm, and at "
            "the batch variance (inputs or tokens that become alike add up)."
        )
    elif finding.entry is not None and finding.entry > MUCH:
        yield (
            f"the second moment grows {finding.entry:.3g} times in the first block and {total:.3g} times in all "
            f"{blocks}, though by a sum later on: what enters is small beside what the branches give out; start it "
            "(the embedding or stem) larger, or the branches smaller."
        )
    elif total > MUCH and forward.law == "power" and forward.parameter > STEEP:
        yield (
            f"the second moment grows {total:.3g} times over {blocks} blocks, by a power of depth with exponent "
            f"{forward.parameter:.2g}, faster than the sum that {known.told} makes of independent branches: later "
            "branches give out more, or add in the same direction as earlier ones, as tokens that become alike do."
        )
    elif total > MUCH:
        yield (
            f"the second moment grows {total:.3g} times over {blocks} blocks, by a sum rather than a factor, as it "
            f"does with {known.told}: no need to act; a last layer in each branch that starts {math.sqrt(blocks):.2g} "
            "times smaller would keep it level."
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
            f"Gradients are shattered: {STEP:.3g} of the way from one input to another, the gradient "
            f"correlates by {survey.line.mean():.2f} with what it was (1: it does not change). Deep nets with batch "
            "norm begin so; branches that start at zero, as with a zero-initialised last norm, keep it from happening."
        )


def _structure(survey: Survey) -> Iterator[str]:
    """What the net is made of, where it is not what it seems."""
    first = survey.first
    if not survey.additions:
        yield (
            "No residual additions were found, so there are no blocks to follow: nowhere is a signal added to what "
            "layers with weights made of it."
        )
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
        yield (
            f"{names}: recurrent layers, whose steps and gates are one operation each; not looked into, only what is "
            "added around them."
        )
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
        yield (
            f"{first.hidden} additions are inside scripted code, function transforms or autograd functions, and not "
            "looked into."
        )
    if survey.missing:
        yield f"{survey.missing} additions are not in every draw (layers dropped at random), and left out."


def _span(survey: Survey, stage: Stage) -> str:
    names = [survey.additions[k].name for k in (stage.additions[0], stage.additions[-1])]
    return names[0] if names[0] == names[1] else f"{names[0]} to {names[1]}"


def _few(names: Sequence[str]) -> str:
    """Some names, and how many there are."""
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:3]) + (f" and {len(unique) - 3} others" if len(unique) > 3 else "")
