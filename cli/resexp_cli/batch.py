"""run: the entries of experiments.yaml, one after another, ending with a summary."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resexp.core.errors import BatchError, ResexpError
from resexp_cli.verdicts import chance, check_verdicts

if TYPE_CHECKING:
    from resexp.runs.batch import Done, Planned
    from resexp_cli.console import Terminal


@click.command("run", short_help="Run the entries of an experiments.yaml.")
@click.argument("file", type=click.Path(path_type=Path), help="the YAML file; resexp schema describes it")
@click.option("--only", metavar="NAME", help="only the entries of that name; * and ? are wild")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    help="folder of stored results and figures [default: results]",
)
@click.option("--no-save", is_flag=True, help="store nothing and read nothing back; figures are drawn")
@click.option("--force", is_flag=True, help="run again what is stored already")
@click.option("--check", is_flag=True, help="exit with 1 if measurement and theory disagree beyond chance")
@click.option("--dry-run", is_flag=True, help="check the file and list what would run; run nothing")
@click.option("-q", "--quiet", is_flag=True, help="no progress and no notes on stderr")
def run_command(
    file: Path, only: str | None, out: Path, no_save: bool, force: bool, check: bool, dry_run: bool, quiet: bool
) -> None:
    """Run the entries of FILE one after another and end with a summary.

    The whole file is checked before anything runs. An entry that is stored already is read back. One that fails does
    not stop the others; the exit code is then 3.

    \b
    Examples:
      resexp run experiments.yaml
      resexp run experiments.yaml --only 'figure-11-6*'
    """
    from resexp.runs import batch, config
    from resexp.runs.store import Store
    from resexp_cli.console import Terminal

    terminal = Terminal(quiet=quiet)
    planned = batch.plan(config.select(config.load(file), only))
    _check_plots(planned)
    store = None if no_save else Store(out)
    batch.check(planned, store, force=force)
    if dry_run:
        terminal.listing(
            ("entry", "experiment", "stored as"), [(e.name, c.name, f"{c.name}/{c.id}") for e, c in planned]
        )
        return
    if store is not None:
        store.check_writable()
    done: list[batch.Done] = []
    try:
        for number, (entry, cell) in enumerate(planned, start=1):
            with terminal.progress(f"{entry.name} {number}/{len(planned)}") as progress:
                one = batch.run_entry(entry, cell, store, force=force, progress=progress, tell=terminal.warn)
            done.append(_finish(terminal, one, out))
    finally:
        _summary(terminal, done, len(planned))
    failed = [one.entry.name for one in done if one.error]
    if failed:
        raise BatchError(f"{len(failed)} of {len(planned)} entries failed: {', '.join(failed)}.")
    checked = [o.execution.outcome.result for o in done if o.execution and (check or o.entry.check)]
    if checked:
        terminal.note(check_verdicts(checked))


def _check_plots(planned: "Sequence[Planned]") -> None:
    """Raise UsageError or MissingError where an entry asks for a figure that cannot be drawn."""
    for entry, cell in planned:
        if entry.plot is not None:
            from resexp.report.figure import check_plot

            try:
                check_plot(type(cell.experiment), Path(entry.plot))
            except ResexpError as error:
                raise type(error)(f"{entry.name}: {error}") from None


def _finish(terminal: "Terminal", done: "Done", out: Path) -> "Done":
    """Draw the entry's figure, and say on stderr what became of it."""
    if done.execution is not None and done.entry.plot is not None:
        from resexp.report.figure import draw

        try:
            draw([done.execution.outcome], out / done.entry.plot)
        except ResexpError as error:
            done = replace(done, error=done.error or str(error))
    if done.error or done.execution is None:
        terminal.error(f"{done.entry.name}: {done.error}")
        return done
    what = "read back" if done.execution.outcome.read_back else f"{done.seconds:.1f} s"
    figure = f", figure {out / done.entry.plot}" if done.entry.plot is not None else ""
    terminal.note(f"{done.entry.name}: {what}, {done.execution.folder or 'not stored'}{figure}")
    return done


def _summary(terminal: "Terminal", done: "Sequence[Done]", total: int) -> None:
    """The table a batch ends with."""
    rows = [(one.entry.name, one.entry.experiment, _state(one), f"{one.seconds:.1f} s", _verdicts(one)) for one in done]
    if rows:
        terminal.listing(("entry", "experiment", "state", "time", "verdicts"), rows)
    told = chance([one.execution.outcome.result for one in done if one.execution])
    if told is not None:
        terminal.warn(told)
    if len(done) < total:
        terminal.warn(f"{total - len(done)} of {total} entries were not run; finished ones are kept.")


def _state(done: "Done") -> str:
    if done.error or done.execution is None:
        return "failed"
    return "read back" if done.execution.outcome.read_back else "done"


def _verdicts(done: "Done") -> str:
    """How many families have each verdict."""
    if done.execution is None:
        return ""
    counts = Counter(family.verdict for family in done.execution.outcome.result.families)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
