"""Whether gradients are shattered: how alike the gradient at the input is at neighbouring points of a line.

    x(t) = (1 - t) x0 + t x1,   g_i = d<y(x_i), v> / dx,   rho(lag) = mean <g_i, g_(i+lag)> / mean <g_i, g_i>

for a fixed random direction v. A linear net has rho = 1 at any distance; gradients that are white noise to the input
have rho near 0 between neighbours. Source: Balduzzi et al. 2017.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from resexp.probing.output import choose
from resexp.probing.passes import Inputs

POINTS = 16
LEAST = 4


def autocorrelation(net: nn.Module, inputs: Inputs, points: int, generator: torch.Generator) -> float | None:
    """Rho between neighbours on a line between the first two examples; None where the input is no signal.

    points: on the line, so that neighbours are 1/(points - 1) of the way from one input to the other apart.
    """
    tensors = [x for x in (*inputs.positional, *inputs.named.values()) if isinstance(x, Tensor)]
    if points < LEAST or len(tensors) != 1 or not tensors[0].is_floating_point() or len(tensors[0]) < 2:
        return None
    x = tensors[0].detach()
    t = torch.linspace(0, 1, points, device=x.device, dtype=x.dtype).view(-1, *[1] * (x.dim() - 1))
    line = (x[:1] + t * (x[1:2] - x[:1])).requires_grad_()
    given = replace(inputs.through(lambda _: line.clone()), batch=points)
    with torch.enable_grad():
        y = choose(net(*given.positional, **given.named)).tensor
        if not y.requires_grad or y.dim() == 0 or len(y) != points:
            return None
        direction = torch.randn(y.shape[1:], generator=generator).to(y.device, y.dtype)
        (gradient,) = torch.autograd.grad((y * direction).sum(), line)
    g = gradient.detach().reshape(points, -1).double()
    largest = g.abs().max()
    if not largest.isfinite() or largest == 0:
        return None
    g = g / largest
    return float((g[1:] * g[:-1]).sum() / (points - 1) / (g.square().sum() / points))
