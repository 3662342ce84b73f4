"""Follows a forward pass function by function, finds the residual additions, and measures at each.

A `TorchFunctionMode` sees every call of torch that Python makes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from resexp.probing import operations as ops
from resexp.probing.frames import Frames
from resexp.probing.graph import PASSIVE, Flags, Mark
from resexp.probing.guard import Guard
from resexp.probing.marking import Marks
from resexp.probing.sums import Operand, Sums
from resexp.probing.tail import Tail, gain_of, is_held, layer_of

Arguments = Sequence[Any]
Named = Mapping[str, Any]


class Trace(TorchFunctionMode):
    """What a forward pass shows. Give it the inputs, enter it around the pass, close it after the backward pass.

    sums: the residual additions and what was measured at each; concatenations: of a signal with what a branch made of
    it; recurrent: modules that step in time inside one call; roots: where the backward pass may end; copy_views: keep
    in-place operations from cutting hooks off, at the price of a copy.
    """

    def __init__(self, net: nn.Module, frames: Frames, guard: Guard, batch: int, *, copy_views: bool = False) -> None:
        super().__init__()
        self.marks = Marks(net)
        self.sums = Sums(self.marks, frames, batch)
        self.concatenations = 0
        self.recurrent: dict[str, None] = {}
        self.roots: list[GradientEdge] = []
        self._frames, self._guard, self._copy_views = frames, guard, copy_views
        self._heads: set[int] = set()

    def input(self, x: Tensor) -> Tensor:
        """An input as the net shall get it: marked, and if it is a float a copy that a gradient reaches."""
        if x.is_floating_point() or x.is_complex():
            leaf = x.detach().requires_grad_()
            self.roots.append(get_gradient_edge(leaf))
            x = leaf.clone()
        else:
            x = x.clone()
        self.marks.set(x, self.marks.graph.after((), Flags()))
        return x

    def close(self) -> None:
        """Take the hooks away and let go of autograd's graph."""
        self.sums.close()
        self.marks.clear()

    def __torch_function__(self, function: Any, types: Any, args: Arguments = (), kwargs: Named | None = None) -> Any:
        """Call the function and note what it made of what."""
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        sides = self._sides(name, args, kwargs)
        if sides is not None:
            pending = self.sums.begin(*sides, scaled="alpha" in kwargs)
            if pending is not None:
                output = function(*args, **kwargs)
                self.sums.end(pending, output)
                self._guard.check(output)
                return output
        output = function(*args, **kwargs)
        if isinstance(output, Tensor) or name == "__setitem__":
            return self._note(name, args, kwargs, output)
        if isinstance(output, list | tuple) and type(output) is not torch.Size:
            return self._note(name, args, kwargs, output)
        return output

    def _sides(self, name: str, args: Arguments, kwargs: Named) -> tuple[Operand, Operand] | None:
        """The two sides of a sum of signals of equal shape; None where it is none."""
        if name in ops.ADDITIONS:
            return self._operands(args[0], args[1] if len(args) > 1 else kwargs.get("other"))
        if name in ops.FUSED_ADDITIONS:
            return self._fused(name, args, kwargs)
        return self._stacked(args, kwargs) if name == "sum" and args else None

    def _operands(self, a: Any, b: Any) -> tuple[Operand, Operand] | None:
        if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and _is_signal(a)):
            return None
        marks = self.marks.of(a), self.marks.of(b)
        return None if None in marks else (Operand(a, marks[0]), Operand(b, marks[1]))  # type: ignore[arg-type]

    def _fused(self, name: str, args: Arguments, kwargs: Named) -> tuple[Operand, Operand] | None:
        """Such as addcmul(x, scale, branch): the first argument, and a node for what the others make."""
        if not args or not isinstance(args[0], Tensor) or not _is_signal(args[0]):
            return None
        mark, others = self.marks.of(args[0]), self.marks.operands((*args[1:], *kwargs.values()))
        shape = args[0].shape
        fits = [x.shape == shape or (name in ops.PRODUCTS and x.shape[:-1] == shape[:-1]) for x in _tensors(args[1:])]
        if mark is None or not others.marks or not any(fits):
            return None
        flags = ops.flags_of(name, min(others.signals, 2), others.weighted)
        return Operand(args[0], mark), Operand(None, self.marks.graph.after(others.marks, flags))

    def _stacked(self, args: Arguments, kwargs: Named) -> tuple[Operand, Operand] | None:
        """Such as stack([a, b]).sum(0): the part that is most of a shortcut, and all others."""
        mark = self.marks.of(args[0]) if isinstance(args[0], Tensor) else None
        if mark is None or mark.parts is None:
            return None
        axis, parts = mark.parts
        if (args[1] if len(args) > 1 else kwargs.get("dim")) not in {axis, axis - args[0].dim()} or len(parts) < 2:
            return None
        graph = self.marks.graph
        splits = [(part, graph.after([p for p in parts if p is not part], PASSIVE)) for part in parts]
        found = [(part, rest, graph.judge(part, rest)) for part, rest in splits]
        for part, rest, verdict in found:
            if verdict is not None and verdict.shortcut == "identity" and verdict.short == 0:
                return Operand(None, part), Operand(None, rest)
        return Operand(None, found[0][0]), Operand(None, found[0][1])

    def _note(self, name: str, args: Arguments, kwargs: Named, output: Any) -> Any:
        """Mark what a function gave, and look at what it is; return it, or a copy that hooks survive on."""
        if name in ops.OF_A_SHAPE:
            return output
        values = (*args, *kwargs.values()) if kwargs else args
        operands = self.marks.operands(values)
        tensor = output if isinstance(output, Tensor) else None
        if tensor is not None:
            self._guard.check(tensor)
            if self._copy_views and operands.marks and self.marks.views_something_unknown(tensor, values):
                output = tensor = tensor.clone()
            if name in ops.LOOKUPS and operands.marks:
                output = tensor = self._root(tensor)
        first = args[0] if args and isinstance(args[0], Tensor) else None
        in_place = first is not None and (output is first or name == "__setitem__")
        before = self.marks.of(first) if first is not None else None
        flags = ops.flags_of(name, min(operands.signals, 2), operands.weighted)
        node = self.marks.pass_on(operands, flags, output, first if in_place else None)
        if node is None:
            return output
        if name in ops.CONCATENATIONS and len(operands.marks) > 1:
            rest = self.marks.graph.after(operands.marks[1:], PASSIVE)
            self.concatenations += self.marks.graph.judge(operands.marks[0], rest) is not None
        if flags.recurrent:
            self.recurrent[self._frames.name] = None
        if tensor is not None:
            self._hint(name, args, kwargs, tensor, before)
            self.sums.pass_by(name, flags, tensor, in_place=in_place)
        return output

    def _hint(self, name: str, args: Arguments, kwargs: Named, output: Tensor, before: Mark | None) -> None:
        """Note on the output what its node does not tell: that it is still a sum, or a layer's output."""
        mark = self.marks.of(output)
        if mark is None:
            return
        if name == "stack":
            parts = [self.marks.of(x) for x in _tensors(args[0])] if args else []
            axis = args[1] if len(args) > 1 else kwargs.get("dim", 0)
            if parts and None not in parts:
                mark.parts = (axis % output.dim(), tuple(parts))  # type: ignore[arg-type]
        elif before is not None and _only_views(name, args, kwargs):
            mark.tail = before.tail
            mark.addition = before.addition if output.shape == args[0].shape else None
        elif name in ops.MULTIPLICATIONS and before is not None and before.tail is not None and len(args) > 1:
            mark.tail = self._multiplied(before.tail, args[1], divided="div" in name)
        else:
            layer = layer_of(name, args, kwargs) if name in ops.PRODUCTS else None
            if layer is not None:
                self.marks.graph.gains[mark.node] = gain_of(layer)
                mark.tail = layer if is_held(layer) else None

    def _multiplied(self, tail: Tail, factor: Any, *, divided: bool) -> Tail | None:
        """The tail after a factor; None for one that is no number and made of no weights, such as a random mask."""
        if isinstance(factor, int | float) and factor:
            return tail.scaled(1 / factor if divided else factor)
        of_weights = isinstance(factor, Tensor) and self.marks.is_weight(factor)
        return tail.scaled(factor) if of_weights and not divided else None

    def _root(self, looked_up: Tensor) -> Tensor:
        """What was looked up by the input, as a place where the backward pass may end."""
        if not torch.is_grad_enabled():
            return looked_up
        if looked_up.requires_grad:
            self.roots.append(get_gradient_edge(looked_up))
            return looked_up
        leaf = looked_up.detach().requires_grad_()
        self.roots.append(get_gradient_edge(leaf))
        return leaf.clone()


def _is_signal(x: Tensor) -> bool:
    return x.is_floating_point() and x.dim() > 0 and x.numel() > 1 and x.layout is torch.strided


def _tensors(values: Any) -> list[Tensor]:
    return [x for x in values if isinstance(x, Tensor)] if isinstance(values, list | tuple) else []


def _only_views(name: str, args: Arguments, kwargs: Named) -> bool:
    """Whether the function leaves every number as it is."""
    if name in ops.VIEWS:
        return True
    if name not in ops.DROPOUTS:
        return False
    p = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    training = args[2] if len(args) > 2 else kwargs.get("training", True)
    return p == 0 or not training
