"""One command for each registered experiment, made from its declaration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resexp.core.errors import ResexpError, UsageError, nearest
from resexp.core.experiment import Experiment
from resexp.report import text
from resexp.runs.cell import Cell, Outcome
from resexp.runs.execute import execute, needs_run
from resexp.runs.resolve import environment_variable, resolve
from resexp.runs.store import Store
from resexp_cli.environment import warn_of_misspelt
from resexp_cli.options import output_options, parameter_options, settings_options
from resexp_cli.verdicts import Judged, check_verdicts

if TYPE_CHECKING:
    from resexp_cli.console import Terminal


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


class ExperimentCommand(click.Command):
    """A command whose help lists its options in sections."""

    def __init__(self, name: str, sections: Mapping[str, Sequence[click.Parameter]], **attributes: Any) -> None:
        super().__init__(name, params=[p for section in sections.values() for p in section], **attributes)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of options for each section."""
        own = [option for option in (self.get_help_option(ctx),) if option is not None]
        for heading, options in {**self.sections, "Help": own}.items():
            records = [option.get_help_record(ctx) for option in options if isinstance(option, click.Option)]
            with formatter.section(heading):
                formatter.write_dl([record for record in records if record is not None])


def command(experiment: type[Experiment]) -> click.Command:
    """The command of an experiment."""
    prefix = environment_variable(experiment, "")[:-1]

    def callback(quick: bool, settings_file: Path | None, **values: Any) -> None:
        output = Output(**{f.name: values.pop(f.name) for f in fields(Output)})
        flags = {name: value for name, value in values.items() if value is not None and value != ()}
        run(experiment, flags, output, quick=quick, settings_file=settings_file)

    examples = "\n".join(f"  resexp {example}" for example in experiment.examples)
    return ExperimentCommand(
        experiment.name(),
        {
            "Parameters": parameter_options(experiment),
            "Settings common to all experiments": settings_options(prefix),
            "Output": output_options(prefix),
        },
        callback=callback,
        short_help=experiment.summary(),
        help=f"{experiment.summary()}\n\n\b\nExamples:\n{examples}\n\n"
        "A list (10,20,50) or a range (10:50:10, 1:64:x2) of values sweeps an option. "
        f"An option can also be set by the environment variable {prefix}_OPTION, or in a file (--settings).\n\n"
        f"Formulas and sources: resexp show {experiment.name()}",
    )


def run(
    experiment: type[Experiment], flags: dict[str, Any], output: Output, *, quick: bool, settings_file: Path | None
) -> None:
    """Resolve, run or read back, print, store, plot, check."""
    from resexp_cli.console import Terminal  # rich takes longer than a shell waits for completions

    terminal = Terminal(quiet=output.quiet)
    warn_of_misspelt(terminal)
    cells = resolve(experiment, flags, _settings(experiment, settings_file), quick=quick)
    if output.plot is not None:
        from resexp.report.figure import check_plot

        check_plot(experiment, output.plot)
    if output.format == "text" and not experiment.writes:
        raise UsageError(f"--format text: {experiment.name()} writes numbers, no text; use csv or table.")
    store = None if output.no_save else Store(output.out)
    if output.dry_run:
        _dry_run(terminal, cells, store)
        return
    _check_before(cells, store, force=output.force)
    if output.verbose:
        for name, said in _said(cells).items():
            terminal.note(f"{name} {said}")
    outcomes, save_error = _run_all(terminal, cells, store, force=output.force)
    show(terminal, outcomes, output.format)
    if output.plot is not None:
        from resexp.report.figure import draw

        draw(outcomes, output.plot)
        terminal.note(f"figure: {output.plot}")
    if save_error is not None:
        raise save_error
    if output.check:
        terminal.note(check_verdicts(Judged.of(outcome.result for outcome in outcomes)))


def _check_before(cells: Sequence[Cell], store: Store | None, *, force: bool) -> None:
    """Find what would stop the last setting of a sweep before the first has run."""
    pending = [cell for cell in cells if needs_run(cell, store, force=force)]
    for cell in pending:
        cell.check()
    if pending and store is not None:
        store.check_writable()


