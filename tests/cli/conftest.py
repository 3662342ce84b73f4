"""The command line as a function: arguments in, exit code, stdout and stderr out."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from resexp_cli import main


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Resexp = Callable[..., Ended]

TINY = ("--depth", "2", "--width", "8", "--batch", "4", "--draws", "16")
"""A variance run of milliseconds."""


@pytest.fixture
def resexp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Resexp:
    """Run `resexp ARGUMENTS` in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("RESEXP_") or n in {"COLUMNS", "FORCE_COLOR", "NO_COLOR"}]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        code = main._exit_code(list(arguments))
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[], set[str]]:
    """Names of all files below the folder the commands run in."""
    return lambda: {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
