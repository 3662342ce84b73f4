"""The reference, read from the declarations of the experiments and from the commands themselves."""

import ast
import importlib
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_origin

import annotated_types
import click
from pydantic.fields import FieldInfo

from making import examples
from resexp.chapter.statements import Chapter
from resexp.core.ensemble import Ensemble
from resexp.core.errors import ResexpError
from resexp.core.experiment import Experiment
from resexp.core.result import Quantity
from resexp.core.table import Table
from resexp.runs.registry import experiments
from resexp.runs.resolve import environment_variable
from resexp.runs.settings import Settings
from resexp_cli.main import cli
from resexp_cli.options import output_options, parameter_options, settings_options

THEORY = "resexp.theory"
WIDTH = 100
"""Columns of captured help."""

SETTINGS_EXAMPLES = (
    "resexp variance --seed 7 --dtype float64 --threads 2 --memory 2GB --device cpu",
    "resexp variance --settings study.yaml",
    "resexp variance --quick",
)
OUTPUT_EXAMPLES = (
    "resexp variance --format json --out study --plot study/variance.svg --quiet",
    "resexp variance --no-save --check",
    "resexp variance --force --verbose",
    "resexp variance --dry-run",
)
BOUNDS = {annotated_types.Ge: "≥", annotated_types.Gt: ">", annotated_types.Le: "≤", annotated_types.Lt: "<"}


@dataclass(frozen=True)
class Option:
    """One option or argument: how it is written, what it means, what it takes, an example, its variable."""

    written: str
    anchor: str
    takes: str
    meaning: str
    default: str
    allowed: str
    example: str
    variable: str


@dataclass(frozen=True)
class Reference:
    """The page of an experiment."""

    name: str
    summary: str
    version: int
    kind: str
    variable: str
    mathematics: Sequence[tuple[str, str]]
    parameters: Sequence[Option]
    columns: Sequence[str]
    quantities: Sequence[Quantity]
    examples: Sequence[str]
    quick: Mapping[str, str]
    statements: Sequence[tuple[str, str, str]]
    theory: Sequence[str]
    help: str


@dataclass(frozen=True)
class Verb:
    """The page of a command that is no experiment."""

    name: str
    summary: str
    help: str
    options: Sequence[Option]
    examples: Mapping[str, str]


def experiment_reference(name: str) -> Reference:
    """All that is said of an experiment. Raises ResexpError where an example is missing."""
    found = experiments()[name]
    quick = found.parse(dict(found.quick))
    columns = quick.columns_here() if isinstance(quick, Ensemble | Table) else ()
    return Reference(
        name=name,
        summary=found.summary(),
        version=found.version,
        kind="exact numbers" if not found.random else "many random networks",
        variable=environment_variable(found, "")[:-1],
        mathematics=prose(found.mathematics()),
        parameters=[parameter_option(found, parameter) for parameter in found.model_fields],
        columns=columns,
        quantities=quick.quantities_here() if isinstance(quick, Ensemble) else (),
        examples=[f"resexp {example}" for example in found.examples],
        quick={key: _plain(value) for key, value in found.quick.items()},
        statements=_statements_of(name),
        theory=theories_of(found),
        help=help_of(name),
    )


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def parameter_option(experiment: type[Experiment], name: str) -> Option:
    """All that is said of a parameter. Raises ResexpError where no example is known."""
    field = experiment.model_fields[name]
    (option,) = (o for o in parameter_options(experiment) if o.name == name)
    example = examples.command(experiment, name)
    if example is None:
        raise ResexpError(
            f"{experiment.name()}: no example is known for its parameter {name}. Add one that sets it to the "
            "experiment's `examples`, or to docs/site/examples.yaml."
        )
    return Option(
        written=name if isinstance(option, click.Argument) else ", ".join([*option.opts, *option.secondary_opts]),
        anchor=f"parameter-{name.replace('_', '-')}",
        takes=_takes(option),
        meaning=field.description or "",
        default=_default(field),
        allowed=_allowed(field, _takes(option)),
        example=example,
        variable=environment_variable(experiment, name),
    )


def common_options() -> tuple[list[Option], list[Option]]:
    """The settings that all experiments have, and the options for their output."""
    prefix = "RESEXP_EXPERIMENT"
    return (
        [_fixed(option, prefix) for option in settings_options(prefix)],
        [_fixed(option, prefix) for option in output_options(prefix)],
    )


