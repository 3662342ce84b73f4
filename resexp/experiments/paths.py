"""Paths through K residual blocks, by length, and the share of the gradient's energy that each length carries.

    h[k+1] = s h[k] + b f_k(h[k]),   k = 0..K-1;     the network is a sum over 2^K paths

In each block a path takes the branch or the skip connection. Its length l is the number of branches it takes,
and C(K, l) paths have length l. Counts are exact integers up to 5000 blocks; beyond that their logarithms.

Weights. A path's gradient is a product of fresh zero-mean matrices, one for each branch it takes, so two paths are
uncorrelated and their expected squared norms add. If block k multiplies the squared gradient by a skip part and a
branch part, p_k is the branch's part of the whole and the weight of length l is P(sum of Bernoulli(p_k) = l):

    no normalisation    Binomial(K, lambda),  lambda = b^2 / (s^2 + b^2)
    plain               all paths take every branch: l = K
    skipinit, rezero, fixup      the branch starts at zero: l = 0
    batchnorm           h' = h + W relu(BN(h)): skip 1, branch 1 / v_k, so p_k = 1 / (1 + v_k) and the law is
                        Poisson-binomial; the batch variance is v_0 = 2, v_{k+1} = v_k + 1 - 1/pi
    decay r             C(K, l) r^l, normalised: Binomial(K, r / (1 + r))

The sums of counts and the binomial laws are exact. That the schemes follow them is a limit: width -> infinity with He
initialisation and zero biases; for batchnorm then batch -> infinity too, with independent N(0, 1) inputs and a
gradient at the last block that is independent from example to example.

Veit et al. measured a trained net of 54 blocks: the gradient's norm falls geometrically with the length of the path,
and nearly all of it comes through lengths 5 to 17, which hold 0.45 % of the paths. decay puts r for that fall: the
lengths 5 to 17 carry most at r = 0.24, 97.6 %. Here r is a fall of norms and the weight a share of their sum.

Source: Prince 2023, problem 11.2 and figure 11.4; Veit, Wilber and Belongie 2016.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Value
from resexp.core.schemes import SchemeName, scheme
from resexp.core.table import Table

if TYPE_CHECKING:
    from resexp.theory.paths import LengthDistribution, Lengths

EXACT_LIMIT = 5000
"""Most blocks whose counts are listed as integers (1500 digits)."""
LEAST_WEIGHT = 1e-12
MOST_ROWS = 2000
SHORT_RUN = 200
"""So many neighbouring lengths are never thinned: the whole of a narrow law such as batchnorm's."""


