"""The graph of a forward pass, made while it runs, and the rule that tells residual additions from other sums.

A node is a bit; the ancestors of a node are an integer with a bit for each. What lies between two nodes, and what kind
of operation it is, are then a few shifts and counts.

The rule, for a + b of equal shape that both depend on the input: c is their latest common ancestor, S and L the sides'
nodes after c, S the one with fewer weighted operations. L must hold a weighted operation after c: this leaves out
polynomials of activations, rotary embeddings and recurrences. S with no weight and no nonlinearity is an identity
shortcut; S with fewer weighted operations and no nonlinearity, or with one product alone after its last nonlinearity,
is a projection; all else are parallel branches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Shortcut = Literal["identity", "projection", "parallel"]
Branch = Literal["attention", "convolution", "recurrent", "mlp"]


class Mark:
    """What is known of a tensor: its node and ancestors; the rest are hints that only the tensor itself carries.

    addition: number of the residual addition that this tensor is; tail: the layer it comes straight out of;
    parts: what it was stacked of, along which axis.
    """

    __slots__ = ("addition", "ancestors", "node", "owner", "parts", "tail")

    def __init__(self, owner: object, node: int, ancestors: int) -> None:
        self.owner, self.node, self.ancestors = owner, node, ancestors
        self.addition: int | None = None
        self.tail: Any = None
        self.parts: tuple[int, tuple[Mark, ...]] | None = None


@dataclass(frozen=True)
class Flags:
    """What an operation is. weighted: it holds a layer's weights; scaled: only a factor or summand for each unit."""

    weighted: bool = False
    scaled: bool = False
    nonlinear: bool = False
    product: bool = False
    convolution: bool = False
    norm: bool = False
    attention: bool = False
    recurrent: bool = False
    activation: bool = False
    rectifier: bool = False


PASSIVE = Flags()
KINDS = tuple(Flags.__dataclass_fields__)


@dataclass(frozen=True)
class Sum:
    """What the rule says of a sum.

    short: which operand is the shortcut, 0 or 1; after: node at which the branch begins; branch: what it mainly is;
    enclosed: bits of the residual additions in it; normed: whether it normalises anywhere; norm_first, norm_last:
    before its first layer, after its last one; stream_norm, stream_activation: between the addition before and where
    the branch leaves; channels_last: whether it convolves nowhere; gain: product, over a chain of layers and
    rectifiers, of what each makes of the second moment at infinite width, None where the branch is something else;
    previous: node of the residual addition before on the stream.
    """

    shortcut: Shortcut
    short: int
    after: int
    branch: Branch
    enclosed: int
    normed: bool
    norm_first: bool
    norm_last: bool
    stream_norm: bool
    stream_activation: bool
    channels_last: bool
    gain: float | None
    previous: int | None


@dataclass
class Graph:
    """Nodes so far, as one integer for each kind of operation, and one for the residual additions."""

    size: int = 0
    of_kind: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    additions: int = 0
    joins: int = 0
    """Bits of the nodes with several parents."""
    gains: dict[int, float] = field(default_factory=dict)
    """What layers make of the second moment at infinite width: mean square of a weight times the fan-in."""

    def after(self, parents: Sequence[Mark], flags: Flags) -> Mark:
        """The node of an operation on these parents; that of the only parent where nothing happens to it."""
        if flags is PASSIVE and len(parents) == 1:
            return Mark(self, parents[0].node, parents[0].ancestors)
        mark = self._node(parents)
        if len(parents) > 1:
            self.joins |= 1 << mark.node
        if flags is not PASSIVE:
            for kind in KINDS:
                if getattr(flags, kind):
                    self.of_kind[kind] |= 1 << mark.node
        return mark

    def addition(self, parents: Sequence[Mark]) -> Mark:
        """The node of a residual addition."""
        mark = self._node(parents)
        self.additions |= 1 << mark.node
        return mark

    def _node(self, parents: Sequence[Mark]) -> Mark:
        node = self.size
        self.size += 1
        ancestors = 1 << node
        for parent in parents:
            ancestors |= parent.ancestors
        return Mark(self, node, ancestors)

    def judge(self, a: Mark, b: Mark) -> Sum | None:
        """Apply the rule to the operands of a sum; None where it joins no branches that hold layers."""
        common = a.ancestors & b.ancestors
        if not common:
            return None
        after = common.bit_length()
        sides = a.ancestors >> after, b.ancestors >> after
        weights = [self._count(side, "weighted", after) for side in sides]
        sizes = [(w, self._count(s, "nonlinear", after), s.bit_count()) for w, s in zip(weights, sides, strict=True)]
        short = 0 if sizes[0] < sizes[1] else 1
        if weights[1 - short] == 0:
            return None
        shortcut = self._shortcut(sides[short], weights[short], weights[1 - short], after)
        return self._describe(shortcut, short, sides[1 - short], (a, b)[short], after)

    def _count(self, side: int, kind: str, after: int) -> int:
        """Operations of a kind among a side's nodes; its bits begin at the node `after`."""
        return (side & (self.of_kind[kind] >> after)).bit_count()

    def _shortcut(self, side: int, weights: int, other: int, after: int) -> Shortcut:
        nonlinear = side & (self.of_kind["nonlinear"] >> after)
        if not weights and not nonlinear and not self._count(side, "scaled", after):
            return "identity"
        product = side & (self.of_kind["product"] >> after)
        one_product_last = product.bit_count() == 1 and product > nonlinear
        return "projection" if weights < other and (not nonlinear or one_product_last) else "parallel"

    def _describe(self, shortcut: Shortcut, short: int, branch: int, s: Mark, after: int) -> Sum:
        """Features of the branch, whose bits begin at the node `after`, and of the stream s before it."""
        of = {kind: branch & (bits >> after) for kind, bits in self.of_kind.items()}
        before = s.ancestors & self.additions
        previous = before.bit_length() - 1 if before else None
        stream = s.ancestors >> (previous + 1) << (previous + 1) if previous is not None else 0
        layers, norms = of["weighted"] & ~of["norm"], of["norm"]
        return Sum(
            shortcut=shortcut,
            short=short,
            after=after,
            branch=_branch(of),
            enclosed=(branch & (self.additions >> after)) << after,
            normed=norms > 0,
            norm_first=0 < (norms & -norms) < (layers & -layers),
            norm_last=norms > layers,
            stream_norm=bool(stream & self.of_kind["norm"]),
            stream_activation=bool(stream & self.of_kind["activation"]),
            channels_last=not of["convolution"],
            gain=self._gain(of, branch, after),
            previous=previous,
        )

    def _gain(self, of: dict[str, int], branch: int, after: int) -> float | None:
        """Product of the layers' gains and a half for each rectifier, where there is nothing else but a norm first."""
        others = of["nonlinear"] & ~of["rectifier"]
        joined = branch & (self.joins >> after)
        late_norm = of["norm"] and of["norm"] > (of["product"] & -of["product"])
        if others or joined or late_norm or of["scaled"] or of["product"] != of["weighted"] & ~of["norm"]:
            return None
        gain = 0.5 ** of["rectifier"].bit_count()
        for node in _bits(of["product"]):
            if node + after not in self.gains:
                return None
            gain *= self.gains[node + after]
        return gain


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _branch(of: dict[str, int]) -> Branch:
    if of["attention"]:
        return "attention"
    if of["recurrent"]:
        return "recurrent"
    return "convolution" if 2 * of["convolution"].bit_count() > of["product"].bit_count() else "mlp"
