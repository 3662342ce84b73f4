"""export, clean: all that is stored as one table, and what of it can be removed."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resexp.core.errors import ResexpError, UsageError
from resexp_cli.completion import entries_named, results_stored

if TYPE_CHECKING:
    from resexp.core.result import Value
    from resexp.report.export import Format
    from resexp.report.selection import Chosen, Selection
    from resexp.runs.cleaning import Removable
    from resexp.runs.stored import Stored
    from resexp_cli.console import Terminal

MOST_LISTED = 20
LONGEST_NAME = 24
YAML = {".yaml", ".yml"}

out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    help="folder of stored results [default: results]",
)
only_option = click.option(
    "--only", metavar="NAME", shell_complete=entries_named, help="only the entries of that name; * and ? are wild"
)
set_option = click.option(
    "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="as it was given to resexp run"
)
trust_option = click.option("--trust", is_flag=True, help="allow entries that name code, as for resexp run")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="no progress and no notes on stderr")


@click.command("export", short_help="Stored results as one table: CSV, JSON or Parquet.")
@click.argument(
    "sources",
    nargs=-1,
    required=True,
    shell_complete=results_stored,
    help="an experiments.yaml, or a quoted glob of stored results",
)
@click.option("--format", "form", type=click.Choice(["csv", "parquet", "json"]), help="[default: by --to, else csv]")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="file to write instead of stdout")
@only_option
@set_option
@out_option
@trust_option
@quiet_option
def export_command(
    sources: tuple[str, ...],
    form: "Format | None",
    to: Path | None,
    only: str | None,
    assignments: tuple[str, ...],
    out: Path,
    trust: bool,
    quiet: bool,
) -> None:
    """Write the rows of all stored cells of SOURCES as one tidy table, with every parameter as a column.

    A source is an experiments.yaml, whose cells are taken from --out in the order of the file, or a quoted glob of
    folders. Rows are written one after another: a hundred thousand cells take little memory.

    \b
    Examples:
      resexp export experiments.yaml > all.csv
      resexp export 'results/variance/*' --format json --to variance.json
      resexp export experiments.yaml --only 'figure-11-6*' --to figure.parquet
    """
    from resexp.report.export import Export, check_target, export
    from resexp.report.selection import Selection
    from resexp.report.sinks import check_polars
    from resexp_cli.console import Terminal
    from resexp_cli.environment import warn_of_misspelt

    form = form or _form(to)
    if form == "parquet":
        if to is None:
            raise UsageError("--format parquet needs a file: --to FILE.")
        check_polars()
    if to is not None:
        check_target(to)
    terminal = Terminal(quiet=quiet)
    warn_of_misspelt(terminal)
    selection = Selection(terminal.warn)
    table = Export(found_in(selection, sources, only, assignments, out, trust))
    if not table.cells:
        raise UsageError(f"Nothing to export: {nothing_in(sources, selection, out)}")
    with terminal.progress("export") as progress:
        written = export(table, form, to or sys.stdout, selection.damaged, progress)
    if written.rounded:
        columns = ", ".join(sorted(written.rounded))
        terminal.warn(f"Integers beyond 64 bits lose digits in Parquet, in {columns}; CSV and JSON keep them.")
    left_out = f"; left out: {selection}" if selection.left_out else ""
    terminal.note(f"Cells: {written.cells}{f', into {to}' if to else ''}{left_out}")


def _form(to: Path | None) -> "Format":
    """The format that a file's name tells."""
    if to is not None and to.suffix == ".parquet":
        return "parquet"
    return "json" if to is not None and to.suffix == ".json" else "csv"


