"""What a survey says of each stage: growth forward and backward, the nearest known scheme, where formats end."""

import math
from dataclasses import dataclass

import numpy as np

from resexp.core.statistics import Array
from resexp.probing.growth import Growth, block_beyond, fit
from resexp.probing.schemes import Known, nearest
from resexp.probing.stages import Stage
from resexp.probing.sums import Addition
from resexp.probing.survey import Series, Survey

LARGEST = {"float16": 65504.0, "bfloat16": 3.3895e38, "float32": 3.4028e38}

FARTHEST = 100
"""Times its own blocks beyond which a stage's growth is not carried on."""
WORTH_CARRYING_ON = 4.0
"""Growth over a whole stage below which it is not carried on beyond the stage: too little to tell how it would go."""


@dataclass(frozen=True)
class Finding:
    """One stage. known: the scheme it is nearest to, None for an inner one.

    forward, backward: growth of the second moment with the blocks, and of the gradient's inverse, which is that of the
    gradient towards the input; variance:
    growth of the batch variance; entry: growth in the first block, from where the stream enters, None where that is not
    in the series; overflow: block, counted on from the stage's first, at which each network leaves each
    format.
    """

    stage: Stage
    known: Known | None
    forward: Growth | None
    variance: Growth | None
    backward: Growth | None
    entry: float | None
    overflow: dict[str, Array]


def findings(survey: Survey) -> list[Finding]:
    """A finding for each stage."""
    return [_finding(survey, stage) for stage in survey.stages]


def series_of(survey: Survey, stage: Stage) -> list[Series]:
    """Numbers at the end of each block of a stage, and before them where the stream enters it.

    Not that where sums are normalised or rectified before they go on: what enters first was not.
    """
    first = survey.before.get(stage.additions[0])
    ends = [survey.after[k] for k in stage.last_of_blocks]
    sums = [survey.additions[k].sum for k in stage.additions[1:]]
    changed = sum(s.stream_norm or s.stream_activation for s in sums) > len(sums) / 2
    return ends if first is None or changed else [first, *ends]


def _finding(survey: Survey, stage: Stage) -> Finding:
    series = series_of(survey, stage)
    second = _logs([s.second for s in series])
    variance = _logs([s.batch_variance for s in series])
    gradient = _logs([s.gradient for s in series if s.has_gradient or s is not survey.before.get(stage.additions[0])])
    known = None if stage.inner else nearest(_additions(survey, stage), _branch_share(survey, stage))
    forward = fit(second)
    entry = None
    if len(series) > len(stage.last_of_blocks) and forward is not None:
        entry = float(np.exp((second[:, 1] - second[:, 0]).mean()))
    overflow = _overflow(survey, stage, second, forward)
    return Finding(stage, known, forward, fit(variance), fit(-gradient), entry, overflow)


def _additions(survey: Survey, stage: Stage) -> list[Addition]:
    return [survey.additions[k] for k in stage.additions]


def _logs(columns: list[Array]) -> Array:
    """Natural logarithms, (draws, blocks)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(np.stack(columns, axis=1)))


def _branch_share(survey: Survey, stage: Stage) -> float:
    """Share of the branch in the second moment of the stage's first sum; 1 where it is not known."""
    before, after = survey.before.get(stage.additions[0]), survey.after[stage.additions[0]]
    if before is None:
        return 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.abs(1.0 - before.second / after.second)
    return float(np.nanmax(share)) if np.isfinite(share).any() else 1.0


def _overflow(survey: Survey, stage: Stage, second: Array, growth: Growth | None) -> dict[str, Array]:
    """Block at which the largest of all activations leaves each format, taken as normal with the second moment."""
    if growth is None or (growth.total.mean or 0.0) < WORTH_CARRYING_ON:
        return {}
    units = survey.additions[stage.additions[-1]].after.units
    peak = 0.5 * math.log(2.0 * math.log(max(3, units)))
    found = {}
    for name, largest in LARGEST.items():
        target = np.full(len(second), 2.0 * (math.log(largest) - peak))
        blocks = block_beyond(second[:, growth.skipped :], growth, target)
        if blocks is not None and blocks.max() < FARTHEST * stage.blocks:
            found[name] = np.ceil(np.maximum(blocks, 0.0)) + growth.skipped
    return found
