"""Every help page shows three examples or more, each can be run as it stands; errors say what to do next."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from resexp_cli.main import VERBS, cli

from .conftest import Resexp

LEAST = 3


def pages() -> Iterator[tuple[str, click.Command]]:
    """Every command of the tree by the words that call it, the group itself first."""

    def below(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from below(f"{words} {name}", found)

    yield from below("resexp", cli)


PAGES = dict(pages())


def examples(words: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines under `Examples:` of a help page, as people see it."""
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main([*words.split()[1:], "--help"], prog_name="resexp")
    found = re.search(r"^ *Examples:\n((?:    ?.+\n)+)", capsys.readouterr().out, re.MULTILINE)
    return [line.strip() for line in found[1].splitlines()] if found else []


def parsed(example: str) -> list[str]:
    """Parse the command that an example of a shell runs, without running it; its name and arguments."""
    words = shlex.shlex(example.removeprefix('eval "$(').removesuffix(')"'), posix=True, punctuation_chars="|>&;")
    words.whitespace_split = True
    command = []
    for word in words:
        if set(word) <= set("|>&;"):
            break
        command.append(word)
    while "=" in command[0]:  # a variable of the environment before the command
        del command[0]
    assert command[0] == "resexp", example
    context = cli.make_context("resexp", command[1:])
    name, found, arguments = cli.resolve_command(context, [*context._protected_args, *context.args])
    assert found is not None
    found.make_context(name, arguments, parent=context)
    return command[1:]


@pytest.mark.parametrize("words", PAGES)
def test_a_help_page_has_three_examples_that_are_commands(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = examples(words, capsys)
    assert len(found) >= LEAST
    assert len(set(found)) == len(found)
    for example in found:
        command = parsed(example)
        assert words in ("resexp", f"resexp {command[0]}"), example


@pytest.mark.parametrize(
    "wrong", ["resexp variance --no-such 1", "resexp compare only-one", "resexp list --format xml", "resexp nosuch"]
)
def test_an_example_that_is_wrong_would_be_found(wrong: str) -> None:
    with pytest.raises(Exception, match=r"No such option|Missing parameter|is not one of|There is no command"):
        parsed(wrong)


@pytest.mark.parametrize("words", PAGES)
def test_an_option_that_is_not_there_is_answered_with_where_to_look(resexp: Resexp, words: str) -> None:
    ended = resexp(*words.split()[1:], "--no-such-option")
    assert ended.code == 2
    assert ended.err.endswith(f"Try '{words} --help'.\n")


NEEDING = [name for name, command in VERBS.items() if name and any(p.required for p in command.params)]


@pytest.mark.parametrize("name", NEEDING)
def test_an_argument_that_is_missing_is_answered_with_where_to_look(resexp: Resexp, name: str) -> None:
    ended = resexp(name)
    assert ended.code == 2
    assert "Missing argument" in ended.err
    assert ended.err.endswith(f"Try 'resexp {name} --help'.\n")