class Paths(Table):
    """Number of paths of each length through a residual net, and the gradient energy they carry."""

    blocks: int = param(54, "residual blocks K", ge=1, le=10_000_000)
    min_length: int | None = param(None, "shortest length, in branches taken, of the range summed up; 0 by default")
    max_length: int | None = param(None, "longest length, in branches taken, of that range; blocks by default")
    scheme: tuple[SchemeName, ...] = param(("residual",), "schemes to weigh the paths by, one column each")
    decay: float | None = param(
        None, "ratio r of the gradients of two paths one branch apart; adds a column", ge=0, allow_inf_nan=False
    )

    axes = ("length",)
    plot = Plot(x="length", y="share")
    quick: ClassVar = {"blocks": 54, "scheme": ("residual", "batchnorm")}
    examples = (
        "paths --blocks 54 --min-length 5 --max-length 17",
        "paths --blocks 1000 --scheme residual,batchnorm",
        "paths --blocks 54 --decay 0.24",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        shortest, longest = self._range
        if not 0 <= shortest <= longest <= self.blocks:
            raise ValueError(
                f"--min-length {shortest} and --max-length {longest}: must be a range within 0..{self.blocks}, "
                "the lengths of paths through that many blocks."
            )
        if len(set(self.scheme)) < len(self.scheme):
            raise ValueError(f"--scheme {','.join(self.scheme)}: each scheme can be asked for once.")
        return self

    def columns_here(self) -> tuple[str, ...]:
        """Length, count, shares, one weight a scheme; log2_count where the counts are too long to print."""
        weights = [f"weight_{name}" for name in self._weighings]
        return ("length", "count", "share", "cumulative_share", *weights, *(() if self._exact else ("log2_count",)))

    def table(self) -> Iterable[dict[str, Value]]:
        """One row for each length, or for those that matter where there are too many."""
        columns = self.columns_here()
        rows = self._exact_rows() if self._exact else self._logarithmic_rows()
        return (dict(zip(columns, row, strict=True)) for row in rows)

    def headlines(self) -> Iterator[tuple[str, float | int, float | int | None]]:
        """Sums over all lengths and over the asked range."""
        from resexp.theory import paths

        shortest, longest = self._range
        share = paths.binomial(self.blocks, 0.5).between(shortest, longest)
        if self._exact:
            counts = paths.counts(self.blocks)
            in_range, total = sum(counts[shortest : longest + 1]), sum(counts)
            yield "paths_total", total, 1 << self.blocks
            yield "paths_in_range", in_range, None
            # Below the least normal float the check has no digits left to compare.
            yield "share_of_paths_in_range", in_range / total, share if share > sys.float_info.min else None
        else:
            yield "share_of_paths_in_range", share, None
        for name, distribution, mean in self._weights():
            yield f"mean_length_{name}", distribution.mean, mean
            if (shortest, longest) != (0, self.blocks):
                yield f"weight_in_range_{name}", distribution.between(shortest, longest), None

    def notes(self) -> Iterator[str]:
        """Say which rows a deep table leaves out, and what the weights are a limit of."""
        if not self._exact:
            yield (
                f"More than {EXACT_LIMIT} blocks: counts as base-2 logarithms in log2_count, and rows only for "
                f"lengths 0 and {self.blocks} and for lengths with a share or weight of at least {LEAST_WEIGHT:g}, "
                f"thinned to about {MOST_ROWS} at most. cumulative_share and the figures below the table "
                "count every length."
            )
        if self.scheme:
            yield "Weights of schemes: at initialisation, limit of infinite width (batchnorm: and of a large batch)."

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: a few float64 for each block; the rows are few."""
        return (1 << 24) + 48 * self.blocks

    @property
    def _exact(self) -> bool:
        return self.blocks <= EXACT_LIMIT

    @property
    def _range(self) -> tuple[int, int]:
        return self.min_length or 0, self.blocks if self.max_length is None else self.max_length

    @property
    def _weighings(self) -> "tuple[SchemeName | Literal['decay'], ...]":
        return (*self.scheme, *(("decay",) if self.decay is not None else ()))

    def _weights(self) -> "Iterator[tuple[str, LengthDistribution, float]]":
        """Yield name, distribution over lengths, and closed-form mean length, for each weight column."""
        from resexp.theory import paths

        for name in self._weighings:
            share = self._branch_share(name)
            if share is None:
                shares = paths.batchnorm_branch_shares(self.blocks)
                yield name, paths.poisson_binomial(shares), float(shares.sum())
            else:
                yield name, paths.binomial(self.blocks, share), self.blocks * share

    def _branch_share(self, name: "SchemeName | Literal['decay']") -> float | None:
        """Share of the branch in the squared gradient of any one block; None where blocks differ."""
        if name == "decay":
            return self.decay / (1 + self.decay) if self.decay is not None else None
        chosen = scheme(name, depth=self.blocks)
        return None if chosen.batchnorm else chosen.branch_share

    def _exact_rows(self) -> Iterator[tuple[Value, ...]]:
        import numpy as np

        from resexp.theory import paths

        counts, total = paths.counts(self.blocks), 1 << self.blocks
        lengths = np.arange(self.blocks + 1)
        weights = [distribution.at(lengths).tolist() for _, distribution, _ in self._weights()]  # (columns, K + 1)
        for length, (count, up_to, *weight) in enumerate(zip(counts, accumulate(counts), *weights, strict=True)):
            yield length, count, count / total, up_to / total, *weight

    def _logarithmic_rows(self) -> Iterator[tuple[Value, ...]]:
        from resexp.theory import paths

        share = paths.binomial(self.blocks, 0.5)
        weights = [distribution for _, distribution, _ in self._weights()]
        lengths = self._lengths_that_matter([share, *weights])
        columns = [share.at(lengths), share.up_to(lengths), *(weight.at(lengths) for weight in weights)]
        log2_count = paths.log2_counts(self.blocks, lengths)
        for length, *numbers in zip(lengths.tolist(), *(c.tolist() for c in (*columns, log2_count)), strict=True):
            yield length, None, *numbers

    def _lengths_that_matter(self, distributions: "list[LengthDistribution]") -> "Lengths":
        """Lengths with a weight anywhere; where they are too many, the long unbroken runs of them thinned evenly."""
        import numpy as np

        lengths = np.unique(np.concatenate([[0, self.blocks], *(d.at_least(LEAST_WEIGHT) for d in distributions)]))
        if len(lengths) <= MOST_ROWS:
            return lengths
        runs = np.split(lengths, np.flatnonzero(np.diff(lengths) > 1) + 1)
        step = math.ceil(len(lengths) / MOST_ROWS)
        return np.concatenate([run if len(run) <= SHORT_RUN else run[::step] for run in runs])