def found_in(
    selection: "Selection",
    sources: Sequence[str],
    only: str | None,
    assignments: Sequence[str],
    out: Path,
    trust: bool,
) -> "Iterable[tuple[Chosen, Stored]]":
    """The stored cells of YAML files and globs, in the order of these."""
    from resexp.runs import batch, config
    from resexp.runs.store import Store

    files = {source: config.load(Path(source), trust=trust) for source in sources if Path(source).suffix in YAML}
    if assignments and not files:
        raise UsageError("--set is for the entries of a YAML file.")
    for source in sources:
        if source in files:
            entries = config.override(config.select(files[source], only), assignments)
            yield from selection.of_batch(batch.plan(entries), Store(out))
        else:
            yield from selection.of_glob(source, only)


def nothing_in(sources: Sequence[str], selection: "Selection", out: Path) -> str:
    """Why nothing was found."""
    if selection.left_out:
        return f"{selection}; resexp status FILE tells more."
    return f"{', '.join(sources)} matches no stored result. A glob of them is '{out}/variance/*', with its quotes."


@click.command("clean", short_help="Remove stale and damaged results and left-overs; list them first.")
@click.argument(
    "file", required=False, type=click.Path(path_type=Path), help="a YAML file: what its entries dropped too"
)
@out_option
@click.option("--yes", is_flag=True, help="remove what is listed")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="[default: table]")
@trust_option
@quiet_option
def clean_command(file: Path | None, out: Path, yes: bool, form: str, trust: bool, quiet: bool) -> None:
    """List what can be removed from stored results, and remove it with --yes.

    That is results of an older version of their experiment, damaged ones, and what runs that were cut off left behind;
    with FILE also results of its entries that are none of its cells any more. What is being computed is kept, and so is
    all that resexp did not write.

    \b
    Examples:
      resexp clean
      resexp clean experiments.yaml
      resexp clean experiments.yaml --yes
    """
    from resexp.runs import batch, config
    from resexp.runs.cleaning import removable, remove
    from resexp.runs.inventory import Claims
    from resexp_cli.console import Terminal

    terminal = Terminal(quiet=quiet)
    claims = Claims(batch.plan(config.load(file, trust=trust).entries)) if file else None
    found = list(removable(out, claims, terminal.warn))
    _list(terminal, found, out, form)
    if not yes:
        if found:
            terminal.note("Nothing was removed; the same command with --yes removes them.")
        return
    failed = 0
    with terminal.progress("clean") as progress:
        for number, one in enumerate(found, start=1):
            try:
                remove(one)
            except ResexpError as error:
                failed += 1
                terminal.error(str(error))
            progress(number, len(found))
    terminal.note(f"{len(found) - failed} of {len(found)} removed.")
    if failed:
        raise ResexpError(f"{failed} of {len(found)} could not be removed.")


def _list(terminal: "Terminal", found: "Sequence[Removable]", out: Path, form: str) -> None:
    rows: list[dict[str, Value]] = [
        {"path": str(r.path), "reason": r.reason.value, "detail": r.detail, "entry": r.entry, "bytes": r.size}
        for r in found
    ]
    if form == "json":
        click.echo(json.dumps(rows, indent=1))
    elif form == "csv":
        from resexp.core.tabular import to_csv

        click.echo(to_csv(("path", "reason", "detail", "entry", "bytes"), rows), nl=False)
    elif not found:
        terminal.text(f"Nothing to remove in {out}.")
    else:
        shown = [(_short(r.path.relative_to(out)), r.detail, _size(r.size)) for r in found[:MOST_LISTED]]
        terminal.listing((f"in {out}", "why", "size"), shown)
        if len(found) > MOST_LISTED:
            terminal.text(f"and {len(found) - MOST_LISTED} more: --format csv lists all")
        counts = Counter(r.reason.value for r in found)
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
        terminal.text(f"{len(found)} to remove, {_size(sum(r.size for r in found))}: {reasons}")


def _short(path: Path) -> str:
    """The path, without most of what makes a temporary name unique."""
    return str(path if len(path.name) <= LONGEST_NAME else path.with_name(path.name[: LONGEST_NAME - 1] + "…"))


def _size(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"
