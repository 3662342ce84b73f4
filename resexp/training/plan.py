"""How nets are trained, in numbers: one declaration that the loop, the optimiser and the checkpoints read."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from resexp.core.errors import UsageError

ScheduleName = Literal["constant", "step", "cosine"]
PrecisionName = Literal["full", "mixed"]
Decays = Callable[[str, int], bool]


def everything(name: str, dimensions: int) -> bool:
    """Weight decay on all parameters, as in He et al. 2015."""
    return True


def layers_alone(name: str, dimensions: int) -> bool:
    """Weight decay on weights of convolutions and linear layers, not on biases, gamma and beta."""
    return dimensions >= 2


def convolutions_alone(name: str, dimensions: int) -> bool:
    """Weight decay on the weights of convolutions."""
    return dimensions >= 3


@dataclass(frozen=True)
class Plan:
    """Stochastic gradient descent with momentum, as He et al. 2015 use it unless something else is said.

    epochs; batch: examples a step; rate: highest learning rate, one for all nets or one each;
    drops: shares of the training after which a `step` schedule divides the rate by ten;
    warm_up: epochs in which the rate rises from zero in proportion to the step;
    decays: whether a parameter of that name and so many dimensions decays;
    augment: shift images by up to an eighth of their side, and mirror them where the data allow it;
    precision: `mixed` computes in bfloat16 what autocast says, weights stay in the lab's dtype;
    compile: run the net through torch.compile;
    side_by_side: most nets that train as one, None for what the device takes best (training/grouping.py).
    """

    epochs: int = 8
    batch: int = 128
    rate: float | tuple[float, ...] = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decays: Decays = everything
    schedule: ScheduleName = "step"
    drops: tuple[float, ...] = (0.6, 0.85)
    warm_up: float = 0.0
    label_smoothing: float = 0.0
    augment: bool = False
    precision: PrecisionName = "full"
    compile: bool = False
    side_by_side: int | None = None

    def rates(self, nets: slice) -> tuple[float, ...] | float:
        """Highest learning rate of these nets."""
        return self.rate if isinstance(self.rate, float | int) else self.rate[nets]

    def factor(self, step: int, steps_an_epoch: int) -> float:
        """Share of the highest rate at step 0, 1, ... of the training."""
        done = step / (self.epochs * steps_an_epoch)
        rise = min(1.0, (step + 1) / (self.warm_up * steps_an_epoch)) if self.warm_up > 0 else 1.0
        if self.schedule == "cosine":
            return rise * 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule == "step":
            return rise * 0.1 ** sum(done >= drop for drop in self.drops)
        return rise

    def __post_init__(self) -> None:
        """Refuse what cannot be trained by."""
        if self.epochs < 0 or self.batch < 1 or self.side_by_side == 0:
            raise UsageError(f"A plan needs epochs >= 0, batch >= 1, side_by_side >= 1, not {self}.")
