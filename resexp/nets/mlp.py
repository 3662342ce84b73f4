"""Fully connected nets, plain and residual, of the book's problems.

`10x20` has 10 hidden layers of 20 units, one input and one output:

    h[1] = W x + b,   h[k+1] = skip h[k] + alpha f(h[k]),   y = W relu(norm(h[K])) + b,   f = norm, relu, W, b

Plain (skip = 0), which is the default, it is the net of problem 11.8: 3,841 parameters, and 4,241 with norm=batch,
which then normalises every hidden unit (biases stay, as the problem counts them). scheme=residual, rescaled, skipinit
and so on make it residual; branch=2 has two layers in a branch, and then the number of hidden layers is odd.

Source: Prince 2023, equations 11.4-11.6, problems 11.5-11.8.
"""

from torch import nn

from resexp.core.initialisation import InitialisationName
from resexp.core.schemes import SchemeName
from resexp.nets.family import Arguments, Family, matched
from resexp.nets.recipe import Recipe
from resexp.nets.residual import ResidualNet


def mlp(
    *,
    layers: int = 10,
    width: int = 20,
    branch: int = 1,
    inputs: int = 1,
    outputs: int = 1,
    norm: str | None = None,
    scheme: SchemeName = "plain",
    drop: str = "none",
    init: InitialisationName = "he",
) -> nn.Module:
    """A net of `layers` hidden layers, the first of them before the blocks, `branch` in each block."""
    if (layers - 1) % branch:
        raise ValueError(f"{layers} hidden layers are not one and blocks of {branch}")
    blocks = (layers - 1) // branch
    norm = norm or ("batch" if scheme == "batchnorm" else "none")
    recipe = Recipe(norm, scheme, drop, init, blocks=max(1, blocks), depth=branch, dimensions=0)
    chain = []
    for number in range(1, blocks + 1):
        parts: list[nn.Module] = []
        for layer in range(1, branch + 1):
            parts += [recipe.normaliser(width), nn.ReLU()]
            parts += recipe.dropout() if layer == branch else []
            parts.append(recipe.branch_layer(width, width, last=layer == branch, bias=not recipe.fixup))
        parts += recipe.multiplier()
        chain.append(recipe.residual(number, nn.Sequential(*parts)))
    last = recipe.layer(width, outputs, bias=True, scale=0.0 if recipe.fixup else 1.0)
    stem = recipe.layer(inputs, width, bias=not recipe.fixup)
    return ResidualNet(stem, chain, nn.Sequential(recipe.normaliser(width), nn.ReLU(), *recipe.entry(), last))


def read(text: str) -> Arguments:
    """`10x20`: hidden layers and their units."""
    expected = "it takes hidden layers and their units, 10x20"
    found = matched(r"(?P<layers>[1-9]\d*)x(?P<width>[1-9]\d*)", text, expected)
    return {key: int(value or 0) for key, value in found.items()}


def input_shape(inputs: int = 1) -> tuple[int, ...]:
    """A vector."""
    return (inputs,)


FAMILY = Family(read, mlp, input_shape, ("branch", "inputs", "outputs", "norm", "scheme", "drop", "init"))
