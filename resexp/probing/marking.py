"""Marks on tensors: which node of the graph each is, and what a function's outputs become of its operands."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from resexp.probing.graph import PASSIVE, Flags, Graph, Mark
from resexp.probing.hidden import behind

ATTRIBUTE = "_resexp_mark"


class Operands:
    """The tensors that a function was given. marks: of those that depend on the input, each node once.

    signals: how many tensors depend on the input; weighted: whether weights are among the others.
    """

    __slots__ = ("marks", "signals", "weighted")

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.signals, self.weighted = 0, False


class Marks:
    """The marks of one pass. They are attributes of the tensors and die with them; the net's own state gets none.

    hidden: additions seen in autograd's graph alone, inside scripted code or autograd functions.
    """

    def __init__(self, net: nn.Module) -> None:
        self.graph, self.hidden = Graph(), 0
        self._weights = Mark(self.graph, -1, 0)  # of what is made of weights alone
        self._state = {id(t) for t in (*net.parameters(), *net.buffers())}
        self._functions: dict[Any, Mark] = {}

    def of(self, tensor: Tensor) -> Mark | None:
        """The mark of a tensor that depends on the input, of what lies behind it where it has none of its own."""
        mark = self._known(tensor)
        return mark if mark is not None and mark.node >= 0 else None

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether a tensor is a parameter, or made of parameters alone."""
        mark = self._known(tensor)
        return mark is not None and mark.node < 0

    def _known(self, tensor: Tensor) -> Mark | None:
        mark: Mark | None = tensor.__dict__.get(ATTRIBUTE)
        if mark is not None and mark.owner is self.graph:
            return mark
        if isinstance(tensor, nn.Parameter):
            return self._weights
        if tensor.grad_fn is None:
            return None
        hidden = behind(tensor, self._functions.get)
        self.hidden += hidden.additions
        if hidden.parents:
            mark = self.graph.after(hidden.parents, Flags(weighted=hidden.weighted, nonlinear=True))
            return self.set(tensor, mark)
        return self.set(tensor, self._weights) if hidden.weighted else None

    def set(self, tensor: Tensor, mark: Mark) -> Mark:
        """Put a mark on a tensor, unless it belongs to the net."""
        if id(tensor) not in self._state:
            setattr(tensor, ATTRIBUTE, mark)
            if tensor.grad_fn is not None and mark.node >= 0:
                self._functions[tensor.grad_fn] = mark
        return mark

    def operands(self, values: Iterable[Any]) -> Operands:
        """What the tensors among the values are."""
        found = Operands()
        for tensor in tensors_in(values):
            mark = self._known(tensor)
            if mark is None:
                continue
            if mark.node < 0:
                found.weighted = True
                continue
            found.signals += 1
            if all(mark.node != other.node for other in found.marks):
                found.marks.append(mark)
        return found

    def pass_on(self, operands: Operands, flags: Flags, outputs: Any, written: Tensor | None) -> Mark | None:
        """Mark the outputs of a function; return their node, None where they do not depend on the input.

        written: the tensor that the function wrote into.
        """
        if not operands.marks:
            if operands.weighted:
                for tensor in tensors_in((outputs,)):
                    self.set(tensor, self._weights)
            return None
        node = self.graph.after(operands.marks, flags)
        if written is not None:
            self.set(written, node)
            self.write_through(written, node)
        for tensor in tensors_in((outputs,)):
            if tensor.dtype is not torch.bool:
                self.set(tensor, Mark(self.graph, node.node, node.ancestors))
        return node

    def write_through(self, written: Tensor, mark: Mark) -> None:
        """What is written into a view is also in what it is a view of."""
        base = written._base
        if base is not None:
            before = base.__dict__.get(ATTRIBUTE)
            parents = [mark] if before is None or before.owner is not self.graph else [before, mark]
            self.set(base, self.graph.after(parents, PASSIVE))

    def views_something_unknown(self, tensor: Tensor, values: Iterable[Any]) -> bool:
        """Whether a tensor is a view of one that Python has never seen, as a norm may return it."""
        base = tensor._base
        if base is None or ATTRIBUTE in base.__dict__ or id(base) in self._state:
            return False
        return all(base is not other and base is not other._base for other in tensors_in(values))

    def clear(self) -> None:
        """Let go of autograd's graph."""
        self._functions.clear()


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Tensors among the values and in lists and tuples among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple) and type(value) is not torch.Size:
            yield from tensors_in(value)
