"""What `--data` names, read without loading anything: digits, mnist1d, cifar10:PATH, mnist:PATH, folder:PATH."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from resexp.core.errors import UsageError, nearest

EMBEDDED = ("digits", "mnist1d")
"""Data sets that need no file: one is shipped, the other made by its recipe."""
FROM_FILES = ("cifar10", "mnist", "folder")
MEANING = "digits, mnist1d, cifar10:PATH, mnist:PATH, or folder:PATH with a folder of images for each class"


@dataclass(frozen=True)
class Source:
    """Kind of a data set, where its files are, and the size that images of a folder are brought to."""

    kind: str
    path: Path | None = None
    shape: tuple[int, ...] = (3, 32, 32)

    def __str__(self) -> str:
        return self.kind if self.path is None else f"{self.kind}:{self.path}"


def parse(text: str) -> Source:
    """Read the text of `--data`. Raises UsageError where it names no data set."""
    kind, colon, rest = text.partition(":")
    known = (*EMBEDDED, *FROM_FILES)
    if kind not in known:
        raise UsageError(f"--data {text}: there is no data set '{kind}'{nearest(kind, known)}; it is {MEANING}.")
    if kind in EMBEDDED:
        if colon:
            raise UsageError(f"--data {text}: {kind} comes with resexp and takes no path; write --data {kind}.")
        return Source(kind)
    if not rest:
        raise UsageError(f"--data {text}: say where its files are, as in --data {kind}:PATH.")
    if kind == "folder":
        path, at, size = rest.rpartition("@")
        if at:
            return Source(kind, Path(path).expanduser(), _image_shape(text, size))
    return Source(kind, Path(rest).expanduser())


def _image_shape(text: str, size: str) -> tuple[int, ...]:
    parts = size.split("x")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts) or parts[0] not in {"1", "3"}:
        raise UsageError(f"--data {text}: after @ comes CHANNELSxHEIGHTxWIDTH with 1 or 3 channels, as in @3x32x32.")
    shape = tuple(map(int, parts))
    if not all(1 <= side <= 4096 for side in shape):
        raise UsageError(f"--data {text}: sides are from 1 to 4,096 pixels.")
    return shape


def digest(text: str) -> str:
    """What tells two versions of the files apart: names, sizes and times of change; empty for what has none."""
    path = parse(text).path
    if path is None or not path.exists():
        return ""
    found = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            status = file.stat()
            found.update(f"{file.relative_to(path)}/{status.st_size}/{status.st_mtime_ns};".encode())
    return found.hexdigest()[:16]
