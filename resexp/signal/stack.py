"""A residual stack: first linear layer, K blocks h' = skip h + branch f(h), linear read-out.

Here is what a stack is made of; propagator.py runs it.
"""

from dataclasses import dataclass

from resexp.core.initialisation import Initialisation
from resexp.core.network import ActivationName, Cotangent, NormedOrder, Order
from resexp.core.schemes import Scheme


@dataclass(frozen=True)
class Stack:
    """What a residual stack is made of; every network of an ensemble has the same.

    depth: blocks; width: units of each layer and inputs; batch: examples.
    """

    depth: int
    width: int
    batch: int
    scheme: Scheme
    order: Order | NormedOrder
    init: Initialisation
    activation: ActivationName
    cotangent: Cotangent

    @property
    def tile(self) -> int:
        """Networks that share one random stream and one batched product; a function of the width alone."""
        return 8 if self.width <= 512 else 2

    @property
    def matrices(self) -> int:
        """Weight matrices in a block."""
        return 2 if self.order == "two-layer" else 1

    @property
    def saved_tensors(self) -> int:
        """Tensors of (batch, width) that a block keeps for its backward pass."""
        return sum(kind != "multiply" for kind in self.layers())

    def layers(self) -> tuple[str, ...]:
        """Kinds of layer in a branch, in order (figure 11.5 a, b, c); batch norm comes first (figure 11.6 c)."""
        if self.order == "linear-relu-bn":
            return ("multiply", "activate", "norm")
        if self.order == "linear-bn-relu":
            return ("multiply", "norm", "activate")
        norm = ("norm",) if self.scheme.batchnorm else ()
        if self.order == "linear-relu":
            return (*norm, "multiply", "activate")
        return (*norm, "activate", "multiply") * self.matrices

    @property
    def is_homogeneous(self) -> bool:
        """Whether scaling the signal scales the output, so that it may be brought back into range on the way."""
        return self.activation in {"relu", "linear"} and "norm" not in self.layers()

    @property
    def signs_suffice(self) -> bool:
        """Whether the backward pass needs no more of the signal than which units were on."""
        return self.is_homogeneous
