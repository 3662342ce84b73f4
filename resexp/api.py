"""What Python code calls: `resexp.probe(model, input)`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from resexp.core.errors import UsageError
from resexp.core.lab import Lab, quarter_of_memory
from resexp.experiments.probe import Probe, report
from resexp.interface import Probed
from resexp.probing.inputs import Examples, parse
from resexp.probing.passes import CustomLoss, Inputs, LossName
from resexp.probing.reinitialise import Draws
from resexp.probing.survey import survey
from resexp.runs.cell import Cell, Outcome
from resexp.runs.settings import Settings

Model = nn.Module | Callable[[], nn.Module]
Input = str | Tensor | Sequence[Tensor] | Mapping[str, Tensor]


def probe(
    model: Model,
    input: Input,
    *,
    batch: int = 16,
    draws: int = 8,
    mode: Literal["train", "eval"] = "train",
    loss: str | Callable[[Any], Tensor] = "labels",
    keep_weights: bool = False,
    line: bool = True,
    seed: int = 0,
    threads: int | None = None,
    memory: int | None = None,
) -> Probed:
    """What passes through a net, block by block, forward and backward: the Result of `resexp probe`.

    model: a net, whose further initialisations permute the entries of its weights, or a factory, which draws them;
    a net is left as it was: weights, gradients, buffers, mode, and the state of random numbers.
    input: tensors with the batch first, of which each draw takes `batch` examples where there are more, or text such as
    `3x224x224` or `tokens:128`; a sequence is passed as positional arguments, a mapping as named ones.
    keep_weights: look into the weights as they are, trained ones for instance; draws then vary the input alone.
    threads: torch's own number by default; memory: bytes, a quarter of this machine's by default.
    """
    text = input if isinstance(input, str) else ""
    given = {"batch": batch, "draws": draws, "mode": mode, "line": line, "input": text}
    declared = Probe.parse({**given, "loss": loss if isinstance(loss, str) else "direction", "model": _name(model)})
    source = Examples(parse(text), batch) if text else _Given(_inputs(input), batch)
    if isinstance(model, nn.Module):
        note = "" if keep_weights else "Draws after the first permute the entries of each weight tensor."
        made = Draws(net=model, fixed=keep_weights, note=note)
    else:
        made = Draws(make=model, fixed=keep_weights)
    lab = Lab(
        "probe",
        seed=seed,
        device=_device(model),
        threads=threads or torch.get_num_threads(),
        memory=memory or quarter_of_memory(),
    )
    if isinstance(loss, str) and loss not in get_args(LossName):
        raise UsageError(f"loss: {', '.join(get_args(LossName))} or a function, not '{loss}'.")
    taken = cast("LossName | CustomLoss", loss)
    found = survey(lab, made, source, count=draws, training=mode == "train", loss=taken, line=line)
    cell = Cell(declared, Settings.parse({"seed": seed}))
    return Probed.of(Outcome(cell, report(declared, found), {}))


@dataclass(frozen=True)
class _Given:
    """Tensors that were handed over, of which each draw takes some examples."""

    inputs: Inputs
    most: int

    def make(self, net: nn.Module, generator: torch.Generator) -> Inputs:
        """Inputs of one draw."""
        if self.inputs.batch <= self.most:
            return self.inputs
        order = torch.randperm(self.inputs.batch, generator=generator)[: self.most]
        few = self.inputs.through(lambda x: x[order.to(x.device)])
        return Inputs(few.positional, few.named, self.most)


def _inputs(given: Any) -> Inputs:
    positional = [given] if isinstance(given, Tensor) else [] if isinstance(given, Mapping) else list(given)
    named = dict(given) if isinstance(given, Mapping) else {}
    sizes = {len(x) for x in (*positional, *named.values()) if isinstance(x, Tensor) and x.dim()}
    if len(sizes) != 1:
        raise UsageError("input: tensors need a batch of one size along their first axis.")
    return Inputs(positional, named, sizes.pop())


def _device(model: Model) -> str:
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return str(first.device) if first is not None else "cpu"


def _name(model: Model) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", type(model).__name__)
