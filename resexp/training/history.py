"""What a training leaves beside its nets: curves, where nets diverged, what was watched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CURVES = ("train_loss", "train_error", "test_loss", "test_error")


@dataclass(frozen=True)
class History:
    """Curves of nets, on the CPU in float64; nan from where a net diverged, or where the training was stopped.

    step_loss, step_error: (steps, nets) of each mini-batch before its step; train_loss, train_error: (epochs, nets)
    their means over each epoch; test_loss, test_error: (epochs, nets) after each epoch, in evaluation mode;
    watched: what `watch` gave at epochs 0, 1, ..., (epochs + 1, nets, ...).
    """

    step_loss: Tensor
    step_error: Tensor
    train_loss: Tensor
    train_error: Tensor
    test_loss: Tensor
    test_error: Tensor
    watched: Mapping[str, Tensor]

    @property
    def diverged(self) -> list[int | None]:
        """Step, counted from 0, at which the loss of each net was no finite number; None where it always was."""
        bad = ~self.step_loss.isfinite()
        return [int(net.nonzero()[0]) if net.any() else None for net in bad.T]

    @classmethod
    def of(cls, parts: "Sequence[History]") -> "History":
        """The nets of several trainings behind each other."""
        names = ("step_loss", "step_error", *CURVES)
        curves = {name: torch.cat([getattr(part, name) for part in parts], 1) for name in names}
        watched = {name: torch.cat([part.watched[name] for part in parts], 1) for name in parts[0].watched}
        return cls(**curves, watched=watched)
