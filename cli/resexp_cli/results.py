"""compare: stored results, or CSV files, side by side."""

from pathlib import Path

import click


@click.command("compare", short_help="Two stored results or CSV files side by side.")
@click.argument("a", type=click.Path(path_type=Path), help="folder of a stored result, or a CSV file")
@click.argument("b", type=click.Path(path_type=Path), help="another of the same experiment")
@click.option("--all", "every", is_flag=True, help="show the numbers that do not differ too")
@click.option("--format", "form", type=click.Choice(["table", "csv"]), default="table", help="table (default) or csv")
def compare_command(a: Path, b: Path, every: bool, form: str) -> None:
    """Compare two results row by row; differences beyond their intervals are marked.

    Measured means differ when the 95 %
    interval of their difference excludes zero, exact numbers when they are not equal.

    \b
    Examples:
      resexp compare results/variance/0123456789abcdef other.csv
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
