"""A chain of residual or dense blocks unravelled: the network as one expression, its derivative, and its graph.

    sequential h[k] = f_k[h[k-1]]                 y = f4[f3[f2[f1[x]]]]
    residual   h[k] = h[k-1] + f_k[h[k-1]]        y = x + f1[x] + f2[x + f1[x]] + f3[x + f1[x] + f2[x + f1[x]]] + ...
    dense      h[k] = [h[k-1], f_k[h[k-1]]]       y = [x, f1[x], f2[x, f1[x]], f3[x, f1[x], f2[x, f1[x]]], ...]

A sequential network is one term, with one path, and its derivative one product (equations 11.1-11.3, figure 11.1). In
the other two the term of f_k takes all terms before it. So x is written 2^K times, once for each path from x to y, and
f_i 2^(K-i) times, once for each term of the derivative with respect to its output (equation 11.6 is i = 1, K = 4):

    dy/df_i = sum over i < j < k < ... of (df_j/df_i) (df_k/df_j) ...

df_j/df_i is the derivative of f_j with respect to its argument where f_i enters it: for a residual network all of the
argument, whatever i is, for a dense one the columns of f_i. Products are in the book's order, what is differentiated by
first. The derivative of a concatenation has a part for x and one for each f_k; that of a residual network is their sum.
`--block 0` differentiates with respect to x, and its terms are the paths. The figure is figure 11.4 b: a box
each time that a function is evaluated, what comes after f_i in bold.

That the expression is the network is checked with a network of this package in float64, ReLU and linear layers with He
initialisation, 6 units, 4 more a dense block. The terms are evaluated as they are written, inner functions again and
again, and the products as they are written from Jacobians of single branches. Every number is compared with the output
of the network and its derivative by autograd, to 1e-12 of the largest. All of it is exact.

Source: Prince 2023, equations 11.1-11.6, figures 11.1 and 11.4, problems 11.1, 11.3 and 11.11; Veit, Wilber and
Belongie 2016; Huang et al. 2017.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.errors import UsageError
from resexp.core.experiment import param
from resexp.core.result import Value
from resexp.core.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor, nn

    from resexp.theory.unravelling import Graph, Join, Node, Term

WIDTH, GROWTH = 6, 4
SAME = 1e-12
MOST_BLOCKS_DRAWN = 7
FILLS = ("#ffffff", "#f5c992", "#d0d0d0", "#a9def0", "#bfe3b4", "#ecc6dc")
"""Colour of the boxes in each term of y; as in the book white, orange, grey and cyan for the first four functions."""


class Unravel(Table):
    """A sequential, residual or dense network and its derivative, written out over all paths."""

    blocks: int = param(4, "blocks K", ge=1, le=12)
    block: int = param(1, "block i whose output the network is differentiated by; 0 for the input x", ge=0)
    network: Literal["residual", "densenet", "sequential"] = param(
        "residual", "blocks that add their output to their input, concatenate both, or pass on their output alone"
    )
    form: Literal["text", "latex", "dot"] = param("text", "how `written` is written; dot is the graph, for Graphviz")

    axes = ("line",)
    sketched: ClassVar[bool] = True
    writes: ClassVar[bool] = True
    quick: ClassVar = {"blocks": 4}
    examples = (
        "unravel --blocks 4",
        "unravel --blocks 3 --block 0 --network densenet",
        "unravel --network sequential",
        "unravel --blocks 4 --form latex",
        "unravel --blocks 4 --form dot",
        "unravel --blocks 4 --form dot --format text",
        "unravel --plot results/unravel.svg",
    )

    @model_validator(mode="after")
    def _block_is_there(self) -> Self:
        if self.block > self.blocks:
            raise ValueError(f"--block {self.block}: must be one of the blocks 1..{self.blocks}, or 0 for the input.")
        return self

    def columns_here(self) -> tuple[str, ...]:
        """Lines of the expression and of its derivative, or of the graph."""
        return ("quantity", "written", *(() if self.form == "dot" else ("paths", "length", "blocks")), "line")

    def table(self) -> Iterator[dict[str, Value]]:
        """One row for each line of what is written: a term, a chain of blocks, or a vertex or edge of the graph."""
        from resexp.theory import unravelling as theory

        if self.form == "dot":
            drawn = theory.graph(self.blocks, self.block, self._join)
            labels = {node.name: self._label(node) for node in drawn.nodes}
            fills = {node.name: _fill(node) for node in drawn.nodes}
            for line, written in enumerate(theory.dot_lines(drawn, labels, fills), 1):
                yield {"quantity": "graph", "written": written, "line": line}
            return
        notation = theory.Notation(self.form)
        terms = theory.expansion(self.blocks, self._join)
        for line, written in enumerate(theory.output_lines(self.blocks, self._join, notation), 1):
            yield {"quantity": "output", "written": written, "paths": terms[line - 1].count(0), "line": line}
        lines = theory.derivative_lines(self.blocks, self.block, self._join, notation)
        for line, (chain, written) in enumerate(lines, 1):
            row: dict[str, Value] = {"quantity": "derivative", "written": written, "line": line}
            if chain is not None:
                row |= {"length": len(chain), "blocks": " ".join(f"f{block}" for block in chain) or None}
            yield row

    def headlines(self) -> Iterator[tuple[str, float | int, float | int | None]]:
        """What is written, counted; and how many numbers of a real network it gives."""
        from resexp.theory import unravelling as theory

        terms = theory.expansion(self.blocks, self._join)
        double = 1 if self._join == "none" else 2
        yield "paths", sum(term.count(0) for term in terms), self._paths
        if self.block:
            through = sum(term.paths_through(self.block) for term in terms)
            yield "paths_through_block", through, double ** (self.blocks - 1)
            times = sum(term.count(self.block) for term in terms)
            yield "occurrences_of_block", times, double ** (self.blocks - self.block)
        chains = theory.chains(self.blocks, self.block, self._join)
        yield "terms_of_derivative", len(chains), double ** (self.blocks - self.block)
        net = RealNet(self.blocks, self._join)
        yield "outputs_equal_to_network", *_same(net.written_output(terms), net.output())
        written, right = net.written_derivative(self.block, chains), net.autograd(self.block)
        yield "derivatives_equal_to_autograd", *_same(written, right)

    def notes(self) -> Iterable[str]:
        """How to read what is written."""
        if self.form == "dot":
            join = " ‖ concatenates." if self.network == "densenet" else ""
            yield f"Each x starts one path; what comes after the chosen block is bold.{join}"
            return
        signal = f"f{self.block}" if self.block else "x"
        if self.network == "densenet":
            yield (
                "[ , ] concatenates; the derivative has a part for each part of the output, "
                f"0 where {signal} does not enter."
            )
        yield "∂fj/∂fi: derivative of fj with respect to its argument where fi enters it. Products as in equation 11.6."

    def sketch_size(self) -> tuple[float, float]:
        """Width and height of the drawing, inches."""
        return 2.2 + 1.1 * self.blocks, 0.8 + 0.24 * self._paths

    def sketch(self, axis: "Axes") -> None:
        """Draw the graph on empty axes. Raises UsageError where it would be too large."""
        from resexp.theory.unravelling import graph

        if self._paths > 2**MOST_BLOCKS_DRAWN:
            raise UsageError(
                f"--plot draws the {2**MOST_BLOCKS_DRAWN} paths of {MOST_BLOCKS_DRAWN} blocks at most, and "
                f"{self.blocks} blocks have {2**self.blocks}; --form dot writes them."
            )
        self._draw(axis, graph(self.blocks, self.block, self._join))

    @property
    def _join(self) -> "Join":
        joins: dict[str, Join] = {"residual": "sum", "densenet": "concatenation", "sequential": "none"}
        return joins[self.network]

    @property
    def _paths(self) -> int:
        return 1 if self.network == "sequential" else 2**self.blocks

    def _label(self, node: "Node") -> str:
        join = "‖" if self.network == "densenet" else "+"
        return {"input": "x", "output": "y", "join": join, "function": f"f{node.block}"}[node.kind]

    def _draw(self, axis: "Axes", drawn: "Graph") -> None:
        for source, target in drawn.edges:
            bend = max(source.x, target.x - 0.35)
            x, y = (source.x, bend, target.x), (source.y, source.y, target.y)
            axis.plot(x, y, color="#000000" if source.on_way else "#888888", lw=1.4 if source.on_way else 0.6, zorder=1)
        for node in drawn.nodes:
            chosen = node.kind == "function" and node.block == self.block
            box = {
                "boxstyle": {"function": "square,pad=0.25", "join": "circle,pad=0.1"}.get(node.kind, "square,pad=0.15"),
                "facecolor": _fill(node),
                "edgecolor": "#000000" if node.kind in {"function", "join"} else "none",
                "linewidth": 1.6 if chosen else 0.6,
            }
            label = self._label(node)
            axis.text(node.x, node.y, label, bbox=box, ha="center", va="center", fontsize=7, zorder=2)
        axis.set_xlim(-0.4, self.blocks + 1.4)
        axis.set_ylim(self._paths - 0.4, -0.6)  # the first path on top
        axis.set_axis_off()


def _fill(node: "Node") -> str:
    return FILLS[(node.part - 1) % len(FILLS)] if node.kind == "function" else "#ffffff"


def _same(written: "Tensor", right: "Tensor") -> tuple[int, int]:
    """How many numbers agree, and how many there are."""
    return int(((written - right).abs() <= SAME * right.abs().max()).sum()), right.numel()


class RealNet:
    """A chain of blocks with drawn weights, and an input for it, (1, WIDTH)."""

    def __init__(self, blocks: int, join: "Join") -> None:
        import torch
        from torch import nn

        from resexp.nets.densenet import dense_block
        from resexp.nets.recipe import Recipe

        recipe = Recipe("none", "plain" if join == "none" else "residual", blocks=blocks, depth=1, dimensions=0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if join != "concatenation":
                branches = [nn.Sequential(nn.ReLU(), recipe.layer(WIDTH, WIDTH)) for _ in range(blocks)]
                chain = nn.Sequential(*(recipe.residual(number, branch) for number, branch in enumerate(branches, 1)))
            else:
                chain = dense_block(recipe, WIDTH, GROWTH, blocks, bottleneck=False)
            self.x = torch.randn(1, WIDTH, dtype=torch.float64, requires_grad=True)
        self.chain, self.join = chain.double(), join

    def output(self) -> "Tensor":
        """What the network gives, (1, outputs)."""
        output: Tensor = self.chain(self.x)
        return output

    def written_output(self, terms: "Iterable[Term]") -> "Tensor":
        """The terms evaluated and joined, (1, outputs)."""
        return self._joined([self._value(term) for term in terms])

    def autograd(self, block: int) -> "Tensor":
        """Derivative of the output with respect to f_block or x, in the whole network, (inputs, outputs)."""
        import torch

        kept = [self.x]
        hook = self._branch(block).register_forward_hook(lambda _net, _in, out: kept.append(out)) if block else None
        output = self.output()
        if hook is not None:
            hook.remove()
        return torch.cat([torch.autograd.grad(y, kept[-1], retain_graph=True)[0] for y in output[0]]).T

    def written_derivative(self, start: int, chains: "Iterable[tuple[int, ...]]") -> "Tensor":
        """The products of all chains, added or each put into its part, (inputs, outputs)."""
        import torch

        links, sizes = self._links(), self._sizes()
        parts = [torch.zeros(sizes[start], size, dtype=torch.float64) for size in sizes]
        for chain in chains:
            product = torch.eye(sizes[start], dtype=torch.float64)
            for link in pairwise((start, *chain)):
                product = product @ links[link]
            parts[chain[-1] if chain else start] += product
        return sum(parts[1:], parts[0]) if self.join != "concatenation" else torch.cat(parts, 1)

    def _branch(self, block: int) -> "nn.Module":
        branch: nn.Module = self.chain[block - 1].branch  # type: ignore[assignment]
        return branch

    def _value(self, term: "Term") -> "Tensor":
        if not term.arguments:
            return self.x
        value: Tensor = self._branch(term.block)(self._joined([self._value(a) for a in term.arguments]))
        return value

    def _joined(self, values: "list[Tensor]") -> "Tensor":
        import torch

        return sum(values[1:], values[0]) if self.join != "concatenation" else torch.cat(values, 1)

    def _sizes(self) -> list[int]:
        """Entries of x and of each f_k."""
        return [WIDTH, *[WIDTH if self.join != "concatenation" else GROWTH] * len(self.chain)]

    def _links(self) -> "dict[tuple[int, int], Tensor]":
        """df_j/df_i for each pair i < j, (size of f_i, size of f_j): rows of the transposed Jacobian of a branch."""
        from torch.autograd.functional import jacobian

        links, sizes, h = {}, self._sizes(), self.x.detach()
        for later, block in enumerate(self.chain, 1):
            whole = jacobian(self._branch(later), h)[0, :, 0].T  # type: ignore[no-untyped-call]
            for earlier in range(later):
                offset = 0 if self.join != "concatenation" else sum(sizes[:earlier])
                links[earlier, later] = whole[offset : offset + sizes[earlier]]
            h = block(h).detach()
        return links
