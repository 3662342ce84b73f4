"""Names of what a residual stack is made of: definitions that declarations and the engine share."""

from typing import Literal, get_args

ActivationName = Literal["relu", "tanh", "gelu", "linear"]
ACTIVATIONS: tuple[ActivationName, ...] = get_args(ActivationName)

Order = Literal["relu-linear", "linear-relu", "two-layer"]
"""Order of layers in a branch: figure 11.5 b, a, c."""
ORDERS: tuple[Order, ...] = get_args(Order)

NormedOrder = Literal["linear-relu-bn", "linear-bn-relu"]
"""Order of layers in a plain net whose every layer is normalised."""
NORMED_ORDERS: tuple[NormedOrder, ...] = get_args(NormedOrder)

Cotangent = Literal["loss", "independent", "sum"]
"""Scalar whose gradient is taken: least squares, an independent direction for each example, the sum of the outputs."""
COTANGENTS: tuple[Cotangent, ...] = get_args(Cotangent)

Engine = Literal["explicit", "law"]
"""How products with random weights are computed: with real matrices, or sampled by their law."""
ENGINES: tuple[Engine, ...] = get_args(Engine)
