"""Which module of the net is running: a stack kept by torch's global module hooks, so that no module is touched."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


@dataclass(slots=True)
class Frame:
    """One call of a module. arguments: ids of the tensors it was given; additions: residual additions made in it."""

    serial: int
    name: str
    module: nn.Module
    arguments: frozenset[int]
    shapes: tuple[tuple[int, ...], ...]
    additions: int = 0


@dataclass
class Frames:
    """The calls of the net's modules that have not returned yet, the outermost first."""

    names: dict[int, str]
    stack: list[Frame] = field(default_factory=list)
    calls: int = 0

    @classmethod
    def of(cls, net: nn.Module) -> "Frames":
        """For the modules of a net."""
        return cls({id(module): name for name, module in net.named_modules()})

    @property
    def name(self) -> str:
        """Name of the innermost running module; empty for the net itself."""
        return self.stack[-1].name if self.stack else ""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow the calls. After an error the stack stays as it was when the error was raised."""
        handles = [register_module_forward_pre_hook(self._enter), register_module_forward_hook(self._leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, arguments: Any) -> None:
        name = self.names.get(id(module))
        if name is None:
            return
        tensors = [a for a in arguments if isinstance(a, Tensor)] if isinstance(arguments, tuple) else []
        shapes = tuple(tuple(t.shape) for t in tensors)
        self.calls += 1
        self.stack.append(Frame(self.calls, name, module, frozenset(map(id, tensors)), shapes))

    def _leave(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if id(module) in self.names:
            while self.stack and self.stack.pop().module is not module:
                pass
