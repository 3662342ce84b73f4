"""init, new-experiment: files to begin with."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from resexp.scaffold.create import Kind
    from resexp_cli.console import Terminal

Steps = tuple[tuple[str, str], ...]
"""Commands, and what each is for."""


@click.command("init", short_help="Write a commented experiments.yaml to begin with.")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="folder to write into; made if need be [default: the current one]",
)
@click.option("--force", is_flag=True, help="write over an experiments.yaml that is there")
@click.option("-q", "--quiet", is_flag=True, help="do not say what to do next")
def init_command(into: Path, force: bool, quiet: bool) -> None:
    """Write an experiments.yaml with a few quick entries, in which each key is explained.

    It runs as it is, in seconds.

    \b
    Examples:
      resexp init
      resexp init --into study
      resexp init --force
    """
    from resexp.scaffold.create import create_batch
    from resexp_cli.console import Terminal

    file = create_batch(into, force=force)
    go = "" if into == Path() else f"cd {shlex.quote(str(into))} && "
    _tell(
        Terminal(quiet=quiet),
        (file,),
        (
            (f"{go}resexp run {file.name} --dry-run", "list what would run"),
            (f"{go}resexp run {file.name}", "run it, in seconds"),
            (f"{go}resexp schema > experiments.schema.json", "let your editor complete and check it"),
        ),
    )


@click.command("new-experiment", short_help="Write the file of a new experiment, which runs and agrees as it is.")
@click.argument("name", help="its name on the command line: lower-case words with hyphens, such as mean-square")
@click.option(
    "--kind",
    type=click.Choice(["ensemble", "table"]),
    default="ensemble",
    help="ensemble: measured on many random networks, the default; table: exact numbers",
)
@click.option("-q", "--quiet", is_flag=True, help="do not say what to do next")
@click.pass_context
def new_experiment_command(context: click.Context, name: str, kind: "Kind", quiet: bool) -> None:
    """Write an experiment NAME that measures something simple, for you to replace line by line.

    In a checkout of resexp that is one file, resexp/experiments/NAME.py, which the contract tests run by themselves.
    Elsewhere it is a plugin in a folder NAME: that file, a test and a pyproject.toml with the entry point by which
    resexp finds it.

    \b
    Examples:
      resexp new-experiment mean-square
      resexp new-experiment linear-regions --kind table
      resexp new-experiment my-scheme --quiet
    """
    from resexp.scaffold.create import create_experiment
    from resexp_cli.console import Terminal

    group = context.find_root().command
    taken = group.list_commands(context) if isinstance(group, click.Group) else ()
    made = create_experiment(name, Path.cwd(), kind, taken)
    if made.checkout is not None:
        shown = tuple(path.relative_to(made.checkout) for path in made.files)
        check: Steps = (
            (f"resexp {name} --quick", "run it"),
            ("python -m pip install -e '.[dev]' -c constraints.txt", "once: what the tests need"),
            (f"python -m pytest tests/test_contract.py -k {name}", "what every experiment must keep"),
        )
    else:
        shown = tuple(path.relative_to(Path.cwd()) for path in made.files)
        check = (
            (f"python -m pip install pytest -e ./{name}", "let resexp find it"),
            (f"resexp {name} --quick", "run it"),
            (f"python -m pytest {name}", "its tests"),
        )
    _tell(Terminal(quiet=quiet), shown, check)


def _tell(terminal: "Terminal", files: tuple[Path, ...], steps: Steps) -> None:
    """Say what was written on stdout, and on stderr what to do next."""
    for file in files:
        click.echo(str(file))
    width = max(len(command) for command, _ in steps)
    terminal.note("Next:")
    for command, meaning in steps:
        terminal.note(f"  {command:{width}}  {meaning}")
