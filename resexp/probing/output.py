"""From what a net returns to a number whose gradient is taken."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from resexp.core.errors import ResexpError

PREFERRED = ("logits", "out", "output", "last_hidden_state", "prediction_logits", "sample", "x")
MOST_CLASSES = 1_000_000

Loss = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Chosen:
    """The tensor that a loss is made of, and where in the net's output it stood (empty: it is the output)."""

    tensor: Tensor
    where: str


def choose(output: Any) -> Chosen:
    """The tensor of floats in an output that a gradient can be taken of; the named logits first.

    Raises ResexpError where there is none.
    """
    found = list(_floats(output, ""))
    if not found:
        raise ResexpError(f"The net returns {_told(output)}: there is no tensor of floats in it to take a gradient of.")
    found.sort(key=lambda chosen: (not chosen.tensor.requires_grad, _rank(chosen.where)))  # stable
    return found[0]


def _rank(where: str) -> int:
    name = where.strip(".[]'\"")
    return PREFERRED.index(name) if name in PREFERRED else len(PREFERRED)


def _floats(output: Any, where: str) -> Iterator[Chosen]:
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield Chosen(output, where)
    elif isinstance(output, Mapping):
        for name, value in output.items():
            yield from _floats(value, f"{where}[{name!r}]")
    elif isinstance(output, list | tuple):
        names = getattr(output, "_fields", None)
        for number, value in enumerate(output):
            yield from _floats(value, f"{where}.{names[number]}" if names else f"{where}[{number}]")
    elif is_dataclass(output):
        for field in fields(output):
            yield from _floats(getattr(output, field.name), f"{where}.{field.name}")


def _told(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of {str(output.dtype).removeprefix('torch.')}"
    return "nothing" if output is None else f"a {type(output).__name__}"


def random_labels(tensor: Tensor, generator: torch.Generator) -> tuple[Tensor, str]:
    """Cross-entropy against random labels where an output looks like scores; else a random direction.

    Scores are (batch, classes), (batch, tokens, classes) or (batch, classes, height, width).
    """
    classes = 1 if tensor.dim() == 4 else tensor.dim() - 1
    if tensor.dim() not in {2, 3, 4} or not 2 <= tensor.shape[classes] <= MOST_CLASSES:
        return random_direction(tensor, generator), "a random direction"
    shape = [n for k, n in enumerate(tensor.shape) if k != classes]
    labels = torch.randint(tensor.shape[classes], shape, generator=generator).to(tensor.device)
    scores = tensor.movedim(classes, 1) if classes != 1 else tensor
    return cross_entropy(_wide(scores), labels), "cross-entropy against random labels"


def random_direction(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """The output along a random normal direction, another for each example."""
    direction = torch.randn(tensor.shape, generator=generator).to(tensor.device)
    return (_wide(tensor) * direction).sum() / max(1, tensor.shape[0] if tensor.dim() else 1)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x
