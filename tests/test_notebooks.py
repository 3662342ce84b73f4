"""The notebooks of notebooks/ are what they put out: run afresh they show the same numbers, words and pictures."""

import base64
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.printed import differences

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = ("probing-a-model", "shattered-gradients", "variance")
LARGEST = 400_000
"""Bytes."""

Notebook = dict[str, Any]


def run_afresh(out: Path) -> None:
    """Execute all notebooks into the folder."""
    command = [sys.executable, str(FOLDER / "execute.py"), "--out", str(out)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RESEXP_")}
    environment = clean | {"IPYTHONDIR": str(out / "ipython"), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def read(path: Path) -> Notebook:
    notebook: Notebook = json.loads(path.read_text())
    return notebook


def code_cells(notebook: Notebook) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text_of(output: dict[str, Any]) -> str:
    """All text that an output shows; of a table what it shows in HTML, for plain text is cut to a terminal's width."""
    data = output.get("data", {})
    if "text/html" in data:
        bare = re.sub(r"<style.*?</style>|<[^>]+>", "\n", "".join(data["text/html"]), flags=re.S)
        return "\n".join(line for line in bare.splitlines() if line.strip())
    return "".join(output.get("text", data.get("text/plain", ())))


def size_of(output: dict[str, Any]) -> tuple[int, ...] | None:
    """Width and height of its picture."""
    png = output.get("data", {}).get("image/png")
    return struct.unpack(">II", base64.b64decode(png)[16:24]) if png else None


@pytest.mark.slow
def test_notebooks_run_afresh_show_what_they_have_stored(tmp_path: Path) -> None:
    run_afresh(tmp_path)
    for name in NAMES:
        new, old = code_cells(read(tmp_path / f"{name}.ipynb")), code_cells(read(FOLDER / f"{name}.ipynb"))
        for number, (after, before) in enumerate(zip(new, old, strict=True), start=1):
            place = f"{name}, cell {number}"
            assert before["execution_count"] == number, place
            assert len(after["outputs"]) == len(before["outputs"]), place
            for fresh, stored in zip(after["outputs"], before["outputs"], strict=True):
                assert set(fresh.get("data", ())) == set(stored.get("data", ())), place
                assert differences(text_of(fresh), text_of(stored)) == [], place
                assert size_of(fresh) == size_of(stored), place


def test_the_notebooks_are_these_and_none_is_large() -> None:
    found = sorted(FOLDER.glob("*.ipynb"))
    assert tuple(path.stem for path in found) == NAMES
    for path in found:
        assert path.stat().st_size < LARGEST, path
        outputs = [output for cell in code_cells(read(path)) for output in cell["outputs"]]
        assert sum(size_of(output) is not None for output in outputs) >= 1
        assert not [output for output in outputs if output.get("name") == "stderr"]
        assert str(Path.home()) not in path.read_text()
