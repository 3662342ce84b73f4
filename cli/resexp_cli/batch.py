"""run: the cells of an experiments.yaml over workers, ending with a summary."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resexp.core.errors import ResexpError, UsageError
from resexp_cli.batch_output import print_plan, print_summary, setting_of
from resexp_cli.batch_summary import Summary
from resexp_cli.completion import entries_named

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from resexp.runs.batch import Rules
    from resexp.runs.cell import Cell
    from resexp.runs.entry import Entry
    from resexp.runs.store import Store
    from resexp_cli.console import Terminal

MOST_CHECKED = 200  # cells of an entry whose memory is estimated before the batch starts


@click.command("run", short_help="Run the entries of an experiments.yaml.")
@click.argument("file", type=click.Path(path_type=Path), help="the YAML file; resexp schema describes it")
@click.option(
    "--only", metavar="NAME", shell_complete=entries_named, help="only the entries of that name; * and ? are wild"
)
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="override a parameter of all entries")
@click.option(
    "-j", "--jobs", type=click.IntRange(min=0), help="worker processes [default: the cores]; 0: none, for debuggers"
)
@click.option(
    "--engine", type=click.Choice(["local", "dask"]), default="local", help="what runs the cells [default: local]"
)
@click.option("--address", metavar="URL", help="a running dask scheduler, as in tcp://host:8786")
@click.option("--gpus-per-cell", type=click.IntRange(min=0), default=0, help="GPUs a cell takes of a dask worker's")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="a cell that takes longer fails"
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    help="folder of stored results and figures [default: results]",
)
@click.option("--no-save", is_flag=True, help="store nothing and read nothing back; figures are drawn")
@click.option("--force", is_flag=True, help="run again what is stored already")
@click.option("--retry-failed", is_flag=True, help="run again what failed before")
@click.option("--keep-going/--fail-fast", default=True, help="go on after a failure, the default, or stop")
@click.option("--trust", is_flag=True, help="allow entries that run code of a file or plugin they name")
@click.option(
    "--check", is_flag=True, help="exit with 1 if measurement and theory disagree beyond chance, or nothing was judged"
)
@click.option("--dry-run", is_flag=True, help="check the file and list what would run; run nothing")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    help="of the summary, a row an entry [default: table]; resexp export has the results",
)
@click.option("-q", "--quiet", is_flag=True, help="no progress and no notes on stderr")
def run_command(file: Path, **options: Any) -> None:
    """Run the entries of FILE over worker processes and end with a summary.

    The whole file is checked before anything runs. What is stored already is read back, what failed before is not run
    again unless asked. A cell that fails does not stop the others; the exit code is then 3.

    \b
    Examples:
      resexp run experiments.yaml
      resexp run experiments.yaml --only 'figure-11-6*' -j 2
      resexp run experiments.yaml --set draws=64 --out quick
      resexp run sweep.yaml --engine dask --address tcp://cluster:8786
    """
    from resexp.runs import batch, config
    from resexp.runs.override import override
    from resexp.runs.store import Store
    from resexp_cli.console import Terminal
    from resexp_cli.environment import warn_of_misspelt

    terminal = Terminal(quiet=options["quiet"])
    warn_of_misspelt(terminal)
    entries = config.select(config.load(file, trust=options["trust"]), options["only"])
    entries = override(entries, options["assignments"])
    _check_plots(entries)
    store = None if options["no_save"] else Store(options["out"])
    if options["dry_run"]:
        print_plan(terminal, entries, store, options["form"])
        return
    rules = batch.Rules(options["force"], options["retry_failed"], not options["keep_going"])
    if store is not None:
        store.check_writable()
    check_fits(entries, store, rules)
    summary = run_entries(terminal, entries, store, rules, options)
    summary.raise_failed()
    met = summary.check()
    if met is not None:
        terminal.note(met)


def run_entries(
    terminal: "Terminal", entries: "Sequence[Entry]", store: "Store | None", rules: "Rules", options: dict[str, Any]
) -> Summary:
    """Run all cells, telling what becomes of them, and print the summary; options are those of `run`."""
    from resexp.runs import batch

    summary = Summary(entries, options["out"], everything_checked=options["check"], kept=store is not None)
    total = sum(entry.count for entry in entries)
    try:
        with terminal.batch(total) as bars, _engine(options, bars.step) as (executor, slots):
            runner = batch.Runner(
                executor,
                slots,
                store,
                rules,
                tell=terminal.warn,
                started=lambda number, entry, cell: bars.start(number, _label(entry, cell)),
            )
            for done in runner.run(batch.plan(entries)):
                bars.done()
                if done.task is not None:
                    bars.end(done.task)
                for told in summary.add(done):
                    terminal.error(told.text) if told.is_error else terminal.note(told.text)
    finally:
        print_summary(terminal, summary, total, options["form"])
    return summary


@contextmanager
def _engine(
    options: dict[str, Any], progress: "Callable[[int, int, int], None]"
) -> "Iterator[tuple[Executor, Callable[[], int]]]":
    """What runs the cells, and how many at once at any moment."""
    if options["jobs"] == 0:
        _refuse_workers(options)
        from resexp.runs.inline import InlineExecutor

        yield InlineExecutor(progress), lambda: 1
        return
    from resexp.runs.engines import open_engine

    with open_engine(
        options["engine"],
        workers=options["jobs"] or os.cpu_count() or 1,
        timeout=options["timeout"],
        address=options["address"],
        gpus_per_cell=options["gpus_per_cell"],
        progress=progress,
    ) as engine:
        yield engine, lambda: engine.slots


def _refuse_workers(options: dict[str, Any]) -> None:
    """Raise UsageError where something is asked for that cells in this process cannot have."""
    asked = {
        "--timeout": options["timeout"],
        "--engine dask": options["engine"] == "dask",
        "--address": options["address"],
        "--gpus-per-cell": options["gpus_per_cell"],
    }
    for name in (name for name, value in asked.items() if value):
        raise UsageError(f"{name} needs worker processes; -j 0 has none.")


def _label(entry: "Entry", cell: "Cell") -> str:
    """What a running cell is called on its line."""
    setting = setting_of(entry, cell)
    return f"{entry.name} {setting}" if setting else entry.name


def _check_plots(entries: "Iterable[Entry]") -> None:
    """Raise UsageError or MissingError where an entry asks for a figure that cannot be drawn."""
    for entry in entries:
        if entry.plot is not None:
            from resexp.report.figure import check_plot
            from resexp.runs.registry import experiment

            try:
                check_plot(experiment(entry.experiment), Path(entry.plot))
            except ResexpError as error:
                raise type(error)(f"{entry.name}: {error}") from None


def check_fits(entries: "Iterable[Entry]", store: "Store | None", rules: "Rules") -> None:
    """Raise where the first cells of an entry lack their device or memory: better now than in the night."""
    from resexp.runs import batch
    from resexp.runs.execute import needs_run

    for entry in entries:
        for _, cell in itertools.islice(batch.plan([entry]), MOST_CHECKED):
            try:
                if needs_run(cell, store, force=rules.force):
                    cell.check()
            except ResexpError as error:
                raise type(error)(f"{entry.name}: {error}") from None
