"""Networks with one scalar input over a grid: activations, and beside them their derivatives along the input.

    h[1] = w x + bias,   h[k+1] = skip h[k] + branch (W relu(n(h[k])) + bias),   t[k] = dh[k]/dx

n is nothing, centring, or batch normalisation of each unit over the grid, its mean and deviation held fixed. The
tangent t goes forward through the same products as h, so that dy/dx on the whole grid costs one pass. The random
read-out y = w' relu(n(h[L])) is averaged over analytically: given the last layer, E[y'(x) y'(x')] is the inner product
of the features' tangents.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.lab import Lab
from resexp.signal.weights import NormalSource

TILE = 8


@dataclass(frozen=True)
class ScalarNet:
    """A net with one input. first, bias: variances of the first weights and of biases; gain: of W, times the fan-in.

    norm: `none`, `centre` or `batchnorm`;
    mirrored: orthogonal weights (W, -W) on (relu(h), relu(-h)), which together are linear.
    """

    depth: int
    width: int
    first: float
    gain: float
    bias: float
    skip: float
    branch: float
    norm: str
    mirrored: bool


def tangent_products(lab: Lab, net: ScalarNet, x: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """Mean over units of f'(x_i) f'(x_j), f the features before the read-out, (draws, points, points).

    Each network has a scale of its own, a power of two that is common to all: the ratio of two entries is what counts.
    """
    torch.set_num_threads(1)
    tiles = -(-draws // TILE)
    products, exponents = [], []
    with torch.inference_mode():
        for tile in range(tiles):
            tangents, exponent = _features(lab, net, x, tile)
            products.append((torch.bmm(tangents, tangents.mT) / net.width).double().cpu().numpy())
            exponents.append(exponent)
            lab.progress(tile + 1, tiles)
    exponent = np.concatenate(exponents)[:draws]
    scale = np.exp2(2.0 * (exponent - exponent.max()))
    return np.asarray(np.concatenate(products)[:draws] * scale[:, None, None])


def _features(lab: Lab, net: ScalarNet, x: NDArray[np.float64], tile: int) -> tuple[Tensor, NDArray[np.int64]]:
    """Tangents of the last features, (networks, points, width), and the power of two of each network."""
    source, points = NormalSource(lab), len(x)
    grid = torch.from_numpy(x).to(lab.torch_device, lab.torch_dtype)
    w = source.draw((TILE, 1, net.width), math.sqrt(net.first), "first layer", tile)
    both = torch.empty((TILE, 2 * points, net.width), dtype=lab.torch_dtype, device=lab.torch_device)
    h, t = both[:, :points], both[:, points:]  # h above, t below: one product serves both
    torch.mul(grid[:, None], w, out=h)
    t.copy_(w.expand_as(t))
    _add_bias(source, net, h, tile, 0)
    inputs, exponent = torch.empty_like(both), np.zeros(TILE, dtype=np.int64)
    weights = torch.empty((TILE, net.width, net.width), dtype=lab.torch_dtype, device=lab.torch_device)
    for block in range(1, net.depth):
        _activate(net, h, t, inputs)
        _fill_weights(source, net, weights, tile, block)
        both.baddbmm_(inputs, weights, beta=net.skip, alpha=net.branch)
        _add_bias(source, net, h, tile, block)
        exponent += _rescale(net, h, t)
    _activate(net, h, t, inputs)
    return inputs[:, points:], exponent


def _activate(net: ScalarNet, h: Tensor, t: Tensor, out: Tensor) -> None:
    """Out <- (relu(n(h)), 1(n(h) > 0) n(h)'), above and below; mirrored: (h, t), for W relu(h) - W relu(-h)."""
    points = h.shape[1]
    relu, slope = out[:, :points], out[:, points:]
    if net.mirrored:
        torch.sub(torch.relu(h), torch.relu(-h), out=relu)
        slope.copy_(t)
        return
    if net.norm == "none":
        torch.clamp_min(h, 0.0, out=relu)
        torch.ops.aten.threshold_backward.grad_input(t, relu, 0.0, grad_input=slope)
        return
    z = h - h.mean(1, keepdim=True)
    moved = t
    if net.norm == "batchnorm":
        deviation = torch.linalg.vector_norm(z, dim=1, keepdim=True) / math.sqrt(points)
        z, moved = z / deviation, t / deviation
    torch.clamp_min(z, 0.0, out=relu)
    torch.ops.aten.threshold_backward.grad_input(moved, relu, 0.0, grad_input=slope)


def _fill_weights(source: NormalSource, net: ScalarNet, weights: Tensor, tile: int, block: int) -> None:
    std = math.sqrt(net.gain / net.width)
    source.fill(weights, 1.0 if net.mirrored else std, "weights", tile, block)
    if net.mirrored:
        q, r = torch.linalg.qr(weights)
        weights.copy_(q * r.diagonal(dim1=1, dim2=2).sign().unsqueeze(1))


def _add_bias(source: NormalSource, net: ScalarNet, h: Tensor, tile: int, block: int) -> None:
    if net.bias > 0:
        scale = net.branch if block else 1.0
        h.add_(source.draw((TILE, 1, net.width), math.sqrt(net.bias), "biases", tile, block), alpha=scale)


def _rescale(net: ScalarNet, h: Tensor, t: Tensor) -> NDArray[np.int64]:
    """Bring t back near 1 by powers of two; h too where nothing but its sign and shape matters."""
    shift = _power(t)
    t.mul_(torch.exp2(-shift)[:, None, None])
    if net.bias == 0 and net.norm != "batchnorm":
        h.mul_(torch.exp2(-_power(h))[:, None, None])
    return np.asarray(shift.double().cpu().numpy(), dtype=np.int64)


def _power(x: Tensor) -> Tensor:
    """Rounded base-2 logarithm of each network's root mean square, (networks,)."""
    root_mean_square = torch.linalg.vector_norm(x, dim=(1, 2)) / math.sqrt(x.shape[1] * x.shape[2])
    return torch.where(root_mean_square > 0, root_mean_square.log2().round(), 0.0)