def _fixed(option: click.Parameter, prefix: str = "") -> Option:
    field = Settings.model_fields.get(str(option.name))
    longest = max(option.opts, key=len)
    help_text = getattr(option, "help", None) or ""
    variable = option.envvar if isinstance(option.envvar, str) else ""
    if field is not None and prefix:
        variable = f"{prefix}_{str(option.name).upper()}"
    return Option(
        written=", ".join([*sorted(option.opts, key=len), *option.secondary_opts]),
        anchor=f"option-{longest.lstrip('-').lower()}",
        takes=_takes(option),
        meaning=field.description or "" if field is not None else re.sub(r"\s*\[default: .*?\]", "", help_text),
        default=_default(field) if field is not None else _default_in(option, help_text),
        allowed=_allowed(field, _takes(option)) if field is not None else "",
        example="",
        variable=variable,
    )


def _takes(option: click.Parameter) -> str:
    if isinstance(option, click.Option) and option.is_flag:
        return ""
    return option.make_metavar(click.Context(click.Command("resexp"))).removesuffix("...").strip("[]")


def _default_in(option: click.Parameter, help_text: str) -> str:
    found = re.search(r"\[default: (.*?)\]", help_text)
    if found:
        return found[1]
    told = isinstance(option, click.Option) and isinstance(option.default, str)
    return str(option.default) if told else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    if isinstance(value, tuple):
        return _plain(value) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else str(value)


def _allowed(field: FieldInfo, takes: str) -> str:
    """Constraints of a parameter, as in `≥ 1; ≤ 64`."""
    found = []
    for rule in field.metadata:
        for kind, sign in BOUNDS.items():
            if isinstance(rule, kind):
                found.append(f"{sign} {getattr(rule, kind.__name__.lower()):,}")
    annotation: Any = field.annotation
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
        found.append("a list")
    choices = [choice for choice in get_args(annotation) if isinstance(choice, str)]
    if choices and takes == "NAME":  # else they stand in the place of a value
        found.append(", ".join(choices))
    return "; ".join(found)


def verbs() -> list[str]:
    """Names of the commands that are no experiment."""
    context = click.Context(cli, info_name="resexp")
    return [name for name in cli.list_commands(context) if name not in experiments()]


def verb_reference(name: str) -> Verb:
    """All that is said of a command."""
    command = cli.get_command(click.Context(cli, info_name="resexp"), name)
    assert command is not None
    options = [_fixed(option) for option in command.params]
    return Verb(name, command.get_short_help_str(200), help_of(name), options, examples.of_verb(name))


def help_of(*names: str) -> str:
    """What `resexp NAME --help` prints; of the whole program without a name."""
    context: click.Context = click.Context(cli, info_name="resexp", max_content_width=WIDTH, terminal_width=WIDTH)
    command: click.Command | None = cli
    for name in names:
        command = cli.get_command(context, name)
        context = click.Context(
            command or cli,
            info_name=name,
            parent=context,
            max_content_width=WIDTH,
            terminal_width=WIDTH,
            help_option_names=["-h", "--help"],
        )
    assert command is not None
    return command.get_help(context)


def prose(text: str) -> list[tuple[str, str]]:
    """A docstring in pieces: `text` for what is filled, `formula` for what is indented and stands as it is."""
    pieces: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        kind = "formula" if line.startswith(" ") else "text"
        blank = not line.strip()
        if blank and pieces and pieces[-1][0] == "formula":
            pieces[-1][1].append("")
        elif blank or not pieces or pieces[-1][0] != kind or (kind == "text" and not pieces[-1][1]):
            pieces.append((kind, [] if blank else [line]))
        else:
            pieces[-1][1].append(line)
    return [(kind, textwrap.dedent("\n".join(lines)).strip("\n")) for kind, lines in pieces if any(lines)]


@lru_cache(maxsize=1)
def _chapter() -> Chapter:
    return Chapter.load()


def _statements_of(name: str) -> list[tuple[str, str, str]]:
    """Anchor, label and title of each statement of the chapter that the experiment shows."""
    chapter = _chapter()
    return [
        (statement.anchor, statement.label, statement.title)
        for statement in chapter.statements
        if any(chapter.entries[run].experiment == name for run in statement.runs)
    ]


def theories_of(experiment: type[Experiment]) -> list[str]:
    """Modules of resexp.theory that the experiment takes its theory from, by themselves or through others, by name."""
    found: dict[str, None] = {}
    modules = [experiment.__module__]
    for module in modules:
        file = Path(str(importlib.import_module(module).__file__))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(THEORY):
                continue
            inside = str(node.module).removeprefix(THEORY).lstrip(".")
            for name in [inside] if inside else [alias.name for alias in node.names]:
                if name not in found:
                    found[name] = None
                    modules.append(f"{THEORY}.{name}")
    return list(found)
