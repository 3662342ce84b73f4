"""Stored results as one tidy table: the rows of all cells, each with the parameters of its cell in columns.

Two passes over the cells: the first finds the columns, the second writes, one row after another. Whatever the number of
cells and rows, the memory is that of a list of folders.
"""

import csv
import hashlib
import io
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from resexp.core.errors import ResexpError, UsageError
from resexp.core.lab import Progress, no_progress
from resexp.core.result import STATISTICS_COLUMNS
from resexp.report.selection import Chosen
from resexp.report.sinks import Csv, Json, Sink, TypedCsv, csv_to_parquet
from resexp.runs.stored import DamagedError, Stored, read_stored

Format = Literal["csv", "parquet", "json"]
FIRST, SETTINGS = ("experiment", "entry", "id"), ("seed", "dtype")


class Layout:
    """Columns of the table, in order.

    Those of the cell: experiment, entry, id, parameters as they are declared, seed, dtype. Those of the row: the axes
    of all experiments, quantity, statistics, then other columns that tables have. A parameter whose name is a column's
    already is called `parameter_<name>`.
    """

    def __init__(self) -> None:
        self._parameters: dict[str, None] = {}
        self._axes: dict[str, None] = {}
        self._statistics: tuple[str, ...] = ()
        self._others: dict[str, None] = {}

    def add(self, stored: Stored) -> None:
        """Take in the columns of a cell."""
        self._parameters |= dict.fromkeys(stored.run["parameters"])
        header = _header(stored.folder)
        if "quantity" in header and "mean" in header:
            self._statistics = ("quantity", *STATISTICS_COLUMNS)
            self._axes |= dict.fromkeys(header[: header.index("quantity")])
        self._others |= dict.fromkeys(header)

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters."""
        return list(self._parameters)

    @property
    def results(self) -> list[str]:
        """Names of the columns of result.csv."""
        return list(dict.fromkeys((*self._axes, *self._statistics, *self._others)))

    @property
    def columns(self) -> list[str]:
        """Names of all columns; no two are the same."""
        reserved = {*FIRST, *SETTINGS}
        results = [f"result_{name}" if name in reserved else name for name in self.results]
        taken = {*reserved, *results}
        parameters = [f"parameter_{name}" if name in taken else name for name in self.parameters]
        return [*FIRST, *parameters, *SETTINGS, *results]


def _header(folder: Path) -> list[str]:
    try:
        with (folder / "result.csv").open(encoding="utf-8", errors="replace", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, csv.Error):
        return []  # writing it will tell


@dataclass(frozen=True)
class Written:
    """How many cells were written, and the columns whose integers Parquet does not hold digit by digit."""

    cells: int
    rounded: frozenset[str] = frozenset()


class Export:
    """Cells and the columns of their table."""

    def __init__(self, found: Iterable[tuple[Chosen, Stored]]) -> None:
        self.layout = Layout()
        self.cells: list[Chosen] = []
        for chosen, stored in found:
            self.layout.add(stored)
            self.cells.append(chosen)

    def write(self, sink: Sink, damaged: Callable[[ResexpError], None], progress: Progress = no_progress) -> int:
        """Write the table; return of how many cells. damaged: takes what is wrong with one that is then left out."""
        places = {name: place for place, name in enumerate(self.layout.results)}
        parameters = self.layout.parameters
        written = 0
        sink.start(self.layout.columns)
        for number, (entry, folder) in enumerate(self.cells, start=1):
            try:
                stored = _read_again(Path(folder))
                described = stored.described
                sink.cell(
                    [stored.experiment, entry, Path(folder).name]
                    + [described.get(name) for name in (*parameters, *SETTINGS)]
                )
                for fields in _rows(stored, places):
                    sink.row(fields)
                written += 1
            except ResexpError as error:
                damaged(error)
            progress(number, len(self.cells))
        sink.end()
        return written


def _read_again(folder: Path) -> Stored:
    stored = read_stored(folder)
    if stored is None:
        raise DamagedError(folder, "it was removed in the meantime")
    return stored


def _rows(stored: Stored, places: Mapping[str, int]) -> Iterator[list[str]]:
    """Rows of the table with their fields in these places. Raises DamagedError before the first row, if at all."""
    path = stored.folder / "result.csv"
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != stored.digest:
                raise DamagedError(stored.folder, "result.csv is not as stored")
            file.seek(0)
            reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
            header = next(reader, [])
            if not set(header) <= set(places):
                raise DamagedError(stored.folder, "it changed in the meantime")
            order = [-1] * len(places)
            for column, name in enumerate(header):
                order[places[name]] = column
            for fields in reader:
                fields.append("")  # what a column that is not there holds
                yield [fields[column] for column in order]
    except OSError as error:
        raise DamagedError(stored.folder, f"result.csv cannot be read ({error.strerror or error})") from None


def export(
    table: Export,
    form: Format,
    to: Path | TextIO,
    damaged: Callable[[ResexpError], None],
    progress: Progress = no_progress,
) -> Written:
    """Write the table into a stream, or beside the file `to` and then in its place; Parquet only into a file."""
    sink = Json if form == "json" else Csv
    if not isinstance(to, Path):
        return Written(table.write(sink(to), damaged, progress))
    if form != "parquet":
        with _beside(to) as path, _open(path) as file:
            return Written(table.write(sink(file), damaged, progress))
    with _beside(to) as path:
        source = path.with_name(path.name + ".csv")
        try:
            with _open(source) as file:
                typed = TypedCsv(file)
                cells = table.write(typed, damaged, progress)
            csv_to_parquet(source, path, typed.kinds)
        finally:
            source.unlink(missing_ok=True)
    return Written(cells, frozenset(typed.rounded))


def check_target(target: Path) -> None:
    """Raise UsageError where no file of that name can be written."""
    if not target.parent.is_dir():
        raise UsageError(f"--to {target}: there is no folder {target.parent}.")
    if target.exists() and not target.is_file():
        raise UsageError(f"--to {target}: this is no regular file; name another, or use stdout.")


def _open(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="")


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A name beside the target; what is written there takes its place at the end, or is removed."""
    target = target.resolve()  # a link stays a link
    path = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield path
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(target)
    except OSError as error:
        raise ResexpError(f"{target} could not be written: {error.strerror or error}.") from None
    finally:
        path.unlink(missing_ok=True)
