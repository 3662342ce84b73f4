"""The known scheme that a stage is nearest to, and what its theory says of growth.

    no norm in the branch   h' = h + f(h): each block multiplies the second moment by 1 + g, g the branch's gain, so by
                            2 for He weights and rectifiers; backward too. A branch that starts at zero: nothing grows.
    a norm in the branch    h' = h + f(norm h): each block adds the same, growth is linear; backward 1 + g / v, v the
                            variance that comes in: a power of depth.
    a norm on the stream    h' = norm(h + f(h)): nothing grows forward; backward each norm divides by what came in.

All are limits of infinite width. Sources: He et al. 2015, 2016; Yang et al. 2019; De and Smith 2020; Xiong et al. 2020.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from resexp.probing.growth import Law
from resexp.probing.sums import Addition

MOST = 0.5
ZERO = 1e-5
"""Share of a sum below which its branch counts as starting at zero (a layer scale of 1e-6 leaves 1e-12, but the second
moments in float32 are known to 1e-7 only)."""


@dataclass(frozen=True)
class Known:
    """A known scheme. law: of the second moment forward; growth: a block, at infinite width, None where not known."""

    name: str
    told: str
    law: Law
    growth: float | None = None


def nearest(additions: Sequence[Addition], branch_share: float) -> Known:
    """The scheme of a stage; branch_share: of the branch in the sum's second moment, at the stage's first sum."""
    inner = additions[1:] or additions
    sums = [a.sum for a in additions]
    if _most([a.sum.stream_norm for a in inner]) and len(additions) > 1:
        return Known("post-norm", "a norm after each sum", "constant")
    active = _most([a.sum.stream_activation for a in inner])
    if branch_share < ZERO:
        return Known("skipinit", "branches that start at zero", "constant", None if active else 1.0)
    if _most([s.norm_last for s in sums]):
        if active:
            return Known("resnet-v1", "a norm last in each branch, an activation after each sum", "linear")
        return Known("norm-last", "a norm last in each branch", "linear")
    if _most([s.normed for s in sums]):
        return Known("pre-norm", "a norm in each branch", "linear")
    if active:
        return Known("post-activation", "no norm, and an activation after each sum", "exponential")
    gains = [s.gain for s in sums if s.gain is not None and s.shortcut == "identity"]
    growth = math.exp(sum(map(math.log1p, gains)) / len(gains)) if len(gains) == len(sums) else None
    return Known("residual", "no norm in the branches", "exponential", growth)


def _most(said: Sequence[bool]) -> bool:
    return sum(said) > MOST * len(said)
