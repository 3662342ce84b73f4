"""Rows as CSV text and back. Numbers are written so that reading them gives the same number."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from resexp.core.result import Value

_INTEGER = re.compile(r"-?\d+", re.ASCII)
_FLOAT = re.compile(r"-?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?", re.ASCII)


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Value]]) -> str:
    """CSV (RFC 4180, Unix line ends) with a header; an empty field is a number that does not exist."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_field(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def from_csv(text: str) -> tuple[tuple[str, ...], list[dict[str, Value]]]:
    """Columns and rows of a CSV text; fields become None, int, float or str. Raises ValueError where it is none."""
    reader = csv.reader(io.StringIO(text), strict=True)
    rows: list[dict[str, Value]] = []
    try:
        columns = tuple(next(reader, ()))
        for fields in reader:
            if len(fields) != len(columns):
                raise ValueError(f"line {reader.line_num} has {len(fields)} fields and the header {len(columns)}")
            rows.append(dict(zip(columns, map(_value, fields), strict=True)))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    return columns, rows


def _field(value: Value) -> str:
    if value is None:
        return ""
    return float.__repr__(value) if isinstance(value, float) else str(value)  # numpy's float64 is one


def _value(field: str) -> Value:
    if field == "":
        return None
    if _INTEGER.fullmatch(field):
        return int(field)
    return float(field) if _FLOAT.fullmatch(field) else field
