import math
import re
from collections import Counter
from itertools import pairwise

import pytest

from resexp.theory import unravelling
from resexp.theory.unravelling import Notation

TEXT, LATEX = Notation("text"), Notation("latex")


def joined(lines):
    return " ".join(line.strip() for line in lines)


def test_equations_11_5_and_11_6():
    assert joined(unravelling.output_lines(4, "sum", TEXT)) == (
        "y = x + f1[x] + f2[x + f1[x]] + f3[x + f1[x] + f2[x + f1[x]]] "
        "+ f4[x + f1[x] + f2[x + f1[x]] + f3[x + f1[x] + f2[x + f1[x]]]]"
    )
    assert joined(line for _, line in unravelling.derivative_lines(4, 1, "sum", TEXT)) == (
        "∂y/∂f1 = I + ∂f2/∂f1 + ∂f3/∂f1 + ∂f2/∂f1 ∂f3/∂f2 "
        "+ ∂f4/∂f1 + ∂f2/∂f1 ∂f4/∂f2 + ∂f3/∂f1 ∂f4/∂f3 + ∂f2/∂f1 ∂f3/∂f2 ∂f4/∂f3"
    )


def test_equations_11_2_and_11_3() -> None:
    assert joined(unravelling.output_lines(4, "none", TEXT)) == "y = f4[f3[f2[f1[x]]]]"
    ((chain, written),) = unravelling.derivative_lines(4, 1, "none", TEXT)
    assert (chain, written) == ((2, 3, 4), "∂y/∂f1 = ∂f2/∂f1 ∂f3/∂f2 ∂f4/∂f3")


def test_a_dense_network_is_written_in_parts():
    assert joined(unravelling.output_lines(2, "concatenation", TEXT)) == "y = [x, f1[x], f2[x, f1[x]]]"
    assert joined(line for _, line in unravelling.derivative_lines(3, 1, "concatenation", TEXT)) == (
        "∂y/∂f1 = [0, I, ∂f2/∂f1, ∂f3/∂f1 + ∂f2/∂f1 ∂f3/∂f2]"
    )


@pytest.mark.parametrize("join", ["sum", "concatenation"])
def test_the_text_evaluated_is_the_network_run(join):
    """The text, read by Python, against a loop over the blocks; 3 x + sin x and so on in place of the functions."""

    def function(block):
        return lambda *arguments: math.sin(sum((block + i) * a for i, a in enumerate(arguments)))

    functions = {f"f{block}": function(block) for block in range(1, 6)}
    h = [0.7]
    for f in functions.values():
        h = [h[0] + f(h[0])] if join == "sum" else [*h, f(*h)]
    text = joined(unravelling.output_lines(5, join, TEXT)).removeprefix("y = ")
    code = re.sub(r"(f\d)", r"\1@", text).replace("@[", "(")  # f1[x] -> f1(x], and then the bracket that closes it
    stack, python = [], ""
    for sign in code:
        if sign in "([":
            stack.append({"(": ")", "[": "]"}[sign])
        python += stack.pop() if sign == "]" else sign
    value = eval(python, {"x": 0.7, **functions})
    assert value == pytest.approx(h if join == "concatenation" else h[0], rel=1e-14)


@pytest.mark.parametrize("join", ["sum", "concatenation"])
@pytest.mark.parametrize("start", [0, 2])
def test_latex_says_what_the_text_says(join, start):
    for write in (
        lambda notation: unravelling.output_lines(5, join, notation),
        lambda notation: [line for _, line in unravelling.derivative_lines(5, start, join, notation)],
    ):
        latex = joined(write(LATEX)).removeprefix(r"\begin{align*} ").removesuffix(r" \end{align*}")
        latex = re.sub(r"\\mathbf\{(\w)\}(?:_\{(\d+)\})?", r"\1\2", latex)
        latex = re.sub(r"\\frac\{\\partial (\w+)\}\{\\partial (\w+)\}", r"∂\1/∂\2", latex)
        assert latex.replace(r" \\ & ", " ").replace("{} & ", " ").replace("=  ", "= ") == joined(write(TEXT))


@pytest.mark.parametrize("blocks", [1, 4, 6])
def test_the_graph_has_a_path_for_each_choice_of_blocks(blocks):
    """Followed through the lines of DOT from each x to y."""
    drawn = unravelling.graph(blocks, 1, "sum")
    labels = {node.name: str(node.block) if node.kind == "function" else "" for node in drawn.nodes}
    lines = list(unravelling.dot_lines(drawn, labels, dict.fromkeys(labels, "#ffffff")))
    label = dict(re.findall(r'^  (\w+) \[label="(\d*)"', "\n".join(lines), re.MULTILINE))
    following = dict(re.findall(r"^  (\w+) -> (\w+)", "\n".join(lines), re.MULTILINE))
    bold = Counter(line.split()[0] for line in lines if "penwidth" in line)
    paths = []
    for name in label.keys() - set(following.values()):
        path, node = [], name
        while node in following:
            node = following[node]
            path += [label[node]] * bool(label[node])
        paths.append("".join(path))
    assert len(set(paths)) == len(paths) == 2**blocks
    assert all(earlier < later for path in paths for earlier, later in pairwise(path))
    assert Counter(map(len, paths)) == {length: math.comb(blocks, length) for length in range(blocks + 1)}
    assert sum(label[name] == "1" for name in bold) == 2 ** (blocks - 1)
    assert not any(name.startswith("x") for name in bold)