def _run_all(
    terminal: "Terminal", cells: Sequence[Cell], store: Store | None, *, force: bool
) -> tuple[list[Outcome], ResexpError | None]:
    """Outcomes of all cells, and the first error of saving one."""
    outcomes: list[Outcome] = []
    save_error = None
    with terminal.progress(cells[0].name) as progress:
        for number, cell in enumerate(cells):

            def overall(done: int, total: int, before: int = number) -> None:
                progress(before * total + done, len(cells) * total)

            try:
                execution = execute(cell, store, force=force, progress=overall, say=progress.say, tell=terminal.warn)
            except KeyboardInterrupt:
                kept = f" and kept in {store.root}" if store is not None and outcomes else ""
                terminal.warn(f"Interrupted: {len(outcomes)} of {len(cells)} settings are finished{kept}.")
                raise
            outcomes.append(execution.outcome)
            save_error = save_error or execution.save_error
            if execution.folder is not None:
                what = "read back (--force runs it again)" if execution.outcome.read_back else "saved"
                terminal.note(f"{what}: {execution.folder}")
    return outcomes, save_error


def show(terminal: "Terminal", outcomes: Sequence[Outcome], form: str) -> None:
    """Print outcomes on stdout in the asked format."""
    if form == "auto":
        form = "table" if terminal.interactive else "csv"
    if form == "table":
        terminal.table(outcomes)
        return
    for note in dict.fromkeys(note for outcome in outcomes for note in outcome.result.notes):
        terminal.note(note)
    write = {"csv": text.as_csv, "json": text.as_json, "markdown": text.as_markdown, "text": text.as_written}[form]
    click.echo(write(outcomes), nl=False)


def _settings(experiment: type[Experiment], path: Path | None) -> dict[str, Any]:
    """Values of a settings file, checked to name options of the experiment."""
    if path is None:
        return {}
    from resexp.runs.config import load_settings

    return load_settings(path, experiment)


def _said(cells: Sequence[Cell]) -> dict[str, str]:
    """Each value and who said it; what is swept with all its values."""
    said = {}
    for name, source in cells[0].sources.items():
        values = dict.fromkeys(_value(cell, name) for cell in cells)
        shown = ", ".join(values) if len(values) <= 8 else f"{next(iter(values))} to {_value(cells[-1], name)}"
        said[name] = f"{shown}  ({source})"
    return said


def _value(cell: Cell, name: str) -> str:
    owner = cell.experiment if name in type(cell.experiment).model_fields else cell.settings
    value = text.plain(getattr(owner, name))
    return "none" if value is None else str(value)


def _dry_run(terminal: "Terminal", cells: Sequence[Cell], store: Store | None) -> None:
    """Show what each cell would do; refuse what does not fit."""
    rows = []
    seconds = 0.0
    for cell, lead in zip(cells, text.swept_values(cells), strict=True):
        lab = cell.lab()
        cell.check()
        memory = cell.experiment.estimate_memory(lab)
        stored = store is not None and store.has(cell)
        takes = 0.0 if stored else cell.experiment.estimate_seconds(lab)
        seconds += takes or 0.0
        time = "not known" if takes is None else f"{takes:,.1f} s" if takes >= 0.1 else "under 0.1 s"
        time = "stored already" if stored else time
        size = "not known" if memory is None else f"{memory / 1e6:,.1f} MB"
        rows.append((*lead.values(), size, time, f"{cell.name}/{cell.id}"))
    terminal.mapping(f"{cells[0].name}, not run", _said(cells))
    terminal.listing((*text.swept_values(cells)[0], "memory", "time", "stored as"), rows)
    terminal.text(f"Estimated on this machine: {seconds:,.1f} s in all, budget {cells[0].lab().memory / 1e6:,.0f} MB.")


def unknown(name: str, known: Sequence[str]) -> UsageError:
    """What to say of a command that does not exist."""
    return UsageError(f"There is no command '{name}'{nearest(name, known)}. `resexp --help` lists all.")
