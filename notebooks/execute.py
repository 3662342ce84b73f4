"""Run the notebooks of this folder and store what they put out, in place or in another folder.

    .venv/bin/python notebooks/execute.py
    .venv/bin/python notebooks/execute.py probing-a-model.ipynb --out fresh

The cells run in IPython, in the order they stand, each notebook in a namespace of its own, without a server or a
kernel's process. What is stored holds no time, no path and no run's number: the same notebook is the same file.
"""

import argparse
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets import Type
from traitlets.config import Config

FOLDER = Path(__file__).parent


class Kept(DisplayHook):
    """Keeps the value of a cell in all its forms, where a terminal would print one of them."""

    values: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = ()

    def write_output_prompt(self) -> None:
        """Print no `Out[1]:`."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        """Keep the forms, by their media types, and what is said of each."""
        self.values = (*self.values, (format_dict, md_dict or {}))

    def finish_displayhook(self) -> None:
        """Print no blank line."""


class Shell(InteractiveShell):
    """IPython without a terminal."""

    displayhook_class = Type(Kept)


def executed(notebook: dict[str, Any], shell: Shell) -> dict[str, Any]:
    """The notebook with new outputs. Raises the exception of the first cell that fails."""
    shell.reset(new_session=True)
    cells, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            outputs = list(_run("".join(cell["source"]), count, shell))
            cell = {**cell, "execution_count": count, "outputs": outputs}
        cells.append(cell)
    return {**notebook, "cells": cells}


def _run(source: str, count: int, shell: Shell) -> Iterator[dict[str, Any]]:
    """What a cell puts out, in the words of the format: text, then what was displayed, last its value."""
    shell.displayhook.values = ()
    with capture_output() as captured:
        done = shell.run_cell(source, store_history=True)
    done.raise_error()
    for name, text in (("stdout", captured.stdout), ("stderr", captured.stderr)):
        if text:
            yield {"output_type": "stream", "name": name, "text": text.splitlines(keepends=True)}
    for shown in captured.outputs:
        yield {"output_type": "display_data", "data": _stored(shown.data), "metadata": shown.metadata}
    for data, metadata in shell.displayhook.values:
        value = {"data": _stored(data), "metadata": metadata}
        yield {"output_type": "execute_result", "execution_count": count, **value}


def _stored(data: dict[str, Any]) -> dict[str, Any]:
    """Pictures in base64, text line by line."""
    return {
        kind: base64.b64encode(value).decode() + "\n" if isinstance(value, bytes) else value.splitlines(keepends=True)
        for kind, value in data.items()
    }


def main() -> None:
    """Read the arguments, run, write."""
    parser = argparse.ArgumentParser(description="Run notebooks and store their outputs.")
    parser.add_argument("names", nargs="*", help="notebooks of this folder; all by default")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write into; in place by default")
    given = parser.parse_args()
    quiet = Config()
    quiet.HistoryManager.enabled = False
    shell = Shell.instance(config=quiet, colors="nocolor")
    for path in [FOLDER / name for name in given.names] or sorted(FOLDER.glob("*.ipynb")):
        done = executed(json.loads(path.read_text()), shell)
        (given.out / path.name).write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
