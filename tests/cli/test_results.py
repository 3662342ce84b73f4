"""compare: two stored results or CSV files side by side."""

import csv
import io
from pathlib import Path

import pytest

from .conftest import TINY, Resexp


def folders(root: Path, experiment: str) -> list[str]:
    return sorted(str(path) for path in root.glob(f"results/{experiment}/*"))


def test_the_same_result_does_not_differ(resexp: Resexp, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(resexp("variance", *TINY).out)
    (folder,) = folders(tmp_path, "variance")
    ended = resexp("compare", folder, "a.csv")
    assert ended.code == 0
    assert ended.out.startswith("0 of 12 numbers differ beyond their intervals.")


def test_exact_numbers_that_differ_are_listed(resexp: Resexp, tmp_path: Path) -> None:
    resexp("parameters", "--width", "2,3", "--layers", "1")
    a, b = folders(tmp_path, "parameters")
    ended = resexp("compare", a, b, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert {(row["layer"], row["kind"], row["judgement"]) for row in rows} == {
        ("hidden 1", "weights", "differs"),
        ("hidden 1", "biases", "differs"),
        ("output", "weights", "differs"),
        ("total", "all", "differs"),
    }
    assert "width: " in resexp("compare", a, b).out


def test_measured_numbers_differ_beyond_the_interval_of_their_difference(resexp: Resexp, tmp_path: Path) -> None:
    table = "block,quantity,mean,stderr\n0,x,{a},0.3\n1,x,{b},0.4\n2,x,0,0.1\n"
    (tmp_path / "a.csv").write_text(table.format(a=1.0, b=1.0))
    (tmp_path / "b.csv").write_text(table.format(a=1.8, b=2.2).replace("2,x", "3,x"))
    out = resexp("compare", "a.csv", "b.csv", "--all", "--format", "csv").out
    judged = {row["block"]: row["judgement"] for row in csv.DictReader(io.StringIO(out))}
    # 1.96 standard errors of the difference are 0.83 and 1.11.
    assert judged == {"0": "same", "1": "differs", "2": "only in A", "3": "only in B"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("length,count\n0,1\n", "different columns"), ("a,b\n1\n", "cannot be read as CSV"), ("a,b\n", "has no rows")],
)
def test_what_cannot_be_compared_is_refused(resexp: Resexp, tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "a.csv").write_text(resexp("parameters", "--no-save").out)
    (tmp_path / "b.csv").write_text(content)
    ended = resexp("compare", "a.csv", "b.csv")
    assert (ended.code, ended.out) == (2, "")
    assert sentence in ended.err
