"""Cells put into a store without being run, as a batch would have stored them."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from resexp.core.result import Result
from resexp.experiments.paths import Paths
from resexp.runs.cell import Cell, Outcome
from resexp.runs.entry import Entry
from resexp.runs.settings import Settings
from resexp.runs.store import Store


def paths(*blocks: int) -> list[Cell]:
    """Cells that count paths."""
    return [Cell(Paths(blocks=n), Settings(), {"blocks": "file"}) for n in blocks]


def planned(name: str, cells: Iterable[Cell]) -> list[tuple[Entry, Cell]]:
    """The cells as those of an entry."""
    return [(Entry(name, cell.name, {}, {}), cell) for cell in cells]


def put(store: Store, cell: Cell, entry: str | None = None, result: Result | None = None, **run: Any) -> Path:
    """Store a result of the cell; run: further provenance, or another one."""
    made = Result(("length", "count"), [{"length": 0, "count": 1}])
    known = {**cell.identity, "id": cell.id, "sources": dict(cell.sources), "seed": cell.settings.seed}
    known |= {"dtype": cell.settings.dtype} | ({"entry": entry} if entry else {})
    return store.save(Outcome(cell, result or made, {**known, **run}))


def again_as(folder: Path, identifier: str, **run: Any) -> Path:
    """A copy of a stored result under another id and with another provenance."""
    document = json.loads((folder / "run.json").read_text())
    copy = folder.with_name(identifier)
    copy.mkdir()
    (copy / "result.csv").write_bytes((folder / "result.csv").read_bytes())
    document["run"] |= {"id": identifier, **run}
    (copy / "run.json").write_text(json.dumps(document, indent=1) + "\n")
    return copy


def changed(cell: Cell, **settings: Any) -> Cell:
    """The cell with other settings."""
    return dataclasses.replace(cell, settings=cell.settings.model_copy(update=settings))


def age(path: Path) -> Path:
    """Make it look as if nobody had touched it for a day."""
    day_ago = path.lstat().st_mtime - 86400
    os.utime(path, (day_ago, day_ago), follow_symlinks=False)
    return path


def tree(root: Path) -> Mapping[str, int]:
    """All names below a folder, with their inodes."""
    return {str(path.relative_to(root)): path.lstat().st_ino for path in root.rglob("*")}
