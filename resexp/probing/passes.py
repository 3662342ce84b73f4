"""One forward and one backward pass of a net, looked into."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from resexp.core.errors import ResexpError
from resexp.probing.explain import explain_backward, explain_forward
from resexp.probing.frames import Frames
from resexp.probing.guard import Guard
from resexp.probing.moments import second_moment
from resexp.probing.output import choose, random_direction, random_labels
from resexp.probing.sums import Addition
from resexp.probing.trace import Trace

LossName = Literal["labels", "direction", "sum"]
CustomLoss = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Inputs:
    """Arguments of a net's forward, tensors and others. batch: examples."""

    positional: Sequence[Any]
    named: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        tensors = [x for x in (*self.positional, *self.named.values()) if isinstance(x, Tensor)]
        return tensors[0].device if tensors else torch.device("cpu")

    def through(self, change: Callable[[Tensor], Tensor]) -> "Inputs":
        """The same with every tensor changed."""

        def each(value: Any) -> Any:
            return change(value) if isinstance(value, Tensor) else value

        return Inputs([each(v) for v in self.positional], {k: each(v) for k, v in self.named.items()}, self.batch)


@dataclass
class Pass:
    """What a pass showed.

    loss: what the gradient is of; finite: whether the output is; no_gradient: why none was taken; lost: additions that
    a gradient was asked for and never came.
    """

    additions: list[Addition]
    parallel: int
    concatenations: int
    hidden: int
    recurrent: list[str]
    output: str
    loss: str
    finite: bool
    no_gradient: str = ""
    lost: int = 0


def run(
    net: nn.Module,
    inputs: Inputs,
    loss: LossName | CustomLoss,
    generator: torch.Generator,
    guard: Guard,
    *,
    copy_views: bool = False,
) -> Pass:
    """Run the net forward and backward once. Raises ResexpError, or UsageError where the input does not fit."""
    frames = Frames.of(net)
    trace = Trace(net, frames, guard, inputs.batch, copy_views=copy_views)
    try:
        with torch.enable_grad(), frames.watching():
            given = inputs.through(trace.input)
            output = _forward(net, given, trace, frames, inputs)
            chosen = choose(output)
            del output, given
            scalar, told = _loss(chosen.tensor, loss, generator)
        found = Pass(
            additions=[],
            parallel=trace.sums.parallel,
            concatenations=trace.concatenations,
            hidden=0,
            recurrent=list(trace.recurrent),
            output=chosen.where,
            loss=told,
            finite=math.isfinite(second_moment(chosen.tensor)),
        )
        trace.marks.of(chosen.tensor)  # counts what scripted code hides up to the output
        found.hidden = trace.marks.hidden
        del chosen
        found.no_gradient = _backward(scalar, trace)
        found.additions = trace.sums.whole()
        found.lost = sum(a.after.hooked and a.after.gradient is None for a in found.additions)
        return found
    finally:
        trace.close()


def _eagerly() -> AbstractContextManager[Any]:
    """Compiled parts run as they are written; where nothing was compiled, the compiler (a second) is not imported."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _forward(net: nn.Module, given: Inputs, trace: Trace, frames: Frames, inputs: Inputs) -> Any:
    try:
        with _eagerly(), trace:
            return net(*given.positional, **given.named)
    except (ResexpError, KeyboardInterrupt, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise explain_forward(error, frames, inputs) from error


def _loss(tensor: Tensor, loss: LossName | CustomLoss, generator: torch.Generator) -> tuple[Tensor, str]:
    if loss == "labels":
        return random_labels(tensor, generator)
    if loss == "direction":
        return random_direction(tensor, generator), "a random direction"
    if loss == "sum":
        return tensor.sum(), "the sum of the output"
    try:
        return loss(tensor), "the given loss"
    except Exception as error:
        raise explain_backward(error, "loss") from error


def _backward(scalar: Tensor, trace: Trace) -> str:
    """Take the gradient as far as the inputs; say why where it cannot be taken."""
    if not isinstance(scalar, Tensor) or scalar.numel() != 1:
        raise ResexpError("The loss must be a single number.")
    if not scalar.requires_grad or not trace.roots:
        return "the output does not depend on the input through anything that has a gradient"
    try:
        torch.autograd.grad(scalar, trace.roots, allow_unused=True)
    except ResexpError:
        raise
    except (RuntimeError, NotImplementedError) as error:
        if "allocate memory" in str(error) or "out of memory" in str(error):
            raise
        return f"the backward pass failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return ""
