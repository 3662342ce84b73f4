"""The equation of a chain of blocks written out, its paths, its derivative, and its graph.

    sequential y = f3[f2[f1[x]]]
    residual   y = x + f1[x] + f2[x + f1[x]] + f3[x + f1[x] + f2[x + f1[x]]] + ...
    dense      y = [x, f1[x], f2[x, f1[x]], f3[x, f1[x], f2[x, f1[x]]], ...]

The latter two have the same terms: x, and f_k of all the terms before it, joined by a sum or by concatenation. So x is
written 2^(k-1) times in the term of f_k and 2^K times in all, once for each path from x to y, and f_i is written
2^(K-i) times, once for each term of the derivative with respect to it: a product over a chain i < j < ... of the blocks
after it.

    dy/df_i = sum over all chains of (df_j/df_i) (df_k/df_j) ...         the empty chain gives the identity

Products are in the order of the book, what is differentiated by first. With concatenation, the chains that end in block
k make up the part of dy/df_i that belongs to f_k. A sequential network has one term, one path and one chain, which
leaves no block out.

Source: Prince 2023, equations 11.1-11.6, figures 11.1 and 11.4; Veit, Wilber and Belongie 2016; Huang et al. 2017.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

Join = Literal["sum", "concatenation", "none"]
"""How a block's output joins its input; `none` leaves the input out."""
Chain = tuple[int, ...]
Kind = Literal["input", "join", "function", "output"]


@dataclass(frozen=True)
class Term:
    """f_block of the joined arguments; block 0 is the input x, which has none."""

    block: int
    arguments: tuple["Term", ...] = ()

    def count(self, block: int) -> int:
        """How often f_block, or x, is written in it."""
        return (self.block == block) + sum(argument.count(block) for argument in self.arguments)

    def paths_through(self, block: int) -> int:
        """Paths from x to this term that take f_block: the x's inside each f_block."""
        if self.block == block:
            return self.count(0)
        return sum(argument.paths_through(block) for argument in self.arguments)


def expansion(blocks: int, join: Join) -> tuple[Term, ...]:
    """Terms of the output: x, and f_k of all terms before it; of a sequential network one."""
    terms = [Term(0)]
    for block in range(1, blocks + 1):
        terms.append(Term(block, tuple(terms[-1:] if join == "none" else terms)))
    return tuple(terms[-1:] if join == "none" else terms)


def chains(blocks: int, start: int, join: Join) -> list[Chain]:
    """Every ascending choice of the blocks after `start`, in the order of equation 11.6: by the last block first.

    Of a sequential network the whole choice alone.
    """
    after = range(start + 1, blocks + 1)
    if join == "none":
        return [tuple(after)]
    return [tuple(block for bit, block in enumerate(after) if number >> bit & 1) for number in range(1 << len(after))]


@dataclass(frozen=True)
class Notation:
    """How symbols are written, and lines put together to one equation."""

    name: Literal["text", "latex"]

    def symbol(self, letter: str, block: int | None = None) -> str:
        """A vector, x or f2."""
        number = "" if block is None else str(block)
        if self.name == "text":
            return letter + number
        return rf"\mathbf{{{letter}}}" + (f"_{{{number}}}" if number else "")

    def signal(self, block: int) -> str:
        """f_block, or x for block 0."""
        return self.symbol("f", block) if block else self.symbol("x")

    def derivative(self, of: str, by: str) -> str:
        """Partial derivative of one vector with respect to another."""
        return f"∂{of}/∂{by}" if self.name == "text" else rf"\frac{{\partial {of}}}{{\partial {by}}}"

    def term(self, term: Term, join: Join) -> str:
        """A term with all its arguments."""
        if not term.arguments:
            return self.signal(0)
        between = ", " if join == "concatenation" else " + "
        return f"{self.signal(term.block)}[{between.join(self.term(a, join) for a in term.arguments)}]"

    def product(self, start: int, chain: Chain) -> str:
        """The term of dy/df_start that goes through the blocks of a chain."""
        links = zip((start, *chain), chain, strict=False)
        factors = [self.derivative(self.signal(later), self.signal(earlier)) for earlier, later in links]
        return " ".join(factors) or self.symbol("I")

    def lines(self, left: str, right: Sequence[str]) -> list[str]:
        """An equation, one line for each part of its right side."""
        if self.name == "text":
            return [f"{left} = {right[0]}", *(f"  {part}" for part in right[1:])]
        first, *rest = [rf"\begin{{align*}} {left} ={{}} & {right[0]}", *(f"  & {part}" for part in right[1:])]
        *before, last = [first, *rest]
        return [*(rf"{line} \\" for line in before), rf"{last} \end{{align*}}"]


