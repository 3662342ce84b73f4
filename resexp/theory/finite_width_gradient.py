"""First corrections in 1/width to the squared gradient of ReLU residual stacks, one input, independent normal weights.

    g[k] = (a + b D[k] W[k]') g[k+1],    D[k] = diag(h[k] > 0),    lambda = b^2 s / (a^2 + b^2 s), s = gain / 2

for a random direction at the last block. |g|^2 at K blocks below it and |t|^2 of a random tangent t sent K blocks up,
t[k+1] = (a + b W[k] D[k]) t[k], have the same mean, tr(J J'), and the same mean square, so that t will do, and what
acts on t is fresh weights. Given h and t, one block multiplies |t|^2 by g (1 + lambda eps + noise) with
eps = sum(t^2 sgn h) / sum(t^2). A unit with positive h hands part of its own relu(h) and t on to itself, which shifts
the variances of its later h and t and their covariance, and with them E[t'^2 sgn h']. With z, z' normals of correlation
r = (1 - lambda)^(m/2), m blocks apart, the three shifts give

    E[sgn z sgn z'] + E[z |z| delta'(z')] + 4 r E[|z| delta(z')]
        = (2/pi) (arcsin r - r sqrt(1 - r^2) + 2 r sqrt(1 - r^2)) = B(r),

the very B of the forward pass (finite_width.py): the mean grows by g (1 + (lambda^2 / D) sum_m B(r_m)) a block. The
fluctuation of log |g|^2 is smaller than that of log q, because t knows nothing of the sign of h:

    D Var = 4 lambda (1 - lambda) + 2 lambda^2 + lambda^2 sum_m C(r_|m|) a block, m over all integers,
    C(r) = E[sgn(z) t^2 sgn(z') t'^2] = (2/pi) (1 + 2 r^2) arcsin r

At lambda = 1 this is 5/D a layer, as forward. It holds while K is far smaller than D. The Jacobian takes h[k] to h[K],
for the stack is homogeneous, and in simulations stretches no other direction as much by and by: t turns towards h
(cos^2 = 1/2 after about 0.7 D blocks at lambda = 1/2), and after many times D blocks its logarithm grows as that of h
does. In between the typical growth lies between the two laws.

Sources: derived here, checked against simulation in tests/theory; the plain case from Hanin and Nica 2019.
"""

import math

import numpy as np

FORGOTTEN = 1e-7  # correlation of h with itself below which a block does not count


def per_block(width: int, branch_share: float) -> tuple[float, float]:
    """What a finite width adds to the log of the mean squared gradient a block, and the variance of its logarithm.

    branch_share: lambda, between 0 and 1; the sums have about 32 / lambda terms.
    """
    remembered = int(2.0 * math.log(FORGOTTEN) / math.log1p(-branch_share)) if branch_share < 1.0 else 0
    r = (1.0 - branch_share) ** (0.5 * np.arange(1, remembered + 1))
    shifts = 2.0 / math.pi * float((np.arcsin(r) + r * np.sqrt(1.0 - r * r)).sum())
    signs = 3.0 + 4.0 / math.pi * float(((1.0 + 2.0 * r * r) * np.arcsin(r)).sum())
    drift = math.log1p(branch_share**2 * shifts / width)
    noise = 4.0 * branch_share * (1.0 - branch_share) + 2.0 * branch_share**2
    return drift, (noise + branch_share**2 * signs) / width
