"""Residual additions as they happen: what is measured at each sum, and what was noticed on the way to it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from resexp.probing import operations as ops
from resexp.probing.frames import Frames
from resexp.probing.graph import Flags, Mark, Sum
from resexp.probing.marking import Marks
from resexp.probing.moments import Moments, batch_axis_of, moments, second_moment


@dataclass
class Place:
    """What was measured at one tensor. hooked: whether a gradient can be asked for; gradient: its second moment."""

    moments: Moments
    units: int
    hooked: bool = False
    gradient: float | None = None


@dataclass
class Addition:
    """A residual addition: where it is, and what was measured.

    name, module: path and class of the innermost module that makes the sum, ordinal: which of its sums; spatial: shape
    without batch and channels; after: at the sum; before: at the shortcut, where the stream begins or theory needs it;
    expected: second moment of the sum given what went in (tail.py), where it is known; rectified, off: units that were
    rectified since the sum before, and those of them that are zero for every input; previous: number of the sum before
    on the stream; changed: whether the shortcut went through an in-place activation of its own block; partial: another
    branch was added at once, and the sum of all stands in its place.
    """

    name: str
    module: str
    ordinal: int
    sum: Sum
    spatial: tuple[int, ...]
    after: Place
    before: Place | None
    expected: float | None
    rectified: int
    off: int
    previous: int | None
    enclosed: tuple[int, ...]
    changed: bool
    partial: bool = False

    @property
    def positions(self) -> int:
        """Places in space: the same for a map and for the tokens that it is flattened to."""
        return math.prod(self.spatial)


@dataclass(frozen=True)
class Operand:
    """One side of a sum; tensor: None where only a fused function ever holds it."""

    tensor: Tensor | None
    mark: Mark


@dataclass(frozen=True)
class Pending:
    """What is known of a residual addition before it is made."""

    sum: Sum
    marks: tuple[Mark, Mark]
    shortcut_second: float | None
    before: Place | None
    branch_second: float | None
    previous: int | None


class Sums:
    """The residual additions of one pass, in their order. parallel: sums of branches neither of which is a shortcut."""

    def __init__(self, marks: Marks, frames: Frames, batch: int) -> None:
        self.additions: list[Addition] = []
        self.parallel = 0
        self._marks, self._frames, self._batch = marks, frames, batch
        self._numbers: dict[int, int] = {}
        self._changed: dict[int, frozenset[int]] = {}
        self._tails: set[int] = set()
        self._rectified = self._off = 0
        self._last_convolution = 0
        self._handles: list[Any] = []

    def begin(self, a: Operand, b: Operand, *, scaled: bool) -> Pending | None:
        """Judge a sum that is about to be made; measure its shortcut where that will be wanted.

        scaled: the function itself scales a side. None where the sum is no residual addition.
        """
        earlier = self._continued(a.mark, b.mark)
        if earlier is not None:
            found = replace(self.additions[earlier].sum, short=0 if a.mark.addition == earlier else 1)
            self.additions[earlier].partial = True
            previous = self.additions[earlier].previous
        else:
            judged = self._marks.graph.judge(a.mark, b.mark)
            if judged is None or judged.shortcut == "parallel":
                self.parallel += judged is not None
                return None
            found = judged
            previous = self._numbers.get(judged.previous) if judged.previous is not None else None
        short, long = (a, b) if found.short == 0 else (b, a)
        known = self.additions[short.mark.addition].after.moments.second if short.mark.addition is not None else None
        branch_second = self._expected_of(long.mark) if not scaled else None
        before = self.additions[earlier].before if earlier is not None else None
        wanted = branch_second is not None or self._begins(short.tensor, found, previous)
        if known is None and short.tensor is not None and wanted:
            before = self._measure(short.tensor)
            known = before.moments.second
        return Pending(found, (a.mark, b.mark), known, before, branch_second, previous)

    def _begins(self, shortcut: Tensor | None, found: Sum, previous: int | None) -> bool:
        """Whether a sum is the first of its stage."""
        if shortcut is None or previous is None:
            return shortcut is not None
        return math.prod(self._spatial(shortcut, found)) != self.additions[previous].positions

    def _continued(self, a: Mark, b: Mark) -> int | None:
        """The residual addition to whose result another branch is added, that left the stream where its own did."""
        for sum_, other in ((a, b), (b, a)):
            if sum_.addition is None or (other.ancestors >> sum_.node) & 1:
                continue
            if (a.ancestors & b.ancestors).bit_length() >= self.additions[sum_.addition].sum.after:
                return sum_.addition
        return None

    def _expected_of(self, branch: Mark) -> float | None:
        """Second moment that a branch adds in expectation; None for weights that were used before."""
        tail = branch.tail
        if tail is None or id(tail.weight) in self._tails:
            return None
        self._tails.add(id(tail.weight))
        expected: float = tail.expected()
        return expected

    def end(self, pending: Pending, output: Tensor) -> None:
        """Note the sum, now that it is made."""
        mark = self._marks.graph.addition(pending.marks)
        mark.addition = number = len(self.additions)
        self._numbers[mark.node] = number
        self._marks.set(output, mark)
        self._marks.write_through(output, mark)
        frame = self._frames.stack[-1] if self._frames.stack else None
        expected = None
        if pending.branch_second is not None and pending.shortcut_second is not None:
            expected = pending.shortcut_second + pending.branch_second
        short = pending.marks[pending.sum.short]
        running = {f.serial for f in self._frames.stack}
        self.additions.append(
            Addition(
                name=(frame.name or type(frame.module).__name__) if frame else "net",
                module=type(frame.module).__name__ if frame else "",
                ordinal=frame.additions if frame else number,
                sum=pending.sum,
                spatial=self._spatial(output, pending.sum),
                after=self._measure(output),
                before=pending.before,
                expected=expected,
                rectified=self._rectified,
                off=self._off,
                previous=pending.previous,
                enclosed=tuple(n for node, n in self._numbers.items() if pending.sum.enclosed >> node & 1),
                changed=bool(self._changed.get(short.node, frozenset()) & running),
            )
        )
        if frame:
            frame.additions += 1
        self._rectified = self._off = 0

    def pass_by(self, name: str, flags: Flags, output: Tensor, *, in_place: bool) -> None:
        """Note what an operation between two sums tells: dead units, and shortcuts changed in place."""
        if flags.convolution:
            self._last_convolution = output.dim() - 2
        dense = output.is_floating_point() and output.layout is torch.strided
        if name in ops.RECTIFIERS and output.dim() > 1 and dense:
            axis = 1 if output.dim() == self._last_convolution + 2 else output.dim() - 1
            others = [k for k in range(output.dim()) if k != axis]
            with torch.no_grad():
                largest = output.detach().amax(others)
            self._rectified += largest.numel()
            self._off += int((largest <= 0).sum())
        if flags.activation and in_place:
            mark = self._marks.of(output)
            frames = [f for f in self._frames.stack if id(output) in f.arguments]
            if frames and not any(frames[-1].module.children()):
                frames = frames[:-1]  # the activation itself
            if mark is not None and frames:
                self._changed[mark.node] = frozenset(f.serial for f in frames)

    def _measure(self, x: Tensor) -> Place:
        place = Place(moments(x, batch_axis_of(x, self._batch)), x.numel())
        if x.requires_grad and torch.is_grad_enabled():

            def record(gradient: Tensor) -> None:
                place.gradient = second_moment(gradient)

            place.hooked = True
            self._handles.append(x.register_hook(record))  # type: ignore[no-untyped-call]
        return place

    def _spatial(self, x: Tensor, found: Sum) -> tuple[int, ...]:
        """Shape without batch and channels; channels stand second where the branch convolves over the other axes."""
        convolved = not found.channels_last and self._last_convolution == x.dim() - 2
        axes = {1 if convolved else x.dim() - 1}
        batch = batch_axis_of(x, self._batch)
        return tuple(n for k, n in enumerate(x.shape) if k not in axes | ({batch} if batch is not None else {0}))

    def whole(self) -> list[Addition]:
        """The additions without those that another branch was added to, and renumbered."""
        partial = [a.partial for a in self.additions]
        number = {old: old - sum(partial[:old]) for old in range(len(partial))}
        kept = [a for a in self.additions if not a.partial]
        return [
            replace(
                a,
                previous=number[a.previous] if a.previous is not None else None,
                enclosed=tuple(number[k] for k in a.enclosed if not self.additions[k].partial),
            )
            for a in kept
        ]

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
