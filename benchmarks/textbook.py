"""The textbook way: numpy in float64, one network at a time, a loop over the blocks. A baseline, kept plain."""

import numpy as np


def textbook(rng: np.random.RandomState, depth: int, width: int, batch: int) -> tuple[list, list, list, list]:
    """Second moment, batch variance and mean of h, second moment of the gradient, at each block of one network."""
    scale = np.sqrt(2 / width)
    x = rng.normal(size=(batch, width))
    h = x @ rng.normal(scale=scale, size=(width, width))
    weights, activations = [], [h]
    second_moment, variance, mean = [np.mean(h**2)], [np.mean(np.var(h, axis=0))], [np.mean(h)]
    for _ in range(depth):
        weight = rng.normal(scale=scale, size=(width, width))
        h = h + np.maximum(h, 0) @ weight
        weights.append(weight)
        activations.append(h)
        second_moment.append(np.mean(h**2))
        variance.append(np.mean(np.var(h, axis=0)))
        mean.append(np.mean(h))
    readout = rng.normal(scale=scale, size=(width, 1))
    target = rng.normal(size=(batch, 1))
    gradient = 2 / batch * (h @ readout - target) @ readout.T
    squares = [np.mean(gradient**2)]
    for weight, before in zip(reversed(weights), reversed(activations[:-1]), strict=True):
        gradient = gradient + (before > 0) * (gradient @ weight.T)
        squares.append(np.mean(gradient**2))
    return second_moment, variance, mean, squares[::-1]
