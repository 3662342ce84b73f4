"""Stored cells as they lie there: what made them and for whom, read without reading their numbers.

Of a run.json its two ends are read, which hold all that is asked here: over a hundred thousand cells the moments
between them would take most of the time.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from resexp.core.errors import ResexpError
from resexp.runs import registry
from resexp.runs.store import FORMAT

CELL = re.compile(r"[0-9a-f]{16}")
"""Names of the folders of cells."""
_TAIL = 8192
_RUN = b'\n "run": {'


class DamagedError(ResexpError):
    """A stored result that is not whole. reason: what is wrong, without the folder."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"{folder}: {reason}.")
        self.reason = reason


@dataclass(frozen=True)
class Stored:
    """A stored result or failure. run: its provenance; digest: that of its table, None for a failure."""

    folder: Path
    run: Mapping[str, Any]
    digest: str | None

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return str(self.run["experiment"])

    @property
    def entry(self) -> str | None:
        """Name of the entry it was computed for, if it was one."""
        return self.run.get("entry")

    @cached_property
    def outdated(self) -> str | None:
        """Says which older version of the experiment made it; None where none did, or that is not known."""
        installed = registry.experiments().get(self.experiment)
        if installed is None or self.run["version"] >= installed.version:
            return None
        return f"version {self.run['version']}, now {installed.version}"

    @cached_property
    def described(self) -> dict[str, Any]:
        """Parameters, and seed and dtype where the numbers depend on them, as `resolve.describe` gives them."""
        installed = registry.experiments().get(self.experiment)
        names = ("seed", "dtype") if installed is None or installed.random else ()
        return {**self.run["parameters"], **{name: self.run[name] for name in names if name in self.run}}

    @property
    def is_beyond_files(self) -> bool:
        """Whether no file tells if it is wanted: a flag, the environment, code or a later version had a part in it."""
        installed = registry.experiments().get(self.experiment)
        sources = self.run.get("sources") or {}
        overridden = any(sources.get(name) in {"flag", "environment", "python"} for name in self.described)
        return overridden or installed is None or self.run["version"] > installed.version

    @cached_property
    def key(self) -> int:
        """What is the same for the same cell of any version and on any device."""
        return key_of(self.experiment, self.described)


def key_of(experiment: str, described: Mapping[str, Any]) -> int:
    """The key of a cell. described: what `resolve.describe` says of it."""
    return hash((experiment, json.dumps(described, sort_keys=True)))


def read_stored(folder: Path) -> Stored | None:
    """The result in a cell's folder, None where there is none. Raises DamagedError where it is not whole.

    Raises another ResexpError where a version of resexp to come wrote it. The table itself is not read.
    """
    try:
        run, digest = _provenance(folder / "run.json")
        if run["id"] != folder.name:
            raise DamagedError(folder, f"it holds the result of another cell, {run['id']}")
        if not (folder / "result.csv").is_file():
            raise DamagedError(folder, "result.csv is missing")
        return _checked(Stored(folder, run, digest))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedError(folder, f"run.json cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedError(folder, "run.json is not as stored") from None


def read_failed(folder: Path) -> Stored | None:
    """The failure that is kept in a cell's folder, None where there is none that can be read."""
    try:
        return _checked(Stored(folder, json.loads((folder / "error.json").read_bytes()), None))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _checked(stored: Stored) -> Stored:
    run = stored.run
    kinds = {"experiment": str, "version": int, "parameters": dict, "entry": str | None, "sources": dict | None}
    for name, kind in kinds.items():
        if not isinstance(run.get(name), kind):
            raise TypeError(f"{name} is {run.get(name)!r}")
    return stored


def _provenance(path: Path) -> tuple[dict[str, Any], str]:
    """`run` and the digest of the table. Read are both ends of the file, all of it where they are not as saved."""
    with path.open("rb", buffering=0) as file:
        head = file.read(64)
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        tail = file.read()
        start = tail.rfind(_RUN)
        if start >= 0 and head.startswith(b'{\n "format": %d,\n' % FORMAT):
            document = json.loads(b"{" + tail[start:])
        else:
            file.seek(0)
            document = json.loads(file.read())
            if document["format"] > FORMAT:
                raise ResexpError(f"{path} was written by a later version of resexp.")
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']}")
    return document["run"], document["result_sha256"]


def experiments_in(root: Path, *, links: bool = True) -> Iterator[Path]:
    """Folders below `root` that may be experiments', sorted; links: those too that are links to a folder."""
    if not root.is_dir():
        return
    with os.scandir(root) as entries:
        names = sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=links))
    yield from (root / name for name in names)
