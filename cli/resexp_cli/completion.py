"""completion: names on the Tab key, in bash, zsh and fish; and what completes each kind of name.

The shells ask as click's protocol says: the command itself, with _RESEXP_COMPLETE in the environment. Nothing heavy is
imported for an answer, and nothing is ever said on stderr: somebody is typing there.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    Items = list[CompletionItem[str]]

ASKED = "_RESEXP_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
INSTALL = {
    "bash": 'add to ~/.bashrc: eval "$(resexp completion bash)"',
    "zsh": 'add to ~/.zshrc, below compinit: eval "$(resexp completion zsh)"',
    "fish": "resexp completion fish > ~/.config/fish/completions/resexp.fish",
}
MOST_CELLS = 200
"""Stored results that are offered one by one; of more, the shell completes folders until an experiment is named."""
MOST_DESCRIBED = 50
"""Stored results whose settings are read, to be told beside them."""


def is_asked() -> bool:
    """Whether a shell asks for completions."""
    return ASKED in os.environ


def answer(group: click.Group) -> int:
    """Say what can follow on the line that the shell tells in its variables; exit code 0, whatever went wrong."""
    from resexp_cli.shells import register

    register()
    with suppress(Exception, SystemExit):  # `resexp list` says what is wrong with an experiment
        group.main(args=[], prog_name="resexp", complete_var=ASKED)
    return 0


@click.command("completion", short_help="What your shell needs to complete names on the Tab key.")
@click.argument("shell", type=click.Choice(SHELLS), help="bash (4.4 or later), zsh or fish")
def completion_command(shell: str) -> None:
    """Print the script by which your shell completes commands, options, choices, experiments, nets and stored results.

    Put the line for bash or zsh below at the end of ~/.bashrc or ~/.zshrc; run that for fish once. New shells know it.

    \b
    Examples:
      eval "$(resexp completion bash)"
      eval "$(resexp completion zsh)"
      resexp completion fish > ~/.config/fish/completions/resexp.fish
    """
    from resexp_cli.shells import script

    click.echo(script(shell, click.get_current_context().find_root().command, ASKED), nl=False)
    if sys.stdout is not None and sys.stdout.isatty():
        click.echo(f"\nTo have it in every shell, {INSTALL[shell]}", err=True)


def experiments_named(ctx: click.Context, param: click.Parameter, incomplete: str) -> "Items":
    """Names of experiments, each with what it measures."""
    from click.shell_completion import CompletionItem

    from resexp.runs.registry import experiments

    found = experiments().items()
    return [CompletionItem(name, help=cls.summary()) for name, cls in found if name.startswith(incomplete)]


def statements_named(ctx: click.Context, param: click.Parameter, incomplete: str) -> "Items":
    """Figures, equations and problems of the chapter, each with its statement."""
    from click.shell_completion import CompletionItem

    from resexp.chapter.statements import titles

    return [CompletionItem(name, help=title) for name, title in titles() if name.startswith(incomplete)]


def entries_named(ctx: click.Context, param: click.Parameter, incomplete: str) -> "Items":
    """Names of the entries of the YAML files that stand on the line already."""
    import yaml
    from click.shell_completion import CompletionItem

    said = [ctx.params.get("file"), *(ctx.params.get("sources") or ()), *ctx.args]
    files = [Path(one) for one in said if one and Path(one).suffix in {".yaml", ".yml"}]
    found: dict[str, str] = {}
    for file in files:
        document = yaml.load(file.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        found |= {str(name): str(entry.get("experiment", "")) for name, entry in document["experiments"].items()}
    return [CompletionItem(name, help=experiment) for name, experiment in found.items() if name.startswith(incomplete)]


def results_stored(ctx: click.Context, param: click.Parameter, incomplete: str) -> "Items":
    """Folders of stored results, each with its setting; after one to compare with, those of the same experiment."""
    from click.shell_completion import CompletionItem

    first = ctx.params.get("a")
    same = first.parent.name if isinstance(first, Path) and first.is_dir() else None
    out = ctx.params.get("out")
    found: list[Path] = []
    for folder in _experiment_folders(incomplete, out if isinstance(out, Path) else Path("results")):
        if same in {None, folder.name}:
            found += (cell for cell in _cells(folder) if str(cell).startswith(incomplete) and cell != first)
    if len(found) > MOST_CELLS and not _is_experiment(_typed_folder(incomplete)):
        return [CompletionItem(incomplete, type="file")]
    described = len(found) <= MOST_DESCRIBED
    cells = [CompletionItem(str(cell), help=_setting(cell) if described else None) for cell in found]
    return [*cells, CompletionItem(incomplete, type="file")]  # a CSV or YAML file is as good


def _typed_folder(incomplete: str) -> Path:
    """The folder that the word names up to its last slash."""
    return Path(incomplete.rpartition("/")[0] or ("/" if incomplete.startswith("/") else "."))


def _experiment_folders(incomplete: str, out: Path) -> list[Path]:
    """Folders of experiments whose cells the word may mean: the one it names, else those below it and below `out`."""
    from resexp.runs.stored import experiments_in

    typed = _typed_folder(incomplete)
    if _is_experiment(typed):
        return [typed]
    roots = dict.fromkeys((out, typed)) if incomplete else (out,)
    return list(dict.fromkeys(folder for root in roots for folder in experiments_in(root)))


def _is_experiment(folder: Path) -> bool:
    return next(_cells(folder), None) is not None


def _cells(folder: Path) -> Iterator[Path]:
    """Folders of stored results in the folder of an experiment."""
    from resexp.runs.stored import CELL

    if folder.is_dir():
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if CELL.fullmatch(entry.name)]
        yield from (folder / name for name in sorted(names) if (folder / name / "run.json").is_file())


def _setting(cell: Path) -> str | None:
    """What was said to make the result, as `depth 20, scheme plain`; its entry, if it was for one."""
    from resexp.core.errors import ResexpError
    from resexp.runs.stored import read_stored

    try:
        stored = read_stored(cell)
    except ResexpError:
        return "damaged"
    if stored is None:
        return None
    known: dict[str, Any] = {**stored.run["parameters"], "seed": stored.run.get("seed")}
    said = [name for name, source in (stored.run.get("sources") or {}).items() if source != "default" and name in known]
    return ", ".join([*([stored.entry] if stored.entry else []), *(f"{n.replace('_', ' ')} {known[n]}" for n in said)])
