"""Mini-batches from memory: each net has its own order of examples, shifts and reflections, all from keyed seeds.

They depend on the lab's seed, the number of the net and the epoch alone, so a training that goes on from a checkpoint
sees what it would have seen.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from resexp.core.lab import Lab
from resexp.training.data.dataset import Examples

SHIFT = 8
"""An image is shifted by up to this fraction of its side: 4 pixels of 32, as in He et al. 2015."""


class Batches:
    """Whole mini-batches of `size`, in a new order each epoch; what is left over waits for the next.

    numbers: of the nets, which key their random numbers; shift, mirror: whether images are.
    """

    def __init__(
        self, examples: Examples, size: int, lab: Lab, numbers: Sequence[int], *, shift: bool, mirror: bool
    ) -> None:
        self.examples, self.size = examples, min(size, len(examples))
        self._lab, self._numbers, self._shift, self._mirror = lab, numbers, shift, mirror

    def __len__(self) -> int:
        """Steps an epoch."""
        return len(self.examples) // self.size

    def epoch(self, number: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs (batch, nets, *shape) and targets (batch, nets, ...) of an epoch, from step `first` of it on."""
        inputs, targets = self.examples.inputs, self.examples.targets
        images = (self._shift or self._mirror) and inputs.dim() == 4
        order = self._drawn(lambda generator: torch.randperm(len(inputs), generator=generator), "order", number)
        moves = self._drawn(self._moves, "augmentation", number) if images else None
        for step in range(first, len(self)):
            some = slice(step * self.size, (step + 1) * self.size)
            chosen = order[some]  # (batch, nets)
            x = inputs.index_select(0, chosen.flatten())
            if moves is not None:
                x = moved(x, *moves[some].flatten(0, 1).unbind(1))
            y = targets.index_select(0, chosen.flatten())
            yield torch.unflatten(x, 0, chosen.shape), torch.unflatten(y, 0, chosen.shape)

    def _drawn(self, draw: Callable[[torch.Generator], Tensor], purpose: str, epoch: int) -> Tensor:
        """What each net draws, (examples, nets, ...), on the device of the examples."""
        generators = (torch.Generator().manual_seed(self._lab.key(purpose, n, epoch) % 2**63) for n in self._numbers)
        drawn = torch.stack([draw(generator) for generator in generators], dim=1)
        return drawn.to(self.examples.inputs.device, non_blocking=True)

    def _moves(self, generator: torch.Generator) -> Tensor:
        """Pixels down and to the right, and whether mirrored, (examples, 3)."""
        count, *_, height, width = self.examples.inputs.shape
        most = (height // SHIFT, width // SHIFT) if self._shift else (0, 0)
        drawn = [torch.randint(-side, side + 1, (count,), generator=generator) for side in most]
        mirrored = torch.randint(2 if self._mirror else 1, (count,), generator=generator)
        return torch.stack([*drawn, mirrored], dim=1)


def moved(images: Tensor, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    """Images (batch, channels, height, width), each mirrored, then shifted, by its own (batch,); zeros come in."""
    _, _, height, width = images.shape
    tall, wide = height // SHIFT, width // SHIFT
    rows = torch.arange(height, device=images.device) - down[:, None] + tall  # (batch, height)
    columns = torch.arange(width, device=images.device) - right[:, None]  # (batch, width)
    columns = torch.where(mirrored[:, None] > 0, width - 1 - columns, columns) + wide
    padded = pad(images, (wide, wide, tall, tall)).permute(0, 2, 3, 1)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
