"""A release: built to the same bytes anywhere, tried where it is installed, and refused where it is not ready."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import trove_classifiers
import yaml

from resexp import __version__
from resexp_cli.main import VERBS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PUBLISH = ROOT / "scripts" / "publish.sh"
MADE_OF = ("scripts", "CITATION.cff", "CHANGELOG.md", "pyproject.toml", "resexp/__init__.py")


def publish(*options: str, root: Path = ROOT, path: str = os.environ["PATH"], dist: Path) -> tuple[int, str, str]:
    """Run the script, which uploads nothing: the only `twine` it can find writes down that it was called."""
    tools = dist / "tools"
    tools.mkdir(parents=True)
    (tools / "twine").write_text(f'#!/bin/sh\necho "$1" >> {tools}/called\n')
    (tools / "twine").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{path}", "PYTHON": sys.executable, "DIST": str(dist)}
    done = subprocess.run(
        ["bash", str(root / "scripts" / "publish.sh"), *options],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    called = (tools / "called").read_text() if (tools / "called").exists() else ""
    assert "upload" not in called
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)  # some fifteen seconds of one core
def test_a_release_is_built_twice_to_the_same_bytes_and_works_where_it_is_installed(tmp_path: Path) -> None:
    """From the checkout, and from the source distribution with other times and modes; then scripts/smoke.sh."""
    code, out, err = publish("--dry-run", "--offline", dist=tmp_path)
    assert code == 0, err
    assert out.count("is built to the same bytes") == 2
    assert "  ok  not the checkout\n" in out
    assert out.count("  ok  ") >= 20
    assert out.endswith("Nothing was uploaded (--dry-run).\n")

    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"resexp-{__version__}-py3-none-any.whl"
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("resexp/")}
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {file.name.partition("/")[2] for file in files.getmembers() if file.isfile()}
    assert packed == {name for name in names if name.startswith("resexp/")}
    assert {"CITATION.cff", "SECURITY.md", "scripts/publish.sh", "tests/test_release.py", "LICENSE"} <= names


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What the script looks at before a release, committed and tagged."""
    root = tmp_path / "repository"
    for name in MADE_OF:
        for path in [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).iterdir()):
            copy = root / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    dated = re.sub(
        rf"^(## {re.escape(__version__)}) .*", r"\1 (2026-01-01)", (root / "CHANGELOG.md").read_text(), flags=re.M
    )
    (root / "CHANGELOG.md").write_text(dated)
    cited = [line for line in (root / "CITATION.cff").read_text().splitlines() if not line.startswith("date-released")]
    (root / "CITATION.cff").write_text("\n".join([*cited, "date-released: 2026-01-01", ""]))
    git(root, "init", "-q")
    commit(root)
    git(root, "tag", f"v{__version__}")
    return root


def git(root: Path, *words: str) -> None:
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", "state")


def spoil(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new))
    commit(root)
    git(root, "tag", "--force", f"v{__version__}")


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("resexp/__init__.py", f'"{__version__}"', '"1.0"', "'1.0' is not MAJOR.MINOR.PATCH"),
        ("CITATION.cff", f"version: {__version__}", "version: 9.9.9", "CITATION.cff has another version"),
        ("CITATION.cff", "date-released: ", "released: ", "CITATION.cff has no date-released"),
        ("CHANGELOG.md", f"## {__version__} (", "## 9.9.9 (", "CHANGELOG.md has no section"),
        (
            "CHANGELOG.md",
            f"## {__version__} (2026-01-01)",
            f"## {__version__} (unreleased)",
            "unreleased; give it a date",
        ),
    ],
)
def test_a_release_that_is_not_ready_is_refused(
    tmp_path: Path, repository: Path, name: str, old: str, new: str, told: str
) -> None:
    spoil(repository, name, old, new)
    code, out, err = publish(root=repository, dist=tmp_path / "dist")
    assert (code, out) == (2, "")
    assert told in err


def test_a_release_of_what_is_not_committed_or_not_tagged_is_refused(tmp_path: Path, repository: Path) -> None:
    (repository / "more").touch()
    assert "the working tree has changes; commit them" in publish(root=repository, dist=tmp_path / "a")[2]
    commit(repository)
    assert f"HEAD is not tagged v{__version__}" in publish(root=repository, dist=tmp_path / "b")[2]
    assert "no option '--dry'" in publish("--dry", root=repository, dist=tmp_path / "c")[2]


def test_the_version_is_semantic_and_the_same_everywhere() -> None:
    assert re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", __version__)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the format demands
    assert citation["license"] == PROJECT["project"]["license"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__


def test_the_classifiers_exist_and_name_the_pythons() -> None:
    classifiers = PROJECT["project"]["classifiers"]
    assert not set(classifiers) - trove_classifiers.classifiers
    least = PROJECT["project"]["requires-python"].removeprefix(">=3.")
    named = [int(c.rpartition(".")[2]) for c in classifiers if re.search(r":: 3\.\d+$", c)]
    assert named == list(range(int(least), named[-1] + 1))
    assert named[-1] >= 13


def test_security_names_only_options_and_commands_that_there_are() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    options = {option for command in VERBS.values() for p in command.params for option in p.opts}
    options |= {"--settings", "--loss"}  # of experiments
    assert set(re.findall(r"--[a-z][a-z-]+", text)) <= options
    assert set(re.findall(r"`resexp ([a-z]+)", text)) <= VERBS.keys()


def test_every_extra_that_is_asked_for_exists() -> None:
    """`pip install 'resexp[name]'` installs nothing more, and only warns, where there is no such extra."""
    texts = [path.read_text() for folder in ("resexp", "cli", "docs") for path in (ROOT / folder).rglob("*.[pm][yd]")]
    asked = {name for text in texts for names in re.findall(r"resexp\[([a-z,]+)\]", text) for name in names.split(",")}
    assert {"plots", "dask", "report"} <= asked
    assert asked <= PROJECT["project"]["optional-dependencies"].keys()
