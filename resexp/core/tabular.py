"""Rows as CSV text and back. Numbers are written so that reading them gives the same number."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from resexp.core.result import Value


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Value]]) -> str:
    """CSV (RFC 4180, Unix line ends) with a header; an empty field is a number that does not exist."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_field(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def from_csv(text: str) -> tuple[tuple[str, ...], list[dict[str, Value]]]:
    """Columns and rows of a CSV text; fields become None, int, float or str."""
    reader = csv.reader(io.StringIO(text))
    columns = tuple(next(reader, ()))
    return columns, [dict(zip(columns, map(_value, fields), strict=True)) for fields in reader]


def _field(value: Value) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _value(field: str) -> Value:
    if field == "":
        return None
    for convert in (int, float):
        try:
            return convert(field)
        except ValueError:
            continue
    return field
