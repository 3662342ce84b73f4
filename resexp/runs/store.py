"""Results on disk: a folder a cell, `<root>/<experiment>/<id>/` with result.csv and run.json.

A result is written beside its place and renamed into it, so that a kill or a full disk leaves a whole result or none.
"""

import hashlib
import json
import math
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
MOMENT = 0.1
"""Seconds of computing that are worth waiting for the disk; a busy one takes a tenth of that."""
TURNS = 20
"""Times that a result is put in place where another run stores the same cell at the same moment."""


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


class UnstorableError(ResexpError):
    """A result that is not plain data."""


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

    def save_failure(self, cell: Cell, failure: Failure, entry: str | None = None) -> None:
        """Keep `error.json` in the cell's folder until the cell succeeds. Raises ResexpError where that fails.

        entry: of a batch, for which the cell was run.
        """
        folder = self.folder(cell)
        beside = folder / f".error.{uuid.uuid4().hex}"
        made = {"id": cell.id, "entry": entry, "sources": dict(cell.sources)}
        document = {"format": FORMAT, **cell.identity, **made, **asdict(failure)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(beside, json.dumps(document, indent=1) + "\n", failure.seconds)
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
        """Write the outcome; an older one of the same cell is replaced. Raises ResexpError where that fails.

        An UnstorableError is the experiment's fault; any other is the disk's.
        """
        target = self.folder(outcome.cell)
        temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
        table, document = _as_text(outcome)
        try:
            temporary.mkdir(parents=True)
            seconds = float(outcome.run.get("seconds", math.inf))
            _write(temporary / "result.csv", table, seconds)
            _write(temporary / "run.json", document, seconds)
            _put_in_place(temporary, target)
        except OSError as error:
            reason = error.strerror or error
            raise ResexpError(
                f"The result could not be saved in {target}: {reason}. Earlier results are untouched."
            ) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target


def _write(path: Path, text: str, seconds: float) -> None:
    """Write a file; wait until it is on the disk, where what it holds took more than a moment to compute.

    Anything else is computed again sooner after a power cut: what is torn then is told by the digest.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        if seconds > MOMENT:
            file.flush()
            os.fsync(file.fileno())


def _put_in_place(temporary: Path, target: Path) -> None:
    old = temporary.with_name(temporary.name + ".old")
    turns, placed = 0, False
    while not placed:
        turns += 1
        with suppress(FileNotFoundError):
            target.rename(old)
        try:
            temporary.rename(target)
            placed = True
        except OSError:
            with suppress(OSError):
                old.rename(target)
            if turns == TURNS or not target.is_dir():  # else another run has stored the same cell in between
                raise
        shutil.rmtree(old, ignore_errors=True)


def _as_text(outcome: Outcome) -> tuple[str, str]:
    """result.csv and run.json. Raises UnstorableError where what the experiment gave is not plain data."""
    result = outcome.result
    try:
        for value in (value for row in result.rows for value in row.values() if isinstance(value, float)):
            if not math.isfinite(value):
                raise ValueError(f"a row holds {value}")
        table = to_csv(result.columns, result.rows)
        return table, json.dumps(_document(outcome, table), indent=1, allow_nan=False) + "\n"
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UnstorableError(
            f"The result of {outcome.cell.name} {outcome.cell.id} cannot be stored: {error}. An experiment gives text, "
            "int and float, and None for what is no number."
        ) from None


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
        headline, notes, run = document["headline"], document["notes"], document["run"]
        if not (isinstance(headline, list) and isinstance(notes, list) and isinstance(run, dict)):
            raise TypeError("run.json is not as stored")
        return Result(columns, rows, headline, families, notes), run
    except FileNotFoundError:
        raise ResexpError(f"{folder} holds no result.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResexpError(f"The result in {folder} is damaged ({error}); run it again with --force.") from None
