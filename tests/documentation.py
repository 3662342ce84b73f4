"""What the tests of the documentation share: its builder, its pages, their commands."""

import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click

from resexp.runs.registry import experiments
from resexp.runs.resolve import resolve
from resexp_cli import main

ROOT = Path(__file__).parent.parent
SITE = ROOT / "docs" / "site"
sys.path.append(str(SITE))

from making import contents, examples, formulas, links, meanings, notebooks, reference, sources  # noqa: E402, F401

PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
MISTAKES = ("resexp variance --dept 3", "resexp variance --depth 0", "resexp varience")
IMAGINED = ("mean-square",)
PLACEHOLDER = re.compile(r"\b(NAME|FILE|EXPERIMENT|SHELL|OPTION|COMMAND|URL)\b|\.\.\.|…")


@cache
def verb(name: str) -> click.Command:
    found = main.cli.get_command(click.Context(main.cli, info_name="resexp"), name)
    assert found is not None
    return found


def read(command: str) -> dict[str, Any]:
    """Parse a command as the program does, and validate its values; nothing is run."""
    _, name, *words = shlex.split(command, comments=True)
    if name.startswith("-"):
        assert name in {"--help", "-h", "--version"}
        return {}
    if "--help" in words or "-h" in words:
        return {}
    said = verb(name).make_context(name, words, parent=click.Context(main.cli, info_name="resexp")).params
    if name in experiments():
        found = experiments()[name]
        own = {*found.model_fields, "seed", "device", "dtype", "threads", "memory"}
        flags = {key: value for key, value in said.items() if key in own and value not in (None, ())}
        resolve(found, flags, quick=bool(said["quick"]), environment={})
    return said


def is_for_readers(command: str) -> bool:
    """Whether a command of a page is a pattern, a mistake on purpose, or of an experiment that is to be written."""
    name = command.split()[1]
    return command in MISTAKES or name in IMAGINED or PLACEHOLDER.search(command) is not None


def all_examples() -> Iterator[str]:
    """Commands of the pages, of the help and of the reference."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        yield from (*sources.commands_of(text), *sources.commands_spoken_of(text))
    for name in reference.verbs():
        yield from (line.strip() for line in reference.help_of(name).splitlines() if line.startswith("    resexp "))
        yield from examples.of_verb(name)
    yield from (*reference.SETTINGS_EXAMPLES, *reference.OUTPUT_EXAMPLES)
