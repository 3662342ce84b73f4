"""What Python code and notebooks call: `resexp.run`, `resexp.sweep`, `resexp.load`, and what they return.

Imports no torch: it comes with the first experiment that needs it.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, Self, overload

from resexp.core.errors import MissingError, UsageError
from resexp.core.result import FamilyResult, Result, Value
from resexp.report import text
from resexp.runs.cell import Cell, Outcome
from resexp.runs.execute import execute
from resexp.runs.registry import experiment
from resexp.runs.settings import Settings
from resexp.runs.store import Store

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]
    import polars
    from matplotlib.figure import Figure

MOST_SHOWN = 40
"""Lines of a table in a notebook."""
SHOWN_DPI, COLOURS_SHOWN = 72, 128
"""Pixels an inch, and colours, of a figure in a notebook."""


@dataclass(frozen=True)
class Results(Sequence["Results"]):
    """Results of one experiment at one setting or more; `results[k]` are those of one setting."""

    outcomes: tuple[Outcome, ...]

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return self.outcomes[0].cell.name

    @property
    def parameters(self) -> list[dict[str, Any]]:
        """Parameters of each setting."""
        return [outcome.cell.experiment.model_dump() for outcome in self.outcomes]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table: what differs between settings, then those of `resexp show NAME`."""
        return text.combined(self.outcomes)[0]

    @property
    def table(self) -> list[dict[str, Value]]:
        """All rows, long and tidy, as the CSV has them; a statistic without a value is None."""
        columns, rows = text.combined(self.outcomes)
        return [{name: row.get(name) for name in columns} for row in rows]

    @property
    def headline(self) -> list[dict[str, Value]]:
        """Headline figures of each setting."""
        return text.headlines(self.outcomes)

    @property
    def families(self) -> list[FamilyResult]:
        """What is held against theory: quantity, verdict, p-value and a sentence, setting by setting."""
        return [family for outcome in self.outcomes for family in outcome.result.families]

    @property
    def notes(self) -> list[str]:
        """Notes, each once."""
        return list(dict.fromkeys(note for outcome in self.outcomes for note in outcome.result.notes))

    def to_csv(self) -> str:
        """The table as CSV, byte for byte what the command prints."""
        return text.as_csv(self.outcomes)

    def to_pandas(self) -> "pandas.DataFrame":
        """The table as a pandas data frame. Raises MissingError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise MissingError("to_pandas needs pandas: pip install pandas.") from None
        return pandas.DataFrame(self.table, columns=list(self.columns))

    def to_polars(self) -> "polars.DataFrame":
        """The table as a polars data frame. Raises MissingError where polars is not installed."""
        try:
            import polars
        except ImportError:
            raise MissingError("to_polars needs polars: pip install 'resexp[parquet]'.") from None
        return polars.DataFrame(self.table, schema=list(self.columns), infer_schema_length=None)

    def plot(self, path: str | Path | None = None) -> "Figure":
        """The figure of `--plot`; path: a .png, .svg or .pdf to write as well.

        Raises UsageError where there is nothing to draw, MissingError where matplotlib is not installed.
        """
        from resexp.report.figure import check_drawable, check_plot, figure_of, save

        kind = type(self.outcomes[0].cell.experiment)
        if path is None:
            check_drawable(kind)
        else:
            check_plot(kind, Path(path))
        figure = figure_of(self.outcomes)
        if path is not None:
            save(figure, Path(path))
        # Notebooks know by themselves only figures of pyplot, and would show this one as a line of text.
        figure._repr_png_ = MethodType(_as_png, figure)  # type: ignore[attr-defined]
        return figure

    def __len__(self) -> int:
        """Number of settings."""
        return len(self.outcomes)

    @overload
    def __getitem__(self, index: int) -> "Results": ...
    @overload
    def __getitem__(self, index: slice) -> "Results": ...
    def __getitem__(self, index: int | slice) -> "Results":
        """Those of one setting, or of some."""
        return Results(self.outcomes[index] if isinstance(index, slice) else (self.outcomes[index],))

    def __iter__(self) -> Iterator["Results"]:
        """One setting after another."""
        return (Results((outcome,)) for outcome in self.outcomes)

    def __repr__(self) -> str:
        """Name, size and verdicts."""
        verdicts = ", ".join(f"{family.quantity} {family.verdict}" for family in self.families[:6])
        more = ", ..." if len(self.families) > 6 else ""
        settings = f"{len(self)} settings, " if len(self) > 1 else ""
        return f"<{self.experiment}: {settings}{len(self.table)} rows; {verdicts}{more}>"

    def _repr_html_(self) -> str:
        """Headline figures, or rows where there are none, verdicts and notes, for notebooks."""
        rows, sentences = self._summary()
        names = [n for n in dict.fromkeys(n for row in rows for n in row) if any(r.get(n) is not None for r in rows)]
        head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_shown(row.get(name)))}</td>" for name in names) + "</tr>"
            for row in rows[:MOST_SHOWN]
        )
        more = f"<p>and {len(rows) - MOST_SHOWN} more</p>" if len(rows) > MOST_SHOWN else ""
        said = "".join(f"<li>{html.escape(line)}</li>" for line in (*sentences, *self.notes))
        title = html.escape(self.experiment)
        table = f"<caption>{title}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        return f"<table>{table}</table>{more}<ul>{said}</ul>"

    def _summary(self) -> tuple[Sequence[Mapping[str, Value]], Sequence[str]]:
        """Rows and sentences that sum the results up: the experiment's own digest, where it has one."""
        digest = self.outcomes[0].cell.experiment.digest(self.outcomes[0].result) if len(self) == 1 else None
        if digest is not None:
            return digest.table, digest.lines
        sentences = [f"{f.quantity.replace('_', ' ')}: {f.verdict}, {f.sentence}" for f in self.families[:MOST_SHOWN]]
        return self.headline or text.last_rows(self.outcomes), sentences


