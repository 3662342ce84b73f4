"""Outcomes as CSV, JSON and Markdown. Several cells of a sweep share one table, swept parameters leading."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

from resexp.core.result import Value
from resexp.core.tabular import to_csv
from resexp.runs.cell import Cell, Outcome
from resexp.runs.resolve import describe, swept


def combined(outcomes: Sequence[Outcome]) -> tuple[tuple[str, ...], list[dict[str, Value]]]:
    """Columns and rows of all outcomes as one tidy table."""
    leads = swept_values([outcome.cell for outcome in outcomes])
    columns: dict[str, None] = dict.fromkeys(leads[0])
    rows: list[dict[str, Value]] = []
    for outcome, lead in zip(outcomes, leads, strict=True):
        columns |= dict.fromkeys(outcome.result.columns)
        rows.extend({**lead, **row} for row in outcome.result.rows)
    return tuple(columns), rows


def headlines(outcomes: Sequence[Outcome]) -> list[dict[str, Value]]:
    """Headline figures of all outcomes, swept parameters leading."""
    leads = swept_values([outcome.cell for outcome in outcomes])
    return [
        {**lead, **figure} for outcome, lead in zip(outcomes, leads, strict=True) for figure in outcome.result.headline
    ]


def last_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Value]]:
    """The last row of each quantity of all outcomes, swept parameters leading: what there is without headlines."""
    leads = swept_values([outcome.cell for outcome in outcomes])
    return [
        {**lead, **row}
        for outcome, lead in zip(outcomes, leads, strict=True)
        for row in {row.get("quantity"): row for row in outcome.result.rows}.values()
    ]


def swept_values(cells: Sequence[Cell]) -> list[dict[str, Value]]:
    """For each cell the parameters that differ between the cells."""
    names = swept(cells)
    return [{name: plain(describe(cell)[name]) for name in names} for cell in cells]


def plain(value: Any) -> Value:
    """A parameter as it stands in a table: lists joined by commas."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value


def as_csv(outcomes: Sequence[Outcome]) -> str:
    """All rows as CSV."""
    return to_csv(*combined(outcomes))


def as_json(outcomes: Sequence[Outcome]) -> str:
    """One object for one cell, a list of objects for a sweep."""
    documents = [document(outcome) for outcome in outcomes]
    return json.dumps(documents[0] if len(documents) == 1 else documents, indent=1, allow_nan=False) + "\n"


def document(outcome: Outcome) -> dict[str, Any]:
    """Experiment, parameters, headline, rows and provenance of one outcome as plain data."""
    return {
        "experiment": outcome.cell.name,
        "parameters": outcome.cell.experiment.model_dump(mode="json"),
        "headline": outcome.result.headline,
        "families": [asdict(replace(family, moments=None)) for family in outcome.result.families],
        "notes": outcome.result.notes,
        "rows": outcome.result.rows,
        "run": dict(outcome.run),
    }


def as_written(outcomes: Sequence[Outcome]) -> str:
    """The column `written` alone, line by line; a blank line between quantities."""
    rows = [row for outcome in outcomes for row in outcome.result.rows]
    groups = groupby(rows, lambda row: row.get("quantity"))
    return "\n".join("".join(f"{row['written']}\n" for row in group) for _, group in groups)


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """Headline figures and rows as two Markdown tables."""
    figures = headlines(outcomes)
    parts = [_markdown(tuple(figures[0]), figures)] if figures else []
    return "\n".join([*parts, _markdown(*combined(outcomes))])


def _markdown(columns: Sequence[str], rows: Sequence[dict[str, Value]]) -> str:
    lines = [columns, ["---"] * len(columns), *([short(row.get(c)) for c in columns] for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def short(value: Value, digits: int = 4) -> str:
    """A number for people: four significant digits, whole numbers whole, nothing for what does not exist."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**18 else _long_integer(value)
    return f"{value:.{digits}g}"


def _long_integer(value: int) -> str:
    """The leading digits and the power of ten of an integer that may be too long for a float."""
    text = str(abs(value))
    return f"{'-' if value < 0 else ''}{text[0]}.{text[1:4]}e+{len(text) - 1}"
