"""Commands that only read declarations, count and list start quickly: no torch, no scipy, no matplotlib."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "scipy", "matplotlib", "dask"}
CODE = """
import sys
from resexp_cli import main
code = main._exit_code(sys.argv[1:])
print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
sys.exit(code)
"""


def loaded(folder: Path, *arguments: str) -> set[str]:
    """Top-level modules that a command has imported when it ends."""
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "command",
    ["--help", "list", "show variance", "paths", "parameters", "variance --help", "schema"],
)
def test_heavy_packages_stay_out(tmp_path: Path, command: str) -> None:
    modules = loaded(tmp_path, *command.split())
    assert "resexp" in modules
    assert not modules & HEAVY
    if not command.startswith("paths"):
        assert "numpy" not in modules
