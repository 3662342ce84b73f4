"""chapter: every figure, equation and problem of the chapter as a run, ending in a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resexp_cli.batch import check_fits, run_entries
from resexp_cli.completion import statements_named

if TYPE_CHECKING:
    from resexp.chapter.statements import Chapter, Statement
    from resexp_cli.console import Terminal


@click.command("chapter", short_help="Every figure, equation and problem of the chapter, run and told on one page.")
@click.option(
    "--only",
    metavar="NAME",
    multiple=True,
    shell_complete=statements_named,
    help="figure-11.3, 'problem-11.*' ..., or an experiment; repeatable",
)
@click.option("--full", is_flag=True, help="publication settings: more networks, longer trainings; over an hour")
@click.option("--list", "listed", is_flag=True, help="list the statements and their runs; run nothing")
@click.option("-j", "--jobs", type=click.IntRange(min=0), help="worker processes [default: the cores]; 0: none")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    help="folder of stored results [default: results]",
)
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="the page, .html; the same name with .json is written beside it [default: chapter.html in --out, with --only "
    "chapter-part.html]",
)
@click.option("--force", is_flag=True, help="run again what is stored already")
@click.option("--retry-failed", is_flag=True, help="run again what failed before")
@click.option("--no-run", is_flag=True, help="make the page of what is stored; run nothing")
@click.option("-q", "--quiet", is_flag=True, help="no progress and no notes on stderr")
def chapter_command(only: Sequence[str], full: bool, listed: bool, page: Path | None, **options: Any) -> None:
    """Run chapter 11 of Understanding Deep Learning (Prince 2023): about ten minutes on two cores.

    What is stored already is read back, so that a run that was killed goes on where it stood. In the end there is one
    self-contained HTML page, with each statement, its command, measurement, theory and verdict, and chapter.json with
    the same for programs.

    \b
    Examples:
      resexp chapter
      resexp chapter --only figure-11.6 --only problem-11.13
      resexp chapter --full -j 8 --out publication
    """
    from resexp.chapter.statements import Chapter
    from resexp.report.page.render import check_page, check_renderable
    from resexp.runs.batch import Rules
    from resexp.runs.store import Store
    from resexp_cli.console import Terminal

    terminal = Terminal(quiet=options["quiet"])
    chapter = Chapter.load()
    statements = chapter.only(only)
    if listed:
        _list(terminal, chapter, statements)
        return
    page = page or options["out"] / ("chapter-part.html" if only else "chapter.html")
    check_renderable()
    check_page(page)
    store = Store(options["out"])
    store.check_writable()
    entries = chapter.planned(statements, full=full)
    summary = None
    if not options["no_run"]:
        rules = Rules(options["force"], options["retry_failed"])
        check_fits(entries, store, rules)
        running = {**options, "engine": "local", "timeout": None, "address": None, "gpus_per_cell": 0}
        summary = run_entries(terminal, entries, store, rules, {**running, "check": False, "form": "none"})
    _tell(terminal, chapter, statements, store, page, full=full)
    if summary is not None:
        summary.raise_failed()


def _list(terminal: "Terminal", chapter: "Chapter", statements: "Sequence[Statement]") -> None:
    rows = [
        (
            ", ".join(statement.of),
            statement.title,
            ", ".join(dict.fromkeys(chapter.entries[name].experiment for name in statement.runs)),
        )
        for statement in statements
    ]
    terminal.listing(("figure or problem", "statement", "experiments"), rows)


def _tell(
    terminal: "Terminal", chapter: "Chapter", statements: "Sequence[Statement]", store: Any, path: Path, *, full: bool
) -> None:
    """The page, the data beside it, and a table for the terminal."""
    from resexp.chapter.book import as_json, data_of, kept, page_of
    from resexp.report.page.render import render, write

    found = kept(chapter.planned(statements, full=full), store)
    told = data_of(statements, found, full=full)
    write(as_json(told), path.with_suffix(".json"))
    write(render(page_of(chapter, statements, found, full=full)), path)
    rows = []
    for statement, data in zip(statements, told["statements"], strict=True):
        families = [family["verdict"] for run in data["runs"] for family in run["families"]]
        counts = ", ".join(f"{families.count(verdict)} {verdict}" for verdict in dict.fromkeys(families))
        rows.append((statement.label, statement.title, data["verdict"], counts))
    terminal.listing(("figure or problem", "statement", "verdict", "quantities"), rows)
    terminal.note(f"page: {path}, data: {path.with_suffix('.json')}")
