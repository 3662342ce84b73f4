"""One family of errors, each with the exit code the command line ends with.

A message is a sentence: what was wrong, where, and what to do about it.
"""

import difflib
from collections.abc import Iterable


class ResexpError(Exception):
    """Something failed that is not a bug: exit code 1."""

    exit_code = 1


class UsageError(ResexpError):
    """A parameter, an option or a settings file is wrong: exit code 2."""

    exit_code = 2


class BatchError(ResexpError):
    """Some cells of a batch failed: exit code 3."""

    exit_code = 3


class MissingError(ResexpError):
    """A device or an optional extra is not there: exit code 4."""

    exit_code = 4


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the closest known word, or an empty string."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""
