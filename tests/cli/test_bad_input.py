"""Bad input: a sentence on stderr, exit 2, nothing on stdout, nothing written, no traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Resexp

SENTENCES = {
    "variance --depth 0": "--depth 0: must be at least 1",
    "variance --depth -1": "--depth -1: must be at least 1",
    "variance --depth 1e99": "--depth 1e99: must be a whole number",
    "variance --depth 1.5": "--depth 1.5: must be a whole number",
    "variance --depth 2,x --width 0": "--width 0: must be at least",
    "variance --depth ,": "--depth ,: a list such as a,b,c has no empty places.",
    "variance --depth=": "--depth has no value.",
    "variance --depth 5:1": "--depth 5:1: a range is start:stop",
    "variance --depth 1:9:x1": "--depth 1:9:x1: a range is start:stop",
    "variance --depth 1:1e999999": "--depth 1:1e999999: a range is start:stop",
    "variance --depth 1:20000": "more than 10,000 values",
    "variance --depth 1:200 --width 2:200": "--depth, --width: 39,800 settings together",
    "variance --draws 1": "--draws 1: must be at least 2",
    "variance --batch 1 --scheme batchnorm": "batch normalisation of a single example is zero",
    "variance --scheme residul": "did you mean 'residual'?",
    "variance --alpha x": "--alpha x: must be a finite number",
    "variance --seed -1": "--seed -1: must be at least 0",
    "variance --threads 1,2": "--threads 1,2: must be a whole number",
    "variance --memory 2XB": "--memory 2XB: is not a size such as 500MB",
    "variance --device gpu": "--device gpu: is not a device (did you mean 'cpu'?)",
    "variance --dept 3": "Did you mean",
    "variance --format xml": "'xml' is not one of 'auto', 'table'",
    "variance 3": "Got unexpected extra argument (3)",
    "variance --depth 100000 --width 100000": "and the budget is",
    "variance --depth 2,20000 --width 64 --memory 20MB": "depth 20000, width 64",
    "variance --plot a.jpg": "the name must end in .png, .svg, .pdf",
    "variance --settings no.yaml": "no.yaml: there is no such file.",
    "parameters blok": "did you mean 'block'?",
    "paths --scheme residual,": "--scheme residual,: a list",
    "paths --blocks 5 --max-length 6": "must be a range within 0..5",
    "paths --out /dev/null/results": "--out /dev/null/results: cannot write there",
    "varience": "There is no command 'varience' (did you mean 'variance'?)",
    "show varience": "There is no experiment 'varience' (did you mean 'variance'?)",
    "compare a.csv b.csv": "a.csv is neither a stored result nor a CSV file.",
    "run no.yaml": "no.yaml: there is no such file.",
    "run": "Missing argument 'FILE'",
}


@pytest.mark.parametrize("line", SENTENCES)
def test_refused_in_a_sentence(resexp: Resexp, stored: Callable[[], set[str]], line: str) -> None:
    ended = resexp(*line.split())
    assert (ended.code, ended.out) == (2, "")
    assert SENTENCES[line] in ended.err
    assert ended.err.startswith("Error: ")
    assert stored() == set()


FILES = {
    "wdth: 3\n": "s.yaml:1:1: 'wdth' is not a parameter of variance or a common setting (did you mean 'width'?).",
    "depth: 3\nwidth: wide\n": 's.yaml:2:8: width "wide": must be a whole number',
    "depth: 100000\nwidth: 100000\n": "of memory needed, and the budget is",
    "": "s.yaml: The file is empty",
}


@pytest.mark.parametrize("content", FILES)
def test_settings_files_are_refused(resexp: Resexp, tmp_path: Path, content: str) -> None:
    (tmp_path / "s.yaml").write_text(content)
    ended = resexp("variance", "--settings", "s.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert FILES[content] in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


BATCHES = {
    "": "b.yaml:1:1: The file is empty",
    "experiments:\n\ta: {}\n": "b.yaml:2:1: Line 2 is indented with a tab",
    "experiments:\n  a: {experiment: variance, set: {dpeth: 3}}\n": "did you mean 'depth'?)",
    "experiments:\n  ../a: {experiment: paths}\n": "cannot name results",
    "experiments:\n  a: {experiment: paths, plot: ../a.svg}\n": "inside the results folder",
    "experiments:\n  a: {experiment: paths}\n  b: {experiment: variance, set: {depth: 100000, width: 100000}}\n": (
        "b: depth 100000, width 100000"
    ),
}


@pytest.mark.parametrize("content", BATCHES)
def test_a_wrong_batch_runs_nothing(resexp: Resexp, tmp_path: Path, content: str) -> None:
    (tmp_path / "b.yaml").write_text(content)
    ended = resexp("run", "b.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert BATCHES[content] in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["b.yaml"]


def test_a_wrong_value_from_the_environment_is_told_as_such(resexp: Resexp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEXP_PATHS_BLOCKS", "many")
    ended = resexp("paths")
    assert ended.code == 2
    assert "--blocks many: must be a whole number" in ended.err
    assert "From the environment: RESEXP_PATHS_BLOCKS." in ended.err


def test_a_budget_larger_than_the_machine_fails_in_a_sentence(resexp: Resexp) -> None:
    ended = resexp("variance", "--memory", "900TB", "--width", "1000000", "--depth", "2", "--draws", "2", "--no-save")
    assert (ended.code, ended.out) == (1, "")
    assert "ran out of memory" in ended.err
