"""What nets trained with a regulariser end with: errors, errors with a block left out, and operations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from resexp.core.lab import Lab
from resexp.core.statistics import Array
from resexp.nets.regularisers import RandomDrop, ShakeShake
from resexp.nets.residual import ResidualNet
from resexp.training.block_policy import train_policy, used_blocks
from resexp.training.branch_counts import branch_operations, computed, operations
from resexp.training.data.dataset import Data, Examples
from resexp.training.fit import Moment
from resexp.training.history import History
from resexp.training.lesions import chain_of, deletion


@dataclass(frozen=True)
class Found:
    """Of all nets with one regulariser, (nets,) each; curves (epochs, nets), or (1, nets) where only the end is known.

    branches_computed: share of the branches that were computed in training; costs: operations of a forward pass over
    those of the net without a regulariser. diverged: step, or None.
    """

    train_loss: Array
    test_error: Array
    lesion_error: Array
    branches_computed: Array
    training_cost: Array
    evaluation_cost: Array
    diverged: Sequence[int | None]


class EvenBranches(ShakeShake):
    """(f1(h) + f2(h)) / 2 always: Shake-Shake without its random numbers."""

    def forward(self, h: Tensor) -> Tensor:
        """Both branches, mixed evenly."""
        both: Tensor = 0.5 * (self.first(h) + self.second(h))
        return both


def mix_evenly(net: nn.Module) -> None:
    """Take the random numbers out of a Shake-Shake net."""
    for module in net.modules():
        if isinstance(module, ShakeShake):
            module.__class__ = EvenBranches


def ramp(moment: Moment) -> None:
    """Let RandomDrop's rates rise in proportion to the step."""
    for module in moment.net.modules():
        if isinstance(module, RandomDrop):
            module.ramp((moment.step + 1) / moment.steps)


def of_trained(nets: Sequence[ResidualNet], history: History, data: Data, reference: int) -> Found:
    """What was found of trained nets. reference: operations of the net without a regulariser."""
    whole, branches = operations(nets[0], data.shape), branch_operations(nets[0], data.shape)
    steps = len(history.step_loss)
    shares, costs = [], []
    for net in nets:
        share = np.array(computed(net)) / steps if computed(net) else np.ones(len(branches))
        shares.append(share.mean())
        costs.append((whole - np.dot(branches, 1.0 - share)) / reference)
    return Found(
        history.train_loss.numpy(),
        history.test_error.numpy(),
        np.array([lesion_error(net, data.test) for net in nets]),
        np.array(shares),
        np.array(costs),
        np.full(len(nets), whole / reference),
        history.diverged,
    )


def with_policies(
    nets: Sequence[ResidualNet], data: Data, lab: Lab, *, epochs: int, batch: int, penalty: float
) -> Found:
    """The same of trained nets that are given a policy each, of a quarter of their width."""
    whole, branches = operations(nets[0], data.shape), branch_operations(nets[0], data.shape)
    stem = next(layer for layer in nets[0].stem.modules() if isinstance(layer, nn.Conv2d))
    errors, costs = [], []
    for number, net in enumerate(nets):
        width = max(1, stem.out_channels // 4)
        selective = train_policy(
            net, data, lab, epochs=epochs, batch=batch, penalty=penalty, width=width, number=number
        )
        error, used = used_blocks(selective, data.test)
        errors.append(float(error))
        saved = float(np.dot(branches, 1.0 - used.cpu().numpy()))
        costs.append((whole - saved + operations(selective.policy, data.shape)) / whole)
    none = np.full(len(nets), np.nan)
    return Found(np.empty((0, len(nets))), np.array([errors]), none, none, none, np.array(costs), [None] * len(nets))


def lesion_error(net: ResidualNet, examples: Examples) -> float:
    """Share of wrong examples in evaluation with one block left out, median over the blocks."""
    chain = chain_of(net)
    return float(np.median(chain.errors(examples, [deletion(len(chain.layers), [k]) for k in chain.intact])))
