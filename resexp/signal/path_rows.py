"""Rows of path gradients: shares of each length in all of them, network by network."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from resexp.core.result import Row
from resexp.core.statistics import Samples

Numbers = NDArray[np.float64]


def rows(log_norm: Numbers, energy: Numbers, log_scale: float) -> Iterator[Row]:
    """Rows of all lengths, and the mean lengths. log_norm: (draws, K + 1, paths); energy: (draws, K + 1).

    log_scale: roughly of the sum over all paths; it keeps numbers in range and, the same for every seed, drops out.
    """
    blocks = energy.shape[1] - 1
    lengths = np.arange(blocks + 1)
    log_count = np.array([math.log(math.comb(blocks, length)) for length in lengths.tolist()])
    log_mean = np.logaddexp.reduce(log_norm, axis=2) - math.log(log_norm.shape[2])
    of_length = np.exp(log_mean + log_count - log_scale)  # (draws, K + 1)
    of_all = of_length.sum(axis=1)
    share = energy / energy.sum(axis=1, keepdims=True)
    for length in lengths.tolist():
        place = {"length": length}
        yield Row(place, "path_share", Samples.of(of_length[:, length]), denominator=of_all)
        yield Row(place, "energy_share", Samples.of(share[:, length]))
        yield Row(place, "path_gradient", Samples.from_log(log_norm[:, length].mean(axis=1)))
    end = {"length": blocks}
    yield Row(end, "mean_length_over_blocks", Samples.of(of_length @ lengths / of_all / blocks))
    yield Row(end, "mean_energy_length_over_blocks", Samples.of(share @ lengths / blocks))
