"""What several cells of a batch need alike, such as trained nets: computed by the first, found by the others.

Two cells that start at the same time both compute it, and both write the same bytes. It lies among the checkpoints and
is removed when the last of the cells has its result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from resexp.training.checkpoint import Checkpoint

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Shared:
    """What the parts 1 to `of` of a computation have in common. checkpoint: None for a whole, which shares nothing."""

    checkpoint: Checkpoint | None
    of: int = 1

    def get(self, compute: Callable[[], Tensors]) -> Tensors:
        """What was kept, or what `compute` gives, which is then kept. Raises DamagedCheckpointError."""
        if self.checkpoint is None:
            return compute()
        kept = self.checkpoint.load()
        if kept is not None:
            return kept[0]
        found = compute()
        self.checkpoint.save(found, {})
        return found

    def finished(self, part: int) -> None:
        """Note that a part has its result; the last one removes what was kept."""
        if self.checkpoint is None:
            return
        folder = self.checkpoint.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"finished-{part}-of-{self.of}").touch()
        if all((folder / f"finished-{n}-of-{self.of}").exists() for n in range(1, self.of + 1)):
            self.checkpoint.discard()