@dataclass(frozen=True, repr=False)
class Probed(Result):
    """What `resexp.probe` returns: a Result that is shown, drawn and made a data frame as Results are."""

    outcome: Outcome = field(kw_only=True, compare=False)

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """The result of the outcome, which keeps the outcome."""
        found = outcome.result
        return cls(found.columns, found.rows, found.headline, found.families, found.notes, outcome=outcome)

    @property
    def results(self) -> Results:
        """The same as Results."""
        return Results((self.outcome,))

    @property
    def table(self) -> list[dict[str, Value]]:
        """All rows, as the CSV has them."""
        return self.results.table

    def to_csv(self) -> str:
        """The table as CSV."""
        return self.results.to_csv()

    def to_pandas(self) -> "pandas.DataFrame":
        """The table as a pandas data frame. Raises MissingError where pandas is not installed."""
        return self.results.to_pandas()

    def to_polars(self) -> "polars.DataFrame":
        """The table as a polars data frame. Raises MissingError where polars is not installed."""
        return self.results.to_polars()

    def plot(self, path: str | Path | None = None) -> "Figure":
        """The figure of `--plot`; path: a .png, .svg or .pdf to write as well."""
        return self.results.plot(path)

    def __repr__(self) -> str:
        """Name, size and verdicts."""
        return repr(self.results)

    def _repr_html_(self) -> str:
        """A line for each stage, and the advice, for notebooks."""
        return self.results._repr_html_()


def _as_png(figure: "Figure") -> tuple[bytes, dict[str, int]]:
    """The figure at twice the size that it is shown in, for fine screens, and that size in pixels.

    In few colours: a notebook keeps its pictures in itself, and these are a third of what they were.
    """
    from io import BytesIO

    from PIL import Image

    drawn, few = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", dpi=2 * SHOWN_DPI, pil_kwargs={"compress_level": 1})
    picture = Image.open(drawn).convert("RGB").quantize(COLOURS_SHOWN, method=Image.Quantize.FASTOCTREE)
    picture.save(few, format="png", optimize=True)
    width, height = figure.get_size_inches()
    return few.getvalue(), {"width": round(width * SHOWN_DPI), "height": round(height * SHOWN_DPI)}


def _shown(value: Value) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def run(
    name: str, /, *, quick: bool = False, out: str | Path | None = None, force: bool = False, **values: Any
) -> Results:
    """Run an experiment at one setting: `resexp.run("variance", depth=50, seed=1)`.

    values: parameters and the settings common to all experiments (seed, device, dtype, threads, memory), as Python
    values; quick: the small setting for all that is not given; out: a folder where results are stored and read back
    from, none by default; force: run although it is stored. Raises ResexpError, as the command would say it.
    """
    return _executed([_cell(name, values, quick=quick)], out, force=force)


def sweep(
    name: str, /, *, quick: bool = False, out: str | Path | None = None, force: bool = False, **values: Any
) -> Results:
    """Run an experiment at every combination of what is given as a list, the last name fastest.

    `resexp.sweep("variance", scheme=["plain", "rescaled"], depth=[10, 20])` are four settings. A tuple is one value.
    """
    lists = [value if isinstance(value, list) else [value] for value in values.values()]
    empty = [key for key, value in values.items() if value == []]
    if empty:
        raise UsageError(f"{empty[0]}: the list is empty; give one value or more.")
    cells = [_cell(name, dict(zip(values, some, strict=True)), quick=quick) for some in product(*lists)]
    return _executed(cells, out, force=force)


def load(source: str | Path) -> Results:
    """Stored results: a cell's folder, a folder of such, or a glob; those of one experiment, sorted by folder.

    Raises UsageError where nothing is found, or more than one experiment; other ResexpErrors where a result is damaged.
    """
    from resexp.report.selection import Selection, outcome_in

    told: list[str] = []
    selection = Selection(told.append)
    patterns = [str(source)] if any(c in str(source) for c in "*?[") else [str(source), f"{source}/**"]
    found = [stored for pattern in patterns for _, stored in selection.of_glob(pattern)]
    if told:
        raise UsageError("\n".join(told))
    names = sorted({stored.experiment for stored in found})
    if not found:
        raise UsageError(f"{source}: no stored result there.")
    if len(names) > 1:
        raise UsageError(
            f"{source}: results of {', '.join(names)}; load one experiment at a time, as {source}/{names[0]}."
        )
    return Results(tuple(outcome_in(stored.folder) for stored in found))


def _cell(name: str, values: dict[str, Any], *, quick: bool) -> Cell:
    kind = experiment(name)
    parameters = dict(kind.quick) if quick else {}
    parameters |= {key: value for key, value in values.items() if key not in Settings.model_fields}
    settings = {key: value for key, value in values.items() if key in Settings.model_fields}
    sources = dict.fromkeys(values, "python")
    return Cell(kind.parse(parameters), Settings.parse(settings), sources)


def _executed(cells: Sequence[Cell], out: str | Path | None, *, force: bool) -> Results:
    store = Store(Path(out)) if out is not None else None
    for cell in cells:
        cell.check()
    outcomes = []
    for cell in cells:
        execution = execute(cell, store, force=force)
        if execution.save_error is not None:
            raise execution.save_error
        outcomes.append(execution.outcome)
    return Results(tuple(outcomes))