def output_lines(blocks: int, join: Join, notation: Notation) -> list[str]:
    """The expansion of the output, one line a term."""
    parts = [[notation.term(term, join)] for term in expansion(blocks, join)]
    return notation.lines(notation.symbol("y"), _joined(parts, join))


def derivative_lines(blocks: int, start: int, join: Join, notation: Notation) -> list[tuple[Chain | None, str]]:
    """The derivative of the output with respect to f_start, one line a chain; zero, where it is, has no chain."""
    parts: list[list[Chain | None]] = [[] for _ in range(blocks + 1)]
    for chain in chains(blocks, start, join):
        parts[chain[-1] if chain else start].append(chain)
    if join == "concatenation":
        parts = [part or [None] for part in parts]
    written = [
        [notation.symbol("0") if chain is None else notation.product(start, chain) for chain in part] for part in parts
    ]
    left = notation.derivative(notation.symbol("y"), notation.signal(start))
    of_lines = [chain for part in parts for chain in part]
    return list(zip(of_lines, notation.lines(left, _joined(written, join)), strict=True))


def _joined(parts: Sequence[Sequence[str]], join: Join) -> list[str]:
    """Sums of terms, one sum for each part of the output, with the signs that join them."""
    if join != "concatenation":
        first, *others = [term for part in parts for term in part]
        return [first, *(f"+ {term}" for term in others)]
    lines = []
    for part in parts:
        first, *others = part
        lines += [first, *(f"+ {term}" for term in others)]
        lines[-1] += ","
    return ["[" + lines[0], *lines[1:-1], lines[-1].removesuffix(",") + "]"]


@dataclass(frozen=True)
class Node:
    """A vertex of the graph; x counts blocks from the left, y paths from the top, part is the term of y it is in.

    on_way: whether it is f_start or what comes after it.
    """

    name: str
    kind: Kind
    block: int
    x: float
    y: float
    part: int
    on_way: bool


@dataclass
class Graph:
    """The expression as a tree: nodes, and edges from each node to the one that takes it."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[Node, Node]] = field(default_factory=list)


def graph(blocks: int, start: int, join: Join) -> Graph:
    """The tree of figure 11.4 b, of a sequential network figure 11.1.

    An x for each path from x to y, a box each time that a function is evaluated.
    """
    drawn, rows = Graph(), iter(range(1 << blocks))

    def add(kind: Kind, block: int, x: float, y: float, part: int, on_way: bool) -> Node:
        letter = {"input": "x", "join": "join", "function": f"f{block}_", "output": "y"}[kind]
        node = Node(f"{letter}{len(drawn.nodes)}", kind, block, x, y, part, on_way)
        drawn.nodes.append(node)
        return node

    def joined(sources: Sequence[tuple[Node, float, float]], x: float, part: int) -> tuple[Node, float, float]:
        top, bottom = sources[0][1], sources[-1][2]
        if len(sources) == 1:
            return sources[0]
        join = add("join", 0, x, (top + bottom) / 2, part, any(node.on_way for node, _, _ in sources))
        drawn.edges.extend((node, join) for node, _, _ in sources)
        return join, top, bottom

    def place(term: Term, part: int) -> tuple[Node, float, float]:
        """Node of a term, and the first and last of the paths that end in it."""
        if not term.arguments:
            row = float(next(rows))
            return add("input", 0, 0.0, row, part, start == 0), row, row
        source, top, bottom = joined([place(a, part) for a in term.arguments], term.block - 0.5, part)
        on_way = source.on_way or term.block == start
        function = add("function", term.block, float(term.block), (top + bottom) / 2, part, on_way)
        drawn.edges.append((source, function))
        return function, top, bottom

    ends = [place(term, part) for part, term in enumerate(expansion(blocks, join))]
    last, top, bottom = joined(ends, blocks + 0.5, blocks + 1)
    output = add("output", 0, blocks + 1.0, (top + bottom) / 2, blocks + 1, last.on_way)
    drawn.edges.append((last, output))
    return drawn


def dot_lines(drawn: Graph, labels: dict[str, str], fills: dict[str, str]) -> Iterator[str]:
    """The graph in the language of Graphviz. labels, fills: by the name of a node."""
    shapes = {"input": "plaintext", "output": "plaintext", "join": "circle", "function": "box"}
    yield "digraph unravelled {"
    yield "  rankdir=LR;"
    for node in drawn.nodes:
        shown = f'label="{labels[node.name]}", shape={shapes[node.kind]}'
        if node.kind == "function":
            shown += f', style=filled, fillcolor="{fills[node.name]}"'
        yield f"  {node.name} [{shown}];"
    for source, target in drawn.edges:
        bold = " [penwidth=2]" if source.on_way else ""
        yield f"  {source.name} -> {target.name}{bold};"
    yield "}"
