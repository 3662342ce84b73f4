"""init and new-experiment write files that run, agree with their theory, and tell what to do next."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import resexp.experiments
from resexp.runs.config import TOP_KEYS
from resexp.runs.registry import forget
from resexp.runs.yaml_entry import ENTRY_KEYS
from resexp.scaffold import create
from resexp_cli import main

from .conftest import Resexp

ROOT = Path(__file__).parent.parent.parent
NAMES = {"ensemble": "scaffolded-layer", "table": "scaffolded-count"}


def test_the_first_batch_is_accepted_and_runs_as_it_is(resexp: Resexp) -> None:
    ended = resexp("init")
    assert (ended.code, ended.out) == (0, "experiments.yaml\n")
    assert "resexp run experiments.yaml --dry-run" in ended.err
    planned = resexp("run", "experiments.yaml", "--dry-run", "--format", "csv")
    assert planned.code == 0
    assert len(planned.out.splitlines()) == 16
    ran = resexp("run", "experiments.yaml", "-j0", "-q", "--format", "csv")
    assert ran.code == 0
    assert resexp("status", "experiments.yaml", "-q", "--format", "csv").out.count(",0,0,0,0,0\n") == 6


def test_the_first_batch_explains_every_key_and_uses_most_of_them(resexp: Resexp, tmp_path: Path) -> None:
    resexp("init", "-q")
    text = (tmp_path / "experiments.yaml").read_text()
    for key in (*TOP_KEYS, *ENTRY_KEYS.keys() - {"experiment"}, "zip"):
        assert re.search(rf"^ *# {key}: \w", text, re.MULTILINE), f"{key} is not explained"
    used = {key for entry in yaml.safe_load(text)["experiments"].values() for key in entry}
    assert used == ENTRY_KEYS.keys() - {"plot"}  # a figure needs an extra


def test_the_commented_lines_of_the_first_batch_are_right_too(resexp: Resexp, tmp_path: Path) -> None:
    resexp("init", "-q")
    text = (tmp_path / "experiments.yaml").read_text()
    spoken, changed = re.subn(r"# (plot: residual.svg|include: base.yaml|threads: 2|device: auto)", r"\1", text)
    assert changed == 4
    (tmp_path / "experiments.yaml").write_text(spoken)
    (tmp_path / "base.yaml").write_text("experiments: {first: {experiment: paths}}\n")
    assert resexp("run", "experiments.yaml", "--dry-run").code == 0


def test_a_batch_that_is_there_is_kept_unless_forced(resexp: Resexp, tmp_path: Path) -> None:
    file = tmp_path / "experiments.yaml"
    file.write_text("mine")
    ended = resexp("init")
    assert ended.code == 2
    assert "--force" in ended.err
    assert file.read_text() == "mine"
    assert resexp("init", "--into", "study", "-q").code == 0
    assert resexp("init", "--force", "-q").code == 0
    assert file.read_text() == (tmp_path / "study" / "experiments.yaml").read_text()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with no experiments yet, whose resexp is the one that runs."""
    package = tmp_path / "checkout" / "resexp" / "experiments"
    (package / "deeper").mkdir(parents=True)
    (package / "__init__.py").write_text('"""Experiments."""\n')
    (tmp_path / "checkout" / "pyproject.toml").touch()
    monkeypatch.setattr(resexp.experiments, "__file__", str(package / "__init__.py"))
    return tmp_path / "checkout"


def test_in_a_checkout_one_file_is_written_and_meets_the_contract(
    resexp: Resexp, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contract tests find the files through the package's path, in a process of their own."""
    monkeypatch.chdir(checkout / "resexp" / "experiments" / "deeper")
    before = set(checkout.rglob("*"))
    for kind, name in NAMES.items():
        ended = resexp("new-experiment", name, "--kind", kind)
        assert (ended.code, ended.out) == (0, f"resexp/experiments/{name.replace('-', '_')}.py\n")
        assert f"pytest tests/test_contract.py -k {name}" in ended.err
    assert len(set(checkout.rglob("*")) - before) == 2

    package = checkout / "resexp" / "experiments"
    (package / "__init__.py").unlink()
    (checkout / "found.py").write_text(f"import resexp.experiments as e\ne.__path__.append({str(package)!r})\n")
    words = ["-m", "pytest", "-p", "found", "-p", "no:cacheprovider", "-k", " or ".join(NAMES.values())]
    done = subprocess.run(
        [sys.executable, *words, str(ROOT / "tests" / "test_contract.py")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 16  # type: ignore[index]


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("name", ["ab", "a-name-of-forty-characters-or-about-that"])
def test_what_is_written_keeps_the_style(
    resexp: Resexp, checkout: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(checkout)
    resexp("new-experiment", name, "--kind", kind, "-q")
    ruff = [shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"]
    configured = ["--no-cache", "--config", str(ROOT / "pyproject.toml"), str(checkout)]
    for verb in (["check"], ["format", "--check"]):
        done = subprocess.run([*ruff, *verb, *configured], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", NAMES)
def test_elsewhere_a_plugin_is_written_whose_tests_pass(resexp: Resexp, tmp_path: Path, kind: str) -> None:
    name = NAMES[kind]
    ended = resexp("new-experiment", name, "--kind", kind)
    assert ended.code == 0
    assert len(ended.out.splitlines()) == 3
    assert f"pip install pytest -e ./{name}" in ended.err
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_plugin_is_found_by_its_entry_point(resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tomllib

    resexp("new-experiment", NAMES["table"], "--kind", "table", "-q")
    plugin = tmp_path / NAMES["table"]
    declared = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    ((group, points),) = declared["entry-points"].items()
    installed = plugin / "plugin-0.1.0.dist-info"  # what an installation leaves behind
    installed.mkdir()
    (installed / "METADATA").write_text(f"Name: {declared['name']}\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{n} = {m}\n" for n, m in points.items()))
    monkeypatch.syspath_prepend(str(plugin))
    forget()
    try:
        assert resexp(NAMES["table"], "--units", "4", "--check", "--format", "csv").out.endswith("4,5\n")
    finally:
        forget()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MeanSquare", "mean-square would do"),
        ("mean_square", "mean-square would do"),
        ("3d", "begins with a letter; d would do"),
        ("été", "lower-case letters"),
        ("../up", "up would do"),
        ("", "lower-case letters"),
        ("variance", "There is a command 'variance' already"),
        ("run", "There is a command 'run' already"),
        ("lambda", "a word of Python"),
        ("json", "a Python module 'json' already"),
        ("numpy", "a Python module 'numpy' already"),
        ("x" * 41, "choose one of 40 at most"),
    ],
)
def test_a_name_that_will_not_do_is_refused_with_what_would(
    resexp: Resexp, tmp_path: Path, name: str, told: str
) -> None:
    ended = resexp("new-experiment", name)
    assert ended.code == 2
    assert told in ended.err
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_written_over(resexp: Resexp, tmp_path: Path) -> None:
    (tmp_path / "my-count").mkdir()
    (tmp_path / "my-count" / "pyproject.toml").write_text("mine")
    ended = resexp("new-experiment", "my-count")
    assert ended.code == 2
    assert "my-count/pyproject.toml is there already; choose another name" in ended.err
    assert len(list((tmp_path / "my-count").iterdir())) == 1


def test_a_checkout_of_another_resexp_is_refused(
    resexp: Resexp, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with pytest.raises(create.UsageError, match=r"is a checkout of resexp, but the resexp that runs here is another"):
        create.create_experiment("my-count", checkout, "table", main.VERBS)
    assert not list(checkout.rglob("my_count.py"))
