"""compare, report: stored results side by side, and as a page."""

from pathlib import Path

import click

from resexp.core.errors import UsageError
from resexp_cli.completion import results_stored
from resexp_cli.store import found_in, nothing_in, only_option, out_option, quiet_option, set_option, trust_option

RESULT = click.Path(path_type=Path)


@click.command("compare", short_help="Two stored results or CSV files side by side.")
@click.argument("a", type=RESULT, shell_complete=results_stored, help="folder of a stored result, or a CSV file")
@click.argument("b", type=RESULT, shell_complete=results_stored, help="another of the same experiment")
@click.option("--all", "every", is_flag=True, help="show the numbers that do not differ too")
@click.option("--format", "form", type=click.Choice(["table", "csv"]), default="table", help="table (default) or csv")
def compare_command(a: Path, b: Path, every: bool, form: str) -> None:
    """Compare two results row by row; differences beyond their intervals are marked.

    Measured means differ when the 95 %
    interval of their difference excludes zero, exact numbers when they are not equal.

    \b
    Examples:
      resexp compare results/variance/0123456789abcdef other.csv
      resexp compare before.csv after.csv
      resexp compare --all --format csv a.csv b.csv
    """
    from resexp.core.tabular import to_csv
    from resexp.report.compare import DIFFERS, SAME, compare, settings_that_differ

    keys, found = compare(a, b)
    shown = [c for c in found if every or c.judgement != SAME]
    columns = (*keys, "value", "a", "b", "judgement")
    rows = [(*c.key, c.column, c.a, c.b, c.judgement) for c in shown]
    if form == "csv":
        click.echo(to_csv(columns, [dict(zip(columns, row, strict=True)) for row in rows]), nl=False)
        return
    from resexp_cli.console import Terminal

    terminal = Terminal()
    for name, (of_a, of_b) in settings_that_differ(a, b).items():
        terminal.text(f"{name}: {of_a} in A, {of_b} in B")
    if rows:
        terminal.listing(columns, rows)
    different = sum(c.judgement == DIFFERS for c in found)
    alone = sum(c.judgement not in {DIFFERS, SAME} for c in found)
    terminal.text(f"{different} of {len(found) - alone} numbers differ beyond their intervals.")
    if alone:
        terminal.text(f"{alone} numbers are only in A or only in B.")
    measured = sum(c.measured for c in found)
    if measured:
        terminal.text(
            f"By chance alone about {0.05 * measured:.0f} of {measured} measured ones would, neighbours together."
        )


@click.command("report", short_help="Stored results as one self-contained HTML page.")
@click.argument(
    "sources",
    nargs=-1,
    shell_complete=results_stored,
    help="an experiments.yaml, or quoted globs of stored results [default: all of --out]",
)
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    help="file to write [default: report.html]",
)
@click.option("--title", default="Results", help="its title [default: Results]")
@only_option
@set_option
@out_option
@trust_option
@quiet_option
def report_command(
    sources: tuple[str, ...],
    page: Path,
    title: str,
    only: str | None,
    assignments: tuple[str, ...],
    out: Path,
    trust: bool,
    quiet: bool,
) -> None:
    """Write the stored results of SOURCES as one HTML page: figures, numbers beside theory, verdicts, provenance.

    The page needs nothing from anywhere: it opens offline, in daylight and in the dark, prints, and is read with the
    keyboard. Settings of a sweep are compared.

    \b
    Examples:
      resexp report
      resexp report experiments.yaml --only 'figure-11-6*' --title "Figure 11.6"
      resexp report 'results/variance/*' --page variance.html
    """
    from resexp.report.page.overview import overview
    from resexp.report.page.render import check_page, check_renderable, render, write
    from resexp.report.selection import Selection
    from resexp_cli.console import Terminal

    check_renderable()
    check_page(page)
    terminal = Terminal(quiet=quiet)
    selection = Selection(terminal.warn)
    sources = sources or (f"{out}/**",)
    chosen = [one for one, _ in found_in(selection, sources, only, assignments, out, trust)]
    made = overview(chosen, title, selection.damaged)
    if not made.groups:
        raise UsageError(f"Nothing to report: {nothing_in(sources, selection, out)}")
    write(render(made), page)
    left_out = f"; left out: {selection}" if selection.left_out else ""
    terminal.note(f"page: {page}, {made.facts['results']} results{left_out}")
