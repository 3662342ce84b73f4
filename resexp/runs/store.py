"""Results on disk: a folder a cell, `<root>/<experiment>/<id>/` with result.csv and run.json.

A result is written beside its place and renamed into it, so that a kill or a full disk leaves a whole result or none.
"""

import hashlib
import json
import os
import shutil
import traceback
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resexp.core.errors import ResexpError, UsageError
from resexp.core.result import FamilyResult, Result
from resexp.core.tabular import from_csv, to_csv
from resexp.runs.cell import Cell, Outcome
from resexp.runs.lock import Lock

FORMAT = 1


@dataclass(frozen=True)
class Failure:
    """Why a cell failed. output: the end of what it printed; seconds: after which it failed; finished: when."""

    type: str
    message: str
    traceback: str = ""
    output: str = ""
    seconds: float = 0.0
    finished: str = ""

    @classmethod
    def of(cls, error: BaseException, seconds: float, output: str = "") -> "Failure":
        """The failure that an exception stands for; an error of our own needs no traceback."""
        told = "" if isinstance(error, ResexpError) else "".join(traceback.format_exception(error))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(type(error).__name__, str(error), told, output, round(seconds, 6), now)

    def __str__(self) -> str:
        """One line for people."""
        last = self.message.strip().splitlines()[-1:] or [""]
        return last[0] if self.type.endswith("Error") and not self.traceback else f"{self.type}: {last[0]}"


class Store:
    """Stored results under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, cell: Cell) -> Path:
        """Where the cell's result is, or would be."""
        return self.root / cell.name / cell.id

    def check_writable(self) -> None:
        """Raise UsageError unless results can be written here; leaves nothing behind."""
        existing = self.root
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        probe = existing / f".resexp-{uuid.uuid4().hex}"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            raise UsageError(
                f"--out {self.root}: cannot write there ({error.strerror}); name another folder, or use --no-save."
            ) from None

    def has(self, cell: Cell) -> bool:
        """Whether the cell has a result here; `load` says whether it is whole."""
        return (self.folder(cell) / "run.json").is_file()

    def save_failure(self, cell: Cell, failure: Failure) -> None:
        """Keep `error.json` in the cell's folder until the cell succeeds. Raises ResexpError where that fails."""
        folder = self.folder(cell)
        beside = folder / f".error.{uuid.uuid4().hex}"
        document = {"format": FORMAT, **cell.identity, "id": cell.id, **asdict(failure)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(beside, json.dumps(document, indent=1) + "\n")
            beside.rename(folder / "error.json")
        except OSError as error:
            raise ResexpError(f"{folder / 'error.json'} could not be saved: {error.strerror or error}.") from None
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def failure(self, cell: Cell) -> Failure | None:
        """How the cell failed the last time, None where it did not or where the file is damaged."""
        try:
            document = json.loads((self.folder(cell) / "error.json").read_bytes())
            return Failure(**{f.name: document[f.name] for f in fields(Failure)})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def lock(self, cell: Cell) -> Lock:
        """What keeps another run from computing the cell at the same time. Raises ResexpError without a folder."""
        folder = self.folder(cell)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResexpError(f"{folder.parent} cannot be made: {error.strerror or error}.") from None
        return Lock(folder.parent / f".{folder.name}.lock")

    def load(self, cell: Cell) -> Outcome | None:
        """The stored outcome of the cell, or None where there is none that is whole."""
        try:
            result, run = read_result(self.folder(cell))
        except ResexpError:
            return None
        return Outcome(cell, result, run, read_back=True) if run.get("id") == cell.id else None

    def save(self, outcome: Outcome) -> Path:
        """Write the outcome; an older one of the same cell is replaced. Raises ResexpError where that fails."""
        target = self.folder(outcome.cell)
        temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
        try:
            temporary.mkdir(parents=True)
            table = to_csv(outcome.result.columns, outcome.result.rows)
            _write(temporary / "result.csv", table)
            _write(temporary / "run.json", json.dumps(_document(outcome, table), indent=1, allow_nan=False) + "\n")
            _put_in_place(temporary, target)
        except ValueError as error:  # JSON has no word for nan
            raise ResexpError(
                f"The result of {outcome.cell.name} {outcome.cell.id} cannot be stored: {error}. "
                "An experiment gives None for what is no number."
            ) from None
        except OSError as error:
            reason = error.strerror or error
            raise ResexpError(
                f"The result could not be saved in {target}: {reason}. Earlier results are untouched."
            ) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(temporary: Path, target: Path) -> None:
    old = temporary.with_name(temporary.name + ".old")
    with suppress(FileNotFoundError):
        target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        with suppress(FileNotFoundError):
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _document(outcome: Outcome, table: str) -> dict[str, Any]:
    result = outcome.result
    return {
        "format": FORMAT,
        "experiment": outcome.cell.name,
        "parameters": outcome.run["parameters"],
        "headline": result.headline,
        "families": [asdict(family) for family in result.families],
        "notes": result.notes,
        "run": dict(outcome.run),
        "result_sha256": _digest(table),
    }


def _digest(table: str) -> str:
    """What tells a table that was cut off at the end of a line from a whole one."""
    return hashlib.sha256(table.encode()).hexdigest()


def read_result(folder: Path) -> tuple[Result, dict[str, Any]]:
    """Result and provenance of a stored cell. Raises ResexpError where the folder holds no whole result."""
    try:
        table = (folder / "result.csv").read_bytes().decode()
        document = json.loads((folder / "run.json").read_bytes())
        if document["format"] != FORMAT:
            raise ResexpError(f"{folder} was written by another version of resexp; run it again with --force.")
        if document["result_sha256"] != _digest(table):
            raise ResexpError(f"{folder / 'result.csv'} is not what was stored there; run it again with --force.")
        columns, rows = from_csv(table)
        families = [FamilyResult(**family) for family in document["families"]]
        return Result(columns, rows, document["headline"], families, document["notes"]), document["run"]
    except FileNotFoundError:
        raise ResexpError(f"{folder} holds no result.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResexpError(f"The result in {folder} is damaged ({error}); run it again with --force.") from None
