"""Stages and blocks: which additions follow each other on one stream, and which of them make up one block.

A stage is a run of additions at one number of positions in space (channels and layout may change); those inside
another's branch are a stage of their own. Where additions alternate, as attention and MLP do, a block is one period of
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from resexp.probing.sums import Addition

LONGEST_PERIOD = 6
REGULAR = 0.9
"""Share of the additions that must repeat for a period to count."""


@dataclass(frozen=True)
class Stage:
    """Numbers of a stage's additions, and how many of them make up a block; inner: they are in others' branches."""

    number: int
    additions: tuple[int, ...]
    period: int
    inner: bool = False

    @property
    def blocks(self) -> int:
        """How many blocks there are, the last one perhaps not whole."""
        return -(-len(self.additions) // self.period)

    def block_of(self, addition: int) -> int:
        """The block, from 1, that an addition belongs to."""
        return self.additions.index(addition) // self.period + 1

    @property
    def last_of_blocks(self) -> tuple[int, ...]:
        """The last addition of each whole block."""
        return self.additions[self.period - 1 :: self.period]


def stages(additions: Sequence[Addition]) -> list[Stage]:
    """The stages, in the order in which they begin, inner ones last."""
    nested = {inner for addition in additions for inner in addition.enclosed}
    runs: list[list[int]] = []
    of: dict[int, int] = {}
    latest: dict[tuple[object, ...], int] = {}
    for number, addition in enumerate(additions):
        kind = (addition.spatial, addition.module, addition.ordinal)
        if number in nested:
            run = latest.get(kind)
        else:
            before = addition.previous
            same = before is not None and additions[before].positions == addition.positions
            follows = same and before not in nested
            run = of[before] if follows and before is not None else None
        if run is None:
            run = len(runs)
            runs.append([])
        if number in nested:
            latest[kind] = run
        runs[run].append(number)
        of[number] = run
    runs.sort(key=lambda run: run[0] in nested)  # stable: those of the net's own stream first
    return [
        Stage(k, tuple(run), period([additions[n] for n in run]), run[0] in nested)
        for k, run in enumerate(runs, start=1)
    ]


def period(additions: Sequence[Addition]) -> int:
    """Additions in a block: the shortest period in what they are, 1 where they do not alternate."""
    exact: list[object] = [(a.sum.branch, a.module, a.ordinal) for a in additions]
    rough: list[object] = [a.sum.branch for a in additions]  # where all sums are made in one module
    for kinds in (exact, rough):
        for length in range(1, min(LONGEST_PERIOD, len(kinds) // 2) + 1):
            same = sum(a == b for a, b in zip(kinds, kinds[length:], strict=False))
            if same >= REGULAR * (len(kinds) - length):
                return length
    return 1
