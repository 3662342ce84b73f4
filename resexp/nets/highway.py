"""Highway networks: fully connected layers whose gate decides how much is changed and how much is carried on.

    h[k+1] = T(h[k]) relu(W h[k] + b) + (1 - T(h[k])) h[k],   T(h) = sigmoid(V h + c)

c starts negative, so that layers at first carry on what comes in. `10` is a plain layer to 50 units and 9 highway
layers; each has 2 (50^2 + 50) = 5,100 parameters, about those of a plain layer of 71 units.

Source: Srivastava et al. 2015, section 4.1.
"""

import torch
from torch import Tensor, nn

from resexp.core.initialisation import InitialisationName
from resexp.nets.family import Arguments, Family, matched
from resexp.nets.initialise import draw_


class HighwayLayer(nn.Module):
    """One layer of as many units out as in."""

    def __init__(self, width: int, gate_bias: float, init: InitialisationName) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        for layer in (self.transform, self.gate):
            draw_(layer.weight, init)
        nn.init.zeros_(self.transform.bias)
        nn.init.constant_(self.gate.bias, gate_bias)

    def forward(self, h: Tensor) -> Tensor:
        """From h (batch, width) to the same shape."""
        return torch.lerp(h, torch.relu(self.transform(h)), torch.sigmoid(self.gate(h)))


def highway(
    *,
    layers: int = 10,
    width: int = 50,
    inputs: int = 784,
    classes: int = 10,
    gate_bias: float = -2.0,
    init: InitialisationName = "he",
) -> nn.Module:
    """A highway network on vectors."""
    if gate_bias >= 0:
        raise ValueError(f"gate_bias={gate_bias:g}: it is negative, so that layers at first carry their input on")
    chain = [HighwayLayer(width, gate_bias, init) for _ in range(layers - 1)]
    stem = nn.Linear(inputs, width)
    draw_(stem.weight, init)
    return nn.Sequential(nn.Flatten(), stem, nn.ReLU(), *chain, nn.Linear(width, classes))


def read(text: str) -> Arguments:
    """`10`: layers before the classifier."""
    found = matched(r"(?P<layers>[1-9]\d*)", text, "it takes a number of layers, 10")
    return {"layers": int(found["layers"] or 0)}


def input_shape(inputs: int = 784) -> tuple[int, ...]:
    """A vector."""
    return (inputs,)


FAMILY = Family(read, highway, input_shape, ("width", "inputs", "classes", "gate_bias", "init"))
