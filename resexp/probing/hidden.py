"""What torch functions do not show, scripted code and autograd functions: found along autograd's own graph."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from resexp.probing.graph import Mark


@dataclass
class Hidden:
    """What lies between a tensor and the nearest known ones. parents: their marks; weighted: whether weights go in."""

    parents: list[Mark] = field(default_factory=list)
    weighted: bool = False
    additions: int = 0


def behind(tensor: Tensor, known: Callable[[Any], Mark | None]) -> Hidden:
    """Walk back from a tensor that no function is known to have made. known: mark of a node of autograd's graph."""
    found, seen, waiting = Hidden(), set[Any](), [tensor.grad_fn]
    while waiting:
        function = waiting.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        mark = known(function)
        if mark is not None:
            found.parents.append(mark)
            continue
        variable = getattr(function, "variable", None)
        found.weighted = found.weighted or isinstance(variable, nn.Parameter)
        before = [following for following, _ in function.next_functions]
        if type(function).__name__ == "AddBackward0" and None not in before:
            found.additions += 1
        waiting += before
    return found
