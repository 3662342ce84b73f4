"""status: what of an experiments.yaml is stored."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resexp_cli.store import only_option, out_option, quiet_option, set_option, trust_option

if TYPE_CHECKING:
    from resexp.core.result import Value
    from resexp.runs.inventory import EntryStock, FailedCell, Stock
    from resexp_cli.console import Terminal

MOST_FAILURES = 10


@click.command("status", short_help="What of an experiments.yaml is done, failed, missing or stale.")
@click.argument("file", type=click.Path(path_type=Path), help="the YAML file")
@only_option
@set_option
@out_option
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="[default: table]")
@trust_option
@quiet_option
def status_command(
    file: Path, only: str | None, assignments: tuple[str, ...], out: Path, form: str, trust: bool, quiet: bool
) -> None:
    """Count which cells of FILE are done, failed, running, damaged or missing; run nothing.

    Stale are results of an older version of their experiment, and those of an entry that has no such cell any more.

    \b
    Examples:
      resexp status experiments.yaml
      resexp status experiments.yaml --set draws=64 --out quick
      resexp status experiments.yaml --only 'figure-11-6*' --format json
    """
    from resexp.runs import batch, config
    from resexp.runs.inventory import take_stock
    from resexp.runs.store import Store
    from resexp_cli.console import Terminal
    from resexp_cli.environment import warn_of_misspelt

    terminal = Terminal(quiet=quiet)
    warn_of_misspelt(terminal)
    whole = config.load(file, trust=trust)
    entries = config.override(config.select(whole, only), assignments)
    stock = take_stock(batch.plan(entries), Store(out), others=lambda: batch.plan(whole.entries))
    found = list(stock.entries.values())
    if form == "json":
        click.echo(json.dumps(_stock_document(stock), indent=1))
    elif form == "csv":
        from resexp.core.tabular import to_csv

        rows = [_counts(one) for one in found]
        click.echo(to_csv(list(rows[0]), rows), nl=False)
    else:
        _show_stock(terminal, found)
    _tell_of_stock(terminal, stock, file)


def _counts(one: "EntryStock") -> "dict[str, Value]":
    from resexp.runs.inventory import State

    states = {state.value: one.states[state] for state in State}
    return {"entry": one.name, "experiment": one.experiment, "cells": one.cells, **states, "stale": one.stale}


def _stock_document(stock: "Stock") -> dict[str, Any]:
    entries = [
        {
            **_counts(one),
            "failures": [
                {"folder": str(f.folder), "settings": f.settings, "error": str(f.failure or "")}
                for f in one.told_apart()
            ],
        }
        for one in stock.entries.values()
    ]
    return {"entries": entries, "stale_of_no_entry": stock.unowned, "not_installed": stock.unknown}


def _show_stock(terminal: "Terminal", found: "Sequence[EntryStock]") -> None:
    rows = [_counts(one) for one in found]
    always = ("entry", "experiment", "cells", "done", "failed", "missing")
    columns = [name for name in rows[0] if name in always or any(row[name] for row in rows)]
    terminal.listing(columns, [[row[name] for name in columns] for row in rows])
    failed = [(one.name, failure) for one in found for failure in one.told_apart()]
    if failed:
        terminal.text("")
    for name, failure in failed[:MOST_FAILURES]:
        terminal.text(_failure(name, failure))
        terminal.text(f"  {failure.folder / 'error.json'}")
    more = sum(one.failed for one in found) - min(len(failed), MOST_FAILURES)
    if more:
        terminal.text(f"and {more} more failed")


def _failure(name: str, failed: "FailedCell") -> str:
    settings = ", ".join(f"{key} {value}" for key, value in failed.settings.items())
    error = str(failed.failure or "error.json is damaged").removesuffix(": ")
    return f"{name}{f' ({settings})' if settings else ''}: {error}"


def _tell_of_stock(terminal: "Terminal", stock: "Stock", file: Path) -> None:
    """What follows from the numbers, and what no number says."""
    found = stock.entries.values()
    for note in dict.fromkeys(note for one in found for note in one.notes):
        terminal.warn(f"Cells counted as missing: {note}")
    if any(one.failed for one in found):
        terminal.note(f"resexp run {file} --retry-failed runs again what failed.")
    if any(one.stale for one in found):
        terminal.note(f"resexp clean {file} lists what is stale.")
    elsewhere = sum(one.elsewhere for one in found if one.done < one.cells)
    if elsewhere:
        terminal.note(f"Computed on another kind of device, and again if run here: {elsewhere}.")
    if stock.unowned:
        terminal.note(f"Of older versions, and of no entry: {stock.unowned}; resexp clean lists them.")
    for name, count in stock.unknown.items():
        terminal.note(f"Stored of {name}, which is not installed: {count}.")
