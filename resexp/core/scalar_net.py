"""Networks with one scalar input and output, and the protocols of figure 11.3 by name: definitions.

    h[1] = w x + bias,   h[k+1] = skip h[k] + branch (W relu(n(h[k])) + bias),   y = w' relu(n(h[L]))

n is nothing, centring, or batch normalisation of each unit over a grid of inputs.
"""

import math
from dataclasses import dataclass
from typing import Literal

Protocol = Literal["book", "he", "balduzzi", "residual", "rescaled", "residual-batchnorm", "looks-linear"]
Norm = Literal["none", "centre", "batchnorm"]
FirstLayer = Literal["he", "glorot", "unit"]
Init = Literal["he", "glorot"]

RESIDUAL: tuple[Protocol, ...] = ("residual", "rescaled", "residual-batchnorm")


@dataclass(frozen=True)
class ScalarNet:
    """A net with one input. first, bias: variances of the first weights and of biases; gain: of W, times the fan-in.

    mirrored: orthogonal weights (W, -W) on (relu(h), relu(-h)), which together are linear;
    differentiated: dy/dx goes through mean and deviation of the norm, else they are held fixed.
    """

    depth: int
    width: int
    first: float
    gain: float
    bias: float
    skip: float
    branch: float
    norm: Norm
    mirrored: bool = False
    differentiated: bool = False


def net_of(
    protocol: Protocol,
    *,
    depth: int,
    width: int,
    beta: float | None = None,
    init: Init | None = None,
    bias_variance: float | None = None,
    first_layer: FirstLayer | None = None,
    centre: Literal["none", "activations"] | None = None,
    differentiated: bool = False,
) -> ScalarNet:
    """The net of a protocol, with what is not None overridden; bias_variance: of biases; beta: the branch's scale."""
    glorot = init == "glorot" or (init is None and protocol == "book")
    first = first_layer or ("glorot" if protocol == "book" else "he")
    own_bias = 1.0 / width if protocol == "book" else 0.0
    scale = math.sqrt(0.5) if protocol == "rescaled" else 1.0
    return ScalarNet(
        depth=depth,
        width=width,
        first={"he": 2.0, "glorot": 2.0 / (1 + width), "unit": 1.0}[first],
        gain=1.0 if glorot else 2.0,
        bias=own_bias if bias_variance is None else bias_variance,
        skip=scale if protocol in RESIDUAL else 0.0,
        branch=scale if beta is None else beta,
        norm=norm_of(protocol, centre),
        mirrored=protocol == "looks-linear",
        differentiated=differentiated,
    )


def norm_of(protocol: Protocol, centre: Literal["none", "activations"] | None = None) -> Norm:
    """The norm of a protocol; centre: overrides it where the protocol has no batch normalisation."""
    if protocol == "residual-batchnorm":
        return "batchnorm"
    centred = centre == "activations" or (centre is None and protocol == "balduzzi")
    return "centre" if centred else "none"
