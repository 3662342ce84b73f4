"""A net of the zoo by name, with weights from a file if there is one, and the batches that it is shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from resexp.nets import zoo
from resexp.nets.load import load_state
from resexp.probing.inputs import Examples, digest, parse


@dataclass(frozen=True)
class NamedNet:
    """checkpoint: file with weights, None for fresh ones; input: what one example is, None for the net's own shape."""

    name: str
    checkpoint: str | None
    input: str | None
    batch: int

    def check(self) -> None:
        """Raise ValueError for an input that is not a single tensor."""
        try:
            items = parse(self.input) if self.input else ()
        except ValueError as error:
            raise ValueError(f"--input {self.input}: {error}.") from None
        if len(items) > 1 or any(item.name or item.kind == "tokens" for item in items):
            raise ValueError(f"--input {self.input}: these nets take one tensor, such as 3x32x32.")

    def fresh(self) -> Callable[[], nn.Module]:
        """A function that builds the net with fresh weights. Raises UsageError where there is no such net."""
        return zoo.factory(self.name)

    def make(self) -> Callable[[], nn.Module]:
        """A function that builds the net, with the weights of the checkpoint where there is one."""
        build, checkpoint = self.fresh(), self.checkpoint
        if checkpoint is None:
            return build

        def loaded() -> nn.Module:
            net = build()
            load_state(net, Path(checkpoint))
            return net

        return loaded

    def examples(self) -> Examples:
        """Batches for it."""
        return Examples(parse(self.input or "x".join(map(str, zoo.input_shape(self.name)))), self.batch)

    def content(self) -> Mapping[str, str]:
        """Digests of the files that are named."""
        files = {"checkpoint": digest(self.checkpoint or ""), "input": digest(self.input or "")}
        return {name: said for name, said in files.items() if said}
