"""Derivative of batch normalisation of one unit over a batch z_1..z_I, by steps and in closed form. Exact.

    f1 = mean z,   f2_i = z_i - f1,   f3_i = f2_i^2,   f4 = mean f3,   f5,   f6 = 1/f5,   f7_i = f2_i f6
    z'_i = gamma f7_i + delta,        f5 = sqrt f4 + eps  (equation 11.8)  or  sqrt(f4 + eps)  (equation 11.10)

Closed form. z' depends on z through its direction and its standard deviation s = sqrt f4 alone: the deviation of z' is
gamma s / f5(s). So the Jacobian multiplies what changes

    the mean                   by 0
    the deviation, along f2    by gamma d(s/f5)/ds = gamma eps / (s + eps)^2  or  gamma eps / (s^2 + eps)^(3/2)
    the direction, across      by gamma / f5

Source: Prince 2023, equations 11.8-11.10 and problem 11.7; Ioffe and Szegedy 2015.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
DividedBy = Literal["deviation", "root"]


def divisor(s: float, eps: float, by: DividedBy) -> float:
    """f5 of a unit with standard deviation s."""
    return s + eps if by == "deviation" else math.sqrt(s**2 + eps)


def across(s: float, gamma: float, eps: float, by: DividedBy) -> float:
    """Factor of what changes the direction of z."""
    return gamma / divisor(s, eps, by)


def along(s: float, gamma: float, eps: float, by: DividedBy) -> float:
    """Factor of what changes the deviation of z."""
    return gamma * eps / divisor(s, eps, by) ** (2 if by == "deviation" else 3)


def by_steps(z: Array, u: Array, gamma: float, eps: float, by: DividedBy) -> Array:
    """dL/dz from u = dL/dz', step by step backward; nan where a step is 0/0.

    Each line is the derivative of L with respect to the f it is named after, from those that take f. z: (batch, 1);
    u: (batch, n), one column for each of n losses L -> (batch, n).
    """
    f2 = z - z.mean(0)
    f4 = (f2**2).mean(0)
    f5 = np.sqrt(f4) + eps if by == "deviation" else np.sqrt(f4 + eps)
    f6 = 1 / f5

    df7 = gamma * u
    df6 = (df7 * f2).sum(0)  # f7_i = f2_i f6, for every i
    df5 = -df6 / f5**2
    with np.errstate(divide="ignore", invalid="ignore"):
        df4 = df5 / (2 * (np.sqrt(f4) if by == "deviation" else f5))
    df3 = df4 / len(z)  # the same for every i
    with np.errstate(invalid="ignore"):
        df2 = df7 * f6 + 2 * f2 * df3
    df1 = -df2.sum(0)
    dz: Array = df2 + df1 / len(z)
    return dz
