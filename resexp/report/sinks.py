"""What a long table is written into, row by row: CSV, JSON, and CSV with the types that Parquet needs.

A row begins with values of its cell and goes on with fields as they stand in result.csv, so that no digit changes.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol, TextIO

from resexp.core.errors import MissingError, ResexpError
from resexp.report.text import plain

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_INT64 = 2**63
_FLOAT_DIGITS = 308


class Sink(Protocol):
    """What rows are written into."""

    def start(self, columns: Sequence[str]) -> None:
        """Begin the table."""

    def cell(self, values: Sequence[Any]) -> None:
        """Set what the rows to come begin with."""

    def row(self, fields: Sequence[str]) -> None:
        """Write a row; fields: those of result.csv, empty where there is no such number."""

    def end(self) -> None:
        """End the table."""


class Csv:
    """Comma-separated values (RFC 4180, Unix line ends)."""

    def __init__(self, file: TextIO) -> None:
        self._write = csv.writer(file, lineterminator="\n").writerow
        self._cell: list[Any] = []

    def start(self, columns: Sequence[str]) -> None:
        """Write the header."""
        self._write(columns)

    def cell(self, values: Sequence[Any]) -> None:
        """Set what the rows to come begin with."""
        self._cell = [plain(value) for value in values]

    def row(self, fields: Sequence[str]) -> None:
        """Write a row."""
        self._write([*self._cell, *fields])

    def end(self) -> None:
        """Nothing ends a CSV."""


class Json:
    """An array with an object a line; every object has every column."""

    def __init__(self, file: TextIO) -> None:
        self._write = file.write
        self._names: list[str] = []
        self._cell, self._rest = "", self._names
        self._separator = ""

    def start(self, columns: Sequence[str]) -> None:
        """Open the array."""
        self._names = [json.dumps(name) for name in columns]
        self._write("[")

    def cell(self, values: Sequence[Any]) -> None:
        """Set what the rows to come begin with; a list is text, as in the other formats."""
        told = [json.dumps(value if isinstance(value, bool) else plain(value)) for value in values]
        self._cell = ", ".join(f"{name}: {value}" for name, value in zip(self._names, told, strict=False))
        self._rest = self._names[len(told) :]

    def row(self, fields: Sequence[str]) -> None:
        """Write a row."""
        told = ", ".join([f"{name}: {_json(field)}" for name, field in zip(self._rest, fields, strict=True)])
        self._write(f"{self._separator}\n{{{self._cell}, {told}}}")
        self._separator = ","

    def end(self) -> None:
        """Close the array."""
        self._write("\n]\n")


def _json(field: str) -> str:
    if field == "":
        return "null"
    return field if _NUMBER.fullmatch(field) else json.dumps(field)


class Kind(IntEnum):
    """What a column holds; a column that mixes is of the larger kind."""

    NOTHING = 0
    INTEGER = 1
    NUMBER = 2
    TRUTH = 3
    TEXT = 4


class TypedCsv(Csv):
    """CSV that notes what each column holds: its kind, and in `rounded` whether integers need more than 64 bits."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(file)
        self.kinds: dict[str, Kind] = {}
        self.rounded: set[str] = set()
        self._of_cell: list[str] = []
        self._of_row: list[str] = []

    def start(self, columns: Sequence[str]) -> None:
        """Write the header."""
        super().start(columns)
        self.kinds = dict.fromkeys(columns, Kind.NOTHING)

    def cell(self, values: Sequence[Any]) -> None:
        """Set what the rows to come begin with."""
        super().cell(values)
        columns = list(self.kinds)
        for column, value in zip(columns, values, strict=False):
            self._note(column, _kind_of_value(value))
        self._of_row = columns[len(values) :]

    def row(self, fields: Sequence[str]) -> None:
        """Write a row."""
        super().row(fields)
        for column, field in zip(self._of_row, fields, strict=True):
            if field and self.kinds[column] is not Kind.TEXT:
                kind, is_long = _kind_of_field(field)
                self._note(column, kind)
                if is_long:
                    self.rounded.add(column)

    def _note(self, column: str, kind: Kind) -> None:
        known = self.kinds[column]
        if kind is not known and kind is not Kind.NOTHING:
            mixed = Kind.TRUTH in (kind, known) and known is not Kind.NOTHING
            self.kinds[column] = Kind.TEXT if mixed else max(kind, known)


def _kind_of_value(value: Any) -> Kind:
    if value is None:
        return Kind.NOTHING
    if isinstance(value, bool):
        return Kind.TRUTH
    if isinstance(value, int):
        return Kind.INTEGER if -_INT64 <= value < _INT64 else Kind.TEXT
    return Kind.NUMBER if isinstance(value, float) else Kind.TEXT


def _kind_of_field(field: str) -> tuple[Kind, bool]:
    """The kind, and whether it is an integer that a 64-bit number does not hold."""
    match = _NUMBER.fullmatch(field)
    if match is None:
        return Kind.TEXT, False
    if match[1] or match[2]:
        return Kind.NUMBER, False
    if len(field) < 19 or (len(field) <= 20 and -_INT64 <= int(field) < _INT64):
        return Kind.INTEGER, False
    return (Kind.NUMBER if len(field) <= _FLOAT_DIGITS else Kind.TEXT), True


def check_polars() -> None:
    """Raise MissingError where Parquet cannot be written."""
    try:
        import polars as _  # noqa: F401
    except ImportError:
        raise MissingError("--format parquet needs polars: pip install 'resexp[parquet]'.") from None


def csv_to_parquet(source: Path, target: Path, kinds: Mapping[str, Kind]) -> None:
    """Write the table of a CSV file as Parquet, a part at a time."""
    import polars as pl

    types = {Kind.INTEGER: pl.Int64, Kind.NUMBER: pl.Float64, Kind.TRUTH: pl.Boolean}
    schema = {column: types.get(kind, pl.String)() for column, kind in kinds.items()}
    empty = {column: pl.lit(None, dtype=pl.Null) for column, kind in kinds.items() if kind is Kind.NOTHING}
    try:
        pl.scan_csv(source, schema=schema, glob=False).with_columns(**empty).sink_parquet(target)
    except pl.exceptions.PolarsError as error:
        raise ResexpError(f"The table could not be written as Parquet: {str(error).partition(chr(10))[0]}.") from None
