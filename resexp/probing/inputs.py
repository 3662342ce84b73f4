"""What a net is shown: noise of a shape, random tokens, a file of examples, or a folder of images.

    3x224x224                 normal noise, one example's shape
    tokens:128, tokens:128/50257   whole numbers below the size of the net's first embedding, or below 50257
    examples.npy, examples.pt      examples along the first axis, of which each draw takes some
    photos@3x224x224          a folder of images, resized, normalised as ImageNet's

Several inputs are joined by `+`, and `name=` before one makes it a named argument.
"""

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resexp.core.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from resexp.probing.passes import Inputs

MOST_NUMBERS = 10**9
FILES = (".npy", ".pt", ".pth")


@dataclass(frozen=True)
class Item:
    """One input. shape: of noise, of images, or (length,) of tokens; below: tokens are less than it; 0: not said."""

    kind: str
    shape: tuple[int, ...] = ()
    path: str = ""
    below: int = 0
    name: str = ""


def parse(text: str) -> tuple[Item, ...]:
    """Items of an --input. Raises ValueError for what is none."""
    return tuple(_item(part) for part in text.split("+"))


def _item(text: str) -> Item:
    name, equals, rest = text.partition("=")
    if equals and name.isidentifier():
        return Item(**{**vars(_item(rest)), "name": name})
    tokens = re.fullmatch(r"tokens:(\d+)(?:/(\d+))?", text)
    if tokens:
        return Item("tokens", _shape(tokens[1]), below=int(tokens[2] or 0))
    if re.fullmatch(r"\d+(x\d+)*", text):
        return Item("noise", _shape(text))
    path, at, shape = text.rpartition("@")
    if at:
        return Item("images", _shape(shape), path)
    if Path(text).suffix in FILES:
        return Item("file", path=text)
    if text and Path(text).is_dir():
        return Item("images", (3, 224, 224), text)
    raise ValueError(
        f"'{text}' is no input: write 3x224x224 for noise, tokens:128 for tokens, or name a .npy or .pt file, or a "
        "folder of images"
    )


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(x\d+)*", text):
        raise ValueError(f"'{text}' is no shape such as 3x224x224")
    shape = tuple(map(int, text.split("x")))
    if not 0 < math.prod(shape) <= MOST_NUMBERS:
        raise ValueError(f"'{text}' holds {math.prod(shape):,} numbers; 1 to {MOST_NUMBERS:,} can be")
    return shape


def digest(text: str) -> str:
    """What tells two versions of the files in an --input, or of one file, apart; empty where there are none."""
    try:
        items = parse(text) if text else ()
    except ValueError:
        items = (Item("file", path=text),)
    found = hashlib.sha256()
    for item in items:
        if item.kind == "file" and Path(item.path).is_file():
            with Path(item.path).open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        elif item.kind == "images" and Path(item.path).is_dir():
            for path in sorted(Path(item.path).rglob("*")):
                status = path.stat()
                found.update(f"{path.name}/{status.st_size}/{status.st_mtime_ns};".encode())
        else:
            continue
        found.update(b"|")
    return found.hexdigest()[:16] if any(item.path for item in items) else ""


class Examples:
    """Makes the inputs of each draw. Files are opened once."""

    def __init__(self, items: tuple[Item, ...], batch: int) -> None:
        self.items, self.batch = items, batch
        self._read = {item: self._opened(item) for item in items if item.kind in {"file", "images"}}

    def make(self, net: "nn.Module", generator: "torch.Generator") -> "Inputs":
        """Inputs of one draw, on the net's device and in its dtype."""
        from resexp.probing.passes import Inputs

        made = [(item.name, self._placed(item, net, generator)) for item in self.items]
        named = {name: tensor for name, tensor in made if name}
        batch = min(len(tensor) for _, tensor in made)
        return Inputs([tensor for name, tensor in made if not name], named, batch)

    def _placed(self, item: Item, net: "nn.Module", generator: "torch.Generator") -> "Tensor":
        import torch

        like = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
        made = self._made(item, net, generator)
        return made.to(like.device, like.dtype) if made.is_floating_point() else made.to(like.device)

    def _made(self, item: Item, net: "nn.Module", generator: "torch.Generator") -> "Tensor":
        import torch

        if item.kind == "noise":
            return torch.randn(self.batch, *item.shape, generator=generator)
        if item.kind == "tokens":
            below = item.below or vocabulary(net)
            return torch.randint(below, (self.batch, *item.shape), generator=generator)
        count, take = self._read[item]
        few = min(self.batch, count)
        return take(torch.randperm(count, generator=generator)[:few])

    def _opened(self, item: Item) -> "tuple[int, Callable[[Tensor], Tensor]]":
        """How many examples a file or folder holds, and a function that takes some of them."""
        if item.kind == "images":
            from resexp.core.images import Folder

            folder = Folder(Path(item.path), item.shape)
            return len(folder), folder.take
        return _opened_file(Path(item.path))


def vocabulary(net: "nn.Module") -> int:
    """Size of the net's first embedding. Raises UsageError where it has none."""
    from torch import nn

    for module in net.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            return module.num_embeddings
    raise UsageError("--input tokens: the net has no embedding to take the size from; write tokens:LENGTH/SIZE.")


def _opened_file(path: Path) -> "tuple[int, Callable[[Tensor], Tensor]]":
    """Examples of a .npy or .pt file, read without running code in it."""
    import numpy as np
    import torch

    from resexp.nets.load import why_unread

    if not path.is_file():
        raise UsageError(f"--input {path}: there is no such file.")
    array: Any
    try:
        if path.suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            array = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  (a damaged file can raise anything)
        raise UsageError(f"--input {path} cannot be read as plain numbers: {why_unread(error)}") from None
    if not isinstance(array, np.ndarray | torch.Tensor):
        raise UsageError(f"--input {path} holds a {type(array).__name__}, not one tensor of examples.")
    if array.ndim < 1 or len(array) < 1:
        raise UsageError(f"--input {path} holds no examples along its first axis.")

    def take(order: torch.Tensor) -> torch.Tensor:
        if isinstance(array, torch.Tensor):
            return array[order].clone()
        taken = torch.from_numpy(np.ascontiguousarray(array[order.numpy()]))
        return taken.float() if taken.dtype == torch.float64 else taken

    return len(array), take
