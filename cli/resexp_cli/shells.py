"""What bash, zsh and fish are told, beyond what click tells them.

bash breaks words at `:` and `=`, and names of nets have both. zsh and fish hand over `--option=value` as one word, and
take back the whole of it. A name may have commas, at which click's script for fish would cut it.
"""

import os
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

BASH = """\
%(complete_func)s() {
    local line kind value
    COMPREPLY=()
    while IFS= read -r line; do
        kind=${line%%%%,*} value=${line#*,}
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
FISH = """\
function %(complete_func)s
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp | string collect) \
COMP_CWORD=(commandline -ct | string collect) %(prog_name)s)
    for completion in $response
        set -l metadata (string split --max 1 "," -- $completion)
        switch $metadata[1]
            case dir
                __fish_complete_directories $metadata[2]
            case file
                __fish_complete_path $metadata[2]
            case plain
                echo $metadata[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class Bash(BashComplete):
    """The line up to the cursor is read here, not by bash, whose words end at each colon."""

    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Whole words before the cursor, and the one it stands in."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """What follows the last break in the word, which is all that bash replaces."""
        found = super().get_completions(args, incomplete)
        breaks = set(os.environ.get("COMP_WORDBREAKS", "")) & set(":=")
        value = incomplete.partition("=")[2] if incomplete.startswith("-") else incomplete
        kept = max((value.rfind(sign) + 1 for sign in breaks), default=0)
        return [_with_value(item, item.value[kept:]) if item.type == "plain" and kept else item for item in found]


class _WholeWord(ShellComplete):
    """A shell that replaces the whole word, `--option=` included."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if not (equals and option.startswith("-")):
            return found
        return [_with_value(item, f"{option}={item.value}") if item.type == "plain" else item for item in found]


class Zsh(_WholeWord, ZshComplete):
    """zsh."""


class Fish(_WholeWord, FishComplete):
    """fish."""

    source_template = FISH


CLASSES: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


def register() -> None:
    """Let click answer with these."""
    for name, cls in CLASSES.items():
        add_completion_class(cls, name)


def script(shell: str, command: click.Command, variable: str) -> str:
    """What the shell reads once. variable: by which it asks, in the environment."""
    return CLASSES[shell](command, {}, "resexp", variable).source()


def _with_value(item: CompletionItem[Any], value: str) -> CompletionItem[str]:
    return CompletionItem(value, type=item.type, help=item.help)
