"""Files of data sets: read whole, or refused with which, expected size and found size."""

from pathlib import Path

from resexp.core.errors import UsageError
from resexp.training.data.source import Source


def folder_of(source: Source, inside: str = "") -> Path:
    """The folder a source names, or what its archive unpacks to in it. Raises UsageError where it is not there."""
    assert source.path is not None
    if not source.path.is_dir():
        what = "is a file, not the folder with the data" if source.path.exists() else "there is no such folder"
        raise UsageError(f"--data {source}: {what}.")
    nested = source.path / inside
    return nested if inside and nested.is_dir() else source.path


def missing(source: Source, path: Path, expected: str) -> UsageError:
    """What to say of a file that is not there. expected: its size in words."""
    return UsageError(f"--data {source}: {path} is missing ({expected} expected, nothing found).")


def damaged(source: Source, path: Path, expected: str, found: str) -> UsageError:
    """What to say of a file that is not what it should be."""
    return UsageError(f"--data {source}: {path} is damaged: {expected} expected, {found} found; fetch it again.")


def read_exactly(source: Source, path: Path, size: int) -> bytes:
    """The bytes of a file of exactly that size. Raises UsageError for any other."""
    expected = f"{size:,} bytes"
    try:
        found = path.stat().st_size
        if found != size:
            raise damaged(source, path, expected, f"{found:,}")
        return path.read_bytes()
    except FileNotFoundError:
        raise missing(source, path, expected) from None
    except OSError as error:
        raise UsageError(f"--data {source}: {path} cannot be read: {error.strerror or error}.") from None
