"""A net looked into over several initialisations and inputs: numbers at each addition for each draw."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import nn

from resexp.core.errors import ResexpError
from resexp.core.lab import Lab
from resexp.core.statistics import Array
from resexp.probing.guard import Guard
from resexp.probing.line import autocorrelation
from resexp.probing.passes import CustomLoss, LossName, Pass, run
from resexp.probing.reinitialise import Draws, equal_layers
from resexp.probing.stages import Stage, stages
from resexp.probing.state import seeded, threads, untouched
from resexp.probing.sums import Addition, Place

if TYPE_CHECKING:
    from resexp.probing.passes import Inputs

LINE_EVERY = 2
"""Draws of which one gets a line of inputs, so that both passes together stay cheap."""
LEAST_LINES = 2


class Source(Protocol):
    """Where inputs come from."""

    def make(self, net: nn.Module, generator: torch.Generator) -> "Inputs":
        """Inputs of one draw."""


@dataclass(frozen=True)
class Series:
    """One place's numbers, (draws,) each. has_gradient: whether a gradient arrived in every draw; else they are nan."""

    second: Array
    batch_variance: Array
    gradient: Array
    gradient_norm: Array
    has_gradient: bool

    @classmethod
    def of(cls, places: Sequence[Place | None]) -> "Series":
        """Of what was measured at one place in each draw."""
        found = [p for p in places if p is not None]
        gradients = [p.gradient for p in found if p.gradient is not None]
        has_gradient = len(gradients) == len(found)
        gradient = np.array(gradients if has_gradient else [np.nan] * len(found))
        return cls(
            second=np.array([p.moments.second for p in found]),
            batch_variance=np.array([p.moments.batch_variance for p in found]),
            gradient=gradient,
            gradient_norm=np.sqrt(gradient * [p.units for p in found]),
            has_gradient=has_gradient,
        )


@dataclass(frozen=True)
class Survey:
    """What all draws showed. additions: those of the first draw that are in every one; first: its pass.

    after: at each addition; before: where the stream enters each stage; ratio: second moment over its expectation,
    (additions, draws), nan where it is not known; off: share of rectified units that are zero for every input;
    line: autocorrelation of the gradient of each draw, empty where it was not measured.
    """

    first: Pass
    additions: list[Addition]
    stages: list[Stage]
    after: list[Series]
    before: dict[int, Series]
    ratio: Array
    off: Array
    line: Array
    equal_layers: tuple[str, str] | None
    draws: Draws
    missing: int = 0
    unstable: int = 0
    """Draws whose output was not finite."""


def survey(
    lab: Lab, draws: Draws, examples: Source, *, count: int, training: bool, loss: LossName | CustomLoss, line: bool
) -> Survey:
    """Look into `count` draws of a net."""
    passes: list[Pass] = []
    curve: list[float | None] = []
    twins: tuple[str, str] | None = None
    copy_views = False
    every = LINE_EVERY if count >= LINE_EVERY * LEAST_LINES else 1
    with threads(lab.threads):
        for number in range(count):
            with draws.draw(number, lab.key("net", number)) as net:
                _place(net, lab, draws)
                twins = twins or equal_layers(net)
                generator = torch.Generator().manual_seed(lab.key("input", number) % 2**63)
                inputs = examples.make(net, generator)
                guard = Guard(lab.memory, inputs.device)
                with untouched(net, training=training), seeded(lab.key("pass", number)):
                    found = run(net, inputs, loss, generator, guard, copy_views=copy_views)
                    if found.lost and not copy_views:
                        copy_views = True
                        found = run(net, inputs, loss, generator, guard, copy_views=True)
                    passes.append(found)
                    if line and not found.no_gradient and number % every == 0:
                        curve.append(_line(net, inputs, generator))
            del net
            lab.progress(number + 1, count)
    return _joined(passes, curve, twins, draws)


def _place(net: nn.Module, lab: Lab, draws: Draws) -> None:
    """Move a net that was just built to the lab's device and type; one that someone handed over stays where it is."""
    if draws.make is None:
        return
    net.to(lab.torch_device)
    if lab.dtype == "float64":
        net.to(torch.float64)


def _line(net: nn.Module, inputs: "Inputs", generator: torch.Generator) -> float | None:
    try:
        return autocorrelation(net, inputs, generator)
    except (ResexpError, KeyboardInterrupt, MemoryError):
        raise
    except Exception:  # noqa: BLE001  (a net that takes a batch of this size only; nothing else is lost with it)
        return None


def _joined(passes: list[Pass], curve: list[float | None], twins: tuple[str, str] | None, draws: Draws) -> Survey:
    """Line up the additions of all draws by name and order."""
    named = [dict(zip(_names(p.additions), p.additions, strict=True)) for p in passes]
    common = [name for name in named[0] if all(name in other for other in named)]
    chosen = [[each[name] for each in named] for name in common]
    additions = _renumbered([each[0] for each in chosen], list(named[0]), common)
    found = stages(additions)
    firsts = {stage.additions[0] for stage in found}
    ratio = [
        [a.after.moments.second / a.expected if a.expected and not twins else np.nan for a in each] for each in chosen
    ]
    off = [[a.off / a.rectified if a.rectified else np.nan for a in each] for each in chosen]
    lines = [value for value in curve if value is not None]
    shape = (len(common), len(passes))
    return Survey(
        first=passes[0],
        additions=additions,
        stages=found,
        after=[Series.of([a.after for a in each]) for each in chosen],
        before={
            k: _entering(Series.of([a.before for a in each]), Series.of([a.after for a in each]))
            for k, each in enumerate(chosen)
            if k in firsts and all(a.before is not None for a in each)
        },
        ratio=np.array(ratio, dtype=np.float64).reshape(shape),
        off=np.array(off, dtype=np.float64).reshape(shape),
        line=np.array(lines if len(lines) > 1 else [], dtype=np.float64),
        equal_layers=twins,
        draws=draws,
        missing=max(len(p.additions) for p in passes) - len(common),
        unstable=sum(not p.finite for p in passes),
    )


def _entering(shortcut: Series, after: Series) -> Series:
    """What enters a stage, by the shortcut of its first sum.

    Where the branch does not start from that very tensor, since it was projected, pooled or padded, the gradient of the
    sum is all that reaches it: not that of the stream, and left out.
    """
    through_the_sum_alone = np.array_equal(shortcut.gradient, after.gradient)
    if not through_the_sum_alone or np.allclose(shortcut.second, after.second, rtol=1e-6):  # a branch that gives 0
        return shortcut
    nothing = np.full_like(shortcut.gradient, np.nan)
    return replace(shortcut, gradient=nothing, gradient_norm=nothing, has_gradient=False)


Key = tuple[str, int, str, int]


def _names(additions: Sequence[Addition]) -> list[Key]:
    """A key for each addition that does not change from draw to draw: its place, and how often it was met there."""
    met: Counter[tuple[str, int, str]] = Counter()
    keys: list[Key] = []
    for addition in additions:
        key: tuple[str, int, str] = (addition.name, addition.ordinal, addition.sum.shortcut)
        keys.append((*key, met[key]))
        met[key] += 1
    return keys


def _renumbered(additions: list[Addition], before: list[Key], kept: list[Key]) -> list[Addition]:
    """The additions with their references among each other as numbers in the list that is left."""
    if len(before) == len(kept):
        return additions
    number = {before.index(key): k for k, key in enumerate(kept)}
    return [
        replace(
            a,
            previous=number.get(a.previous) if a.previous is not None else None,
            enclosed=tuple(number[k] for k in a.enclosed if k in number),
        )
        for a in additions
    ]
