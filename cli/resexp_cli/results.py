"""compare: stored results, or CSV files, side by side."""

from pathlib import Path

import click


@click.command("compare", short_help="Two stored results or CSV files side by side.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--all", "every", is_flag=True, help="show the rows that are the same too")
@click.option("--format", "form", type=click.Choice(["table", "csv"]), default="table", help="table or csv")
def compare_command(a: Path, b: Path, every: bool, form: str) -> None:
    """Compare two results row by row; differences beyond their intervals are marked.

    A and B are folders of stored results or CSV files of the same experiment.

    \b
    Example:
      resexp compare results/variance/0123456789abcdef results/variance/fedcba9876543210
    """
    from resexp.core.tabular import to_csv
    from resexp.report.compare import DIFFERS, SAME, compare

    keys, found = compare(a, b)
    shown = [c for c in found if every or c.judgement != SAME]
    columns = (*keys, "value", "a", "b", "judgement")
    if form == "csv":
        rows = [dict(zip(columns, (*c.key, c.column, c.a, c.b, c.judgement), strict=True)) for c in shown]
        click.echo(to_csv(columns, rows), nl=False)
        return
    from resexp_cli.console import Terminal

    terminal = Terminal()
    terminal.listing(columns, [(*c.key, c.column, c.a, c.b, c.judgement) for c in shown])
    different = sum(c.judgement == DIFFERS for c in found)
    same = sum(c.judgement == SAME for c in found)
    terminal.out.print(f"{different} of {len(found)} numbers differ beyond their intervals, {same} do not.")
