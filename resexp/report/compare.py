"""Two results side by side: which rows differ by more than their intervals allow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resexp.core.errors import ResexpError, UsageError
from resexp.core.result import STATISTICS_COLUMNS, Value
from resexp.core.tabular import from_csv
from resexp.runs.store import read_result

Key = tuple[Value, ...]
DIFFERS, SAME, ONLY_A, ONLY_B = "differs", "same", "only in A", "only in B"


@dataclass(frozen=True)
class Comparison:
    """One number in both results. judgement: differs, same, only in A, or only in B; measured: both have errors."""

    key: Key
    column: str
    a: Value
    b: Value
    judgement: str
    measured: bool = False


def read_rows(path: Path) -> tuple[tuple[str, ...], list[dict[str, Value]]]:
    """Columns and rows of a CSV file or of a stored result's folder. Raises UsageError where there is none."""
    file = path / "result.csv" if path.is_dir() else path
    try:
        columns, rows = from_csv(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} is neither a stored result nor a CSV file.") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as CSV: {error}.") from None
    if not rows:
        raise UsageError(f"{file} has no rows.")
    return columns, rows


def compare(a: Path, b: Path) -> tuple[tuple[str, ...], list[Comparison]]:
    """Key columns and the comparison of every number of two results with the same columns.

    Means with standard errors differ when they are more than 1.96 standard errors of their difference apart; exact
    numbers differ when they are not equal.
    """
    columns, rows_a = read_rows(a)
    columns_b, rows_b = read_rows(b)
    if set(columns) != set(columns_b):
        odd = ", ".join(sorted(set(columns) ^ set(columns_b)))
        raise UsageError(f"{a} and {b} have different columns ({odd}): they come from different experiments.")
    measured = "mean" in columns
    keys = [c for c in columns if c not in STATISTICS_COLUMNS] if measured else _key_columns(columns, rows_a)
    values = ["mean"] if measured else [c for c in columns if c not in keys]
    left, right = _by_key(rows_a, keys), _by_key(rows_b, keys)
    every = dict.fromkeys((*left, *right))
    return tuple(keys), [_compare(key, column, left.get(key), right.get(key)) for key in every for column in values]


def settings_that_differ(a: Path, b: Path) -> dict[str, tuple[object, object]]:
    """Parameters, seed, dtype, device and version that differ between two stored results; none of CSV files."""
    try:
        identities = [_identity(read_result(path)[1]) for path in (a, b)]
    except ResexpError:
        return {}
    first, second = identities
    return {
        name: (first.get(name, "not set"), second.get(name, "not set"))
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name)
    }


def _identity(run: Mapping[str, Any]) -> dict[str, Any]:
    return {**run["parameters"], **{name: run[name] for name in ("seed", "dtype", "device", "version")}}


def _key_columns(columns: Sequence[str], rows: Sequence[Mapping[str, Value]]) -> list[str]:
    """The shortest run of leading columns that tells all rows apart."""
    for count in range(1, len(columns)):
        if len({tuple(row[c] for c in columns[:count]) for row in rows}) == len(rows):
            return list(columns[:count])
    return list(columns)


def _by_key(rows: Sequence[Mapping[str, Value]], keys: Sequence[str]) -> dict[Key, Mapping[str, Value]]:
    return {tuple(row[key] for key in keys): row for row in rows}


def _compare(key: Key, column: str, row_a: Mapping[str, Value] | None, row_b: Mapping[str, Value] | None) -> Comparison:
    a = row_a[column] if row_a is not None else None
    b = row_b[column] if row_b is not None else None
    if row_a is None or row_b is None:
        return Comparison(key, column, a, b, ONLY_B if row_a is None else ONLY_A)
    numbers = [x for x in (a, b, row_a.get("stderr"), row_b.get("stderr")) if isinstance(x, int | float)]
    if len(numbers) < 4:
        return Comparison(key, column, a, b, SAME if a == b else DIFFERS)
    mean_a, mean_b, error_a, error_b = numbers
    same = abs(mean_a - mean_b) <= 1.96 * math.hypot(error_a, error_b)
    return Comparison(key, column, a, b, SAME if same else DIFFERS, measured=error_a > 0 or error_b > 0)
