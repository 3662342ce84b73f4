"""Whether gradients are shattered: how alike the gradient at the input is at neighbouring points of a line.

    x(t) = (1 - t) x0 + t x1,   g = d<y(x(t)), v> / dx,   g' the same at t + STEP
    rho = 2 sum <g, g'> / sum (g^2 + g'^2)

for a fixed random direction v. A linear net has rho = 1; gradients that are white noise to the input have rho near 0.
The points share a batch with other examples, so that batch norms see the variety they are made for, and dropout is off:
its masks would shatter any gradient. Source: Balduzzi et al. 2017.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from resexp.probing import operations as ops
from resexp.probing.output import choose
from resexp.probing.passes import Inputs

STEP = 1 / 16
"""Of the way from one input to another between neighbouring points."""
FEWEST = 4
"""Points on the line."""


class _NoDropout(TorchFunctionMode):
    """Drops nothing, whatever the mode of the net."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, kwargs = getattr(function, "__name__", ""), dict(kwargs or {})
        if name in ops.DROPOUTS:
            return args[0]
        if name == "bernoulli_":  # the mask of stochastic depth, which is divided by its mean
            return args[0].fill_(args[1] if len(args) > 1 else kwargs.get("p", 0.5))
        if "dropout_p" in kwargs:
            kwargs["dropout_p"] = 0.0
        elif name == "multi_head_attention_forward" and len(args) > 10:
            args = (*args[:10], 0.0, *args[11:])
        return function(*args, **kwargs)


def autocorrelation(net: nn.Module, inputs: Inputs, generator: torch.Generator) -> float | None:
    """Rho on a line from the first example towards the second; None where the input is no signal.

    A quarter of the batch, but no less than FEWEST, are points of the line, and another quarter other examples.
    """
    tensors = [x for x in (*inputs.positional, *inputs.named.values()) if isinstance(x, Tensor)]
    if len(tensors) != 1 or not tensors[0].is_floating_point() or len(tensors[0]) < 2:
        return None
    x = tensors[0].detach()
    points = max(FEWEST, len(x) // 4)
    t = STEP * torch.arange(points, device=x.device, dtype=x.dtype).view(-1, *[1] * (x.dim() - 1))
    line = (x[:1] + t * (x[1:2] - x[:1])).requires_grad_()
    whole = torch.cat([line, x[2 : 2 + len(x) // 4]])
    given = replace(inputs.through(lambda _: whole), batch=len(whole))
    with torch.enable_grad(), _NoDropout():
        y = choose(net(*given.positional, **given.named)).tensor
    if not y.requires_grad or y.dim() == 0 or len(y) != len(whole):
        return None
    direction = torch.randn(y.shape[1:], generator=generator).to(y.device, y.dtype)
    (gradient,) = torch.autograd.grad((y[:points] * direction).sum(), line)
    return _correlation(gradient.detach().reshape(points, -1).double())


def _correlation(g: Tensor) -> float | None:
    largest = g.abs().max()
    if not largest.isfinite() or largest == 0:
        return None
    g = g / largest
    squares = g.square().sum(1)
    return float(2 * (g[1:] * g[:-1]).sum() / (squares[1:] + squares[:-1]).sum())
