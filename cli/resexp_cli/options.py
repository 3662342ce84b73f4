"""Declared parameters as click options: the only place that knows both."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from resexp.core.experiment import Experiment, is_positional
from resexp.runs.settings import Settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

WIDEST_METAVAR = 66
NAMES_OF_TYPES = {int: "INTEGER", float: "NUMBER", str: "TEXT"}


class Values(click.ParamType[str]):
    """Text that stands for one value, a list or a range; the experiment's declaration validates each value."""

    name = "values"

    def __init__(self, metavar: str, choices: tuple[str, ...]) -> None:
        self.metavar, self.choices = metavar, choices

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows in place of a value."""
        return self.metavar

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        """Complete the last of a list of choices."""
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + c) for c in self.choices if c.startswith(last)]


class Names(Values):
    """Names of nets, whose commas belong to them, or of code of the user's.

    own: names that the experiment adds; nets: whether those of the zoo are meant; files: whether files are.
    """

    def __init__(self, metavar: str, own: tuple[str, ...], *, nets: bool, files: bool) -> None:
        super().__init__(metavar, ())
        self.own, self.nets, self.files = own, nets, files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        """Complete the whole of a name."""
        from click.shell_completion import CompletionItem

        from resexp.nets.zoo import FAMILIES

        families = FAMILIES.values() if self.nets else ()
        told = dict.fromkeys(self.own, "the default") | {n: one.description for one in families for n in one.examples}
        found = [CompletionItem(name, help=meaning) for name, meaning in told.items() if name.startswith(incomplete)]
        return [*found, *([CompletionItem(incomplete, type="file")] if self.files else [])]


def parameter_options(experiment: type[Experiment]) -> list[click.Parameter]:
    """An option or argument for each parameter of an experiment."""
    files = experiment.runs_code
    return [_option(name, field, names_files=name in files) for name, field in experiment.model_fields.items()]


def settings_options(prefix: str) -> list[click.Parameter]:
    """An option for each common setting, a file of values, and the small setting."""
    return [
        *(_option(name, field) for name, field in Settings.model_fields.items()),
        _fixed_option(
            prefix,
            "--settings",
            "settings_file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="YAML file with values for the options above",
        ),
        _fixed_option(prefix, "--quick", is_flag=True, help="the small setting that the tests run"),
    ]


def output_options(prefix: str) -> list[click.Parameter]:
    """Options of every command that runs something; `prefix` begins their environment variables."""
    formats = click.Choice(["auto", "table", "csv", "json", "markdown", "text"])
    folder = click.Path(file_okay=False, path_type=Path)
    file = click.Path(dir_okay=False, path_type=Path)

    def option(*names: str, **attributes: Any) -> click.Option:
        return _fixed_option(prefix, *names, **attributes)

    return [
        option(
            "--format",
            type=formats,
            default="auto",
            help="auto: a table on a terminal, CSV when piped; text: of formulas",
        ),
        option("--out", type=folder, default=Path("results"), help="folder of stored results [default: results]"),
        option("--no-save", is_flag=True, help="store nothing and read nothing back"),
        option("--force", is_flag=True, help="run again what is stored already"),
        option("--plot", type=file, help="draw a figure: png, svg or pdf"),
        option(
            "--check",
            is_flag=True,
            help="exit with 1 if measurement and theory disagree beyond chance, or nothing was judged",
        ),
        option("--dry-run", is_flag=True, help="show what would run, its memory and time; run nothing"),
        option("-q", "--quiet", is_flag=True, help="no progress and no notes on stderr"),
        option("-v", "--verbose", is_flag=True, help="say every value and where it came from"),
    ]


def _option(name: str, field: FieldInfo, *, names_files: bool = False) -> click.Parameter:
    values, told = _values(field, names_files), ""
    if values.choices and not _fits(values.choices):
        told = f": {', '.join(values.choices)}"
    default = "" if told and field.default == values.choices else _default(field)
    help_text = f"{(field.description or '').strip()}{told}{default or (' [default: all]' if told else '')}"
    if is_positional(field):
        several = get_origin(field.annotation) is tuple
        return click.Argument([name], required=False, nargs=-1 if several else 1, type=values, help=help_text)
    option = name.replace("_", "-")
    if field.annotation is bool:
        return click.Option([f"--{option}/--no-{option}", name], default=None, help=help_text)
    return click.Option([f"--{option}", name], default=None, type=values, help=help_text)


def _fixed_option(prefix: str, *names: str, **attributes: Any) -> click.Option:
    """An option that no model declares, with its environment variable."""
    longest = next(name for name in names if name.startswith("--"))
    variable = f"{prefix}_{longest.removeprefix('--').replace('-', '_').upper()}"
    return click.Option(list(names), envvar=variable, **attributes)


def _fits(choices: tuple[str, ...]) -> bool:
    """Whether choices can stand in the place of a value; else they are told beside it."""
    return len("|".join(choices)) <= WIDEST_METAVAR


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return f" [default: {str(value).lower() if isinstance(value, bool) else value}]"


def _names_nets(field: FieldInfo) -> bool:
    """Whether a net of the zoo is an example in the meaning of the parameter, as in `such as resnet:50`."""
    from resexp.nets.zoo import FAMILIES

    words = re.findall(r"([\w+-]+):\w", field.description or "")
    return any(word in FAMILIES for word in words)


def _values(field: FieldInfo, names_files: bool) -> Values:
    annotation: Any = field.annotation
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in {Literal, None}:  # `X | None`: the option is given or it is not
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return Values("|".join(choices) if _fits(choices) else "NAME", choices)
    metavar = NAMES_OF_TYPES.get(annotation, "TEXT")
    nets = annotation is str and _names_nets(field)
    if not (nets or names_files):
        return Values(metavar, ())
    own = field.default if isinstance(field.default, tuple) else (field.default,)
    return Names(metavar, tuple(filter(None, own)) if nets else (), nets=nets, files=names_files)
