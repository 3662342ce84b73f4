"""One command for each registered experiment, made from its declaration."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from resexp.core.errors import ResexpError, UsageError
from resexp.core.experiment import Experiment
from resexp.report import text
from resexp.runs.cell import Cell, Outcome
from resexp.runs.execute import execute
from resexp.runs.resolve import environment_variable, resolve
from resexp.runs.store import Store
from resexp_cli.console import Terminal
from resexp_cli.options import output_options, parameter_options, settings_options
from resexp_cli.verdicts import check_verdicts


@dataclass(frozen=True)
class Output:
    """What to do with the results of a command."""

    format: str
    out: Path
    no_save: bool
    force: bool
    plot: Path | None
    check: bool
    dry_run: bool
    quiet: bool
    verbose: bool


def command(experiment: type[Experiment]) -> click.Command:
    """The command of an experiment."""
    prefix = environment_variable(experiment, "")[:-1]
    quick = click.Option(["--quick"], is_flag=True, help="the small setting that the tests run")
    settings = click.Option(
        ["--settings", "settings_file"],
        type=click.Path(dir_okay=False, path_type=Path),
        help="YAML file with values for these options",
    )

    def callback(quick: bool, settings_file: Path | None, **values: Any) -> None:
        output = Output(**{f.name: values.pop(f.name) for f in fields(Output)})
        flags = {name: value for name, value in values.items() if value is not None}
        run(experiment, flags, output, quick=quick, settings_file=settings_file)

    examples = "\n".join(f"  resexp {example}" for example in experiment.examples)
    return click.Command(
        experiment.name(),
        params=[
            *parameter_options(experiment),
            *settings_options(),
            quick,
            settings,
            *output_options(prefix),
        ],
        callback=callback,
        short_help=experiment.summary(),
        help=f"{experiment.summary()}\n\nA list (10,20,50) or a range (10:50:10, 1:64:x2) of values sweeps an option. "
        f"Each option can also be set by {prefix}_<OPTION>.\n\n\b\nExamples:\n{examples}\n\n"
        f"Formulas and sources: resexp show {experiment.name()}",
    )


def run(
    experiment: type[Experiment], flags: dict[str, Any], output: Output, *, quick: bool, settings_file: Path | None
) -> None:
    """Resolve, run or read back, print, store, plot, check."""
    terminal = Terminal(quiet=output.quiet)
    cells = resolve(experiment, flags, _settings(experiment, settings_file), quick=quick)
    if output.plot is not None:
        from resexp.report.figure import check_plot

        check_plot(experiment, output.plot)
    if output.dry_run:
        _dry_run(terminal, cells)
        return
    store = None if output.no_save else Store(output.out)
    if store is not None:
        store.check_writable()
    if output.verbose:
        for name, source in cells[0].sources.items():
            terminal.note(f"{name}: {source}")
    outcomes, save_error = _run_all(terminal, cells, store, force=output.force)
    show(terminal, outcomes, output.format)
    if output.plot is not None:
        from resexp.report.figure import draw

        draw(outcomes, output.plot)
        terminal.note(f"figure: {output.plot}")
    if save_error is not None:
        raise save_error
    if output.check:
        check_verdicts([outcome.result for outcome in outcomes])


def _run_all(
    terminal: Terminal, cells: Sequence[Cell], store: Store | None, *, force: bool
) -> tuple[list[Outcome], ResexpError | None]:
    """Outcomes of all cells, and the first error of saving one."""
    outcomes: list[Outcome] = []
    save_error = None
    for number, cell in enumerate(cells, start=1):
        label = cell.name if len(cells) == 1 else f"{cell.name} {number}/{len(cells)}"
        try:
            with terminal.progress(label) as progress:
                execution = execute(cell, store, force=force, progress=progress)
        except KeyboardInterrupt:
            kept = f"{len(outcomes)} of {len(cells)} settings are finished"
            terminal.warn(f"Interrupted: {kept} and kept in {store.root}." if store else f"Interrupted: {kept}.")
            raise
        outcomes.append(execution.outcome)
        save_error = save_error or execution.save_error
        if execution.folder is not None:
            what = "read back (--force runs it again)" if execution.outcome.read_back else "saved"
            terminal.note(f"{what}: {execution.folder}")
    return outcomes, save_error


def show(terminal: Terminal, outcomes: Sequence[Outcome], form: str) -> None:
    """Print outcomes on stdout in the asked format."""
    if form == "auto":
        form = "table" if terminal.out.is_terminal else "csv"
    if form == "table":
        terminal.table(outcomes)
        return
    for note in dict.fromkeys(note for outcome in outcomes for note in outcome.result.notes):
        terminal.warn(note)
    write = {"csv": text.as_csv, "json": text.as_json, "markdown": text.as_markdown}[form]
    click.echo(write(outcomes), nl=False)


def _settings(experiment: type[Experiment], path: Path | None) -> dict[str, Any]:
    """Values of a settings file, checked to name options of the experiment."""
    if path is None:
        return {}
    from resexp.runs.config import load_settings

    return load_settings(path, experiment)


def _dry_run(terminal: Terminal, cells: Sequence[Cell]) -> None:
    """Show what each cell would do; refuse what does not fit."""
    for cell in cells:
        lab = cell.lab()
        memory = cell.experiment.estimate_memory(lab)
        seconds = cell.experiment.estimate_seconds(lab)
        values = {**cell.experiment.model_dump(mode="json"), **cell.settings.model_dump(mode="json")}
        shown = {name: f"{text.plain(value)}  ({cell.sources.get(name)})" for name, value in values.items()}
        shown |= {"memory needed": f"about {memory / 1e6:,.1f} MB of {lab.memory / 1e6:,.0f} MB"}
        shown |= {"time": "well under a second" if seconds is None else f"about {seconds:,.1f} s on this machine"}
        terminal.mapping(f"{cell.name} {cell.id}", shown | {"stored as": f"{cell.name}/{cell.id}"})


def unknown(name: str, known: Sequence[str]) -> UsageError:
    """What to say of a command that does not exist."""
    from resexp.core.errors import nearest

    return UsageError(f"There is no command '{name}'{nearest(name, known)}. `resexp --help` lists all.")
