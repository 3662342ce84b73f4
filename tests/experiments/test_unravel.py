import pytest
from matplotlib.figure import Figure

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.experiments.unravel import Unravel
from resexp.theory import unravelling

LAB = Lab("unravel")


def verdicts(result):
    return {family.quantity: family.verdict for family in result.families}


@pytest.mark.parametrize("network", ["residual", "densenet"])
@pytest.mark.parametrize(("blocks", "block"), [(1, 0), (1, 1), (4, 1), (5, 3), (6, 0), (6, 6)])
def test_what_is_written_is_the_network(network, blocks, block):
    result = Unravel(network=network, blocks=blocks, block=block).compute(LAB)
    assert set(verdicts(result).values()) == {"agree"}
    rows = [row for row in result.rows if row.get("length") is not None]
    assert len({row.get("blocks") for row in rows}) == len(rows) == 2 ** (blocks - block)
    assert sum(row.get("paths", 0) for row in result.rows) == 2**blocks


def test_problem_11_1_in_numbers():
    figures = {row["quantity"]: row["mean"] for row in Unravel().compute(LAB).headline}
    assert figures["paths"] == 16
    assert figures["terms_of_derivative"] == figures["paths_through_block"] == figures["occurrences_of_block"] == 8


@pytest.mark.parametrize(("blocks", "block"), [(1, 0), (4, 1), (12, 0)])
def test_a_sequential_network_is_one_product(blocks, block):
    result = Unravel(network="sequential", blocks=blocks, block=block).compute(LAB)
    assert set(verdicts(result).values()) == {"agree"}
    assert [row["quantity"] for row in result.rows] == ["output", "derivative"]
    assert result.rows[1]["length"] == blocks - block
    axis = Figure().subplots()
    Unravel(network="sequential", blocks=blocks, block=block).sketch(axis)
    assert len(axis.texts) == blocks + 2


@pytest.mark.parametrize("network", ["residual", "densenet"])
def test_a_wrong_expansion_is_caught(network, monkeypatch):
    """f3 without the term of f2 inside it, and a derivative without one of its chains."""
    chains = unravelling.chains

    def wrong(blocks, join):
        x = unravelling.Term(0)
        f1 = unravelling.Term(1, (x,))
        f2 = unravelling.Term(2, (x, f1))
        return x, f1, f2, unravelling.Term(3, (x, f1, f1))

    monkeypatch.setattr(unravelling, "chains", lambda blocks, start, join: chains(blocks, start, join)[:-1])
    monkeypatch.setattr(unravelling, "expansion", wrong)
    found = verdicts(Unravel(network=network, blocks=3).compute(LAB))
    assert found["outputs_equal_to_network"] == found["derivatives_equal_to_autograd"] == "disagree"
    assert found["paths"] == found["terms_of_derivative"] == "disagree"


def test_dot_is_a_whole_file():
    written = [row["written"] for row in Unravel(form="dot").compute(LAB).rows]
    assert written[0] == "digraph unravelled {"
    assert written[-1] == "}"
    assert sum('label="f1"' in line for line in written) == 8


def test_figure_11_4_b_is_drawn():
    axis = Figure().subplots()
    Unravel().sketch(axis)
    labels = [text.get_text() for text in axis.texts]
    assert [labels.count(label) for label in ("x", "f1", "f2", "f3", "f4", "y")] == [16, 8, 4, 2, 1, 1]
    assert len(axis.lines) == len(labels) - 1  # it is a tree


def test_what_is_too_large_is_refused():
    with pytest.raises(UsageError, match="128 paths of 7 blocks at most, and 8 blocks have 256"):
        Unravel(blocks=8).sketch(Figure().subplots())
    with pytest.raises(UsageError, match=r"--block 5: must be one of the blocks 1\.\.4, or 0"):
        Unravel.parse({"block": 5})
    with pytest.raises(UsageError, match="--blocks 13: must be at most 12"):
        Unravel.parse({"blocks": 13})
