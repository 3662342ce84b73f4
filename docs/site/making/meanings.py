"""Words for what the program names: columns, ways of judging, kinds of theory, exit codes, environment variables."""

import re
from collections.abc import Iterable, Mapping
from typing import get_args

from resexp.core.errors import ResexpError
from resexp.core.result import STATISTICS_COLUMNS, Judged, TheoryKind
from resexp.runs.registry import experiments
from resexp_cli.environment import OTHERS, variables_of
from resexp_cli.main import cli

COLUMNS = {
    "mean": "mean over networks",
    "stderr": "its standard error",
    "ci_low": "lower end of the 95 % interval of the mean over networks",
    "ci_high": "its upper end",
    "median": "median over networks: what a typical one does",
    "draws": "how many networks",
    "theory": "what theory says of the mean; empty where nothing is known",
    "theory_kind": "exact, limit, finite-width, monte-carlo or reference",
    "verdict": "agree, disagree, underpowered, not judged or no theory",
}
JUDGED = {
    "log increments": "growth of each network from row to row, as a factor",
    "increments": "what each network adds from row to row",
    "level": "the number itself",
    "ratio": "ratio of means over networks",
    "share": "whether it holds in most networks",
    "nothing": "shown, not judged",
}
KINDS = {
    "exact": "holds at any width, batch and depth, to rounding",
    "limit": "infinite width, at times a large batch or many channels too; a bound on what this width adds is declared",
    "finite-width": "a limit with its first correction in 1/width",
    "monte-carlo": "a limit whose last step is an integral by random numbers of the theory's own",
    "reference": "what others saw, on other data or in a model; no law",
}
VARIABLES = {
    "RESEXP_EXPERIMENT_OPTION": "the option of that experiment, such as RESEXP_VARIANCE_DEPTH; a flag outweighs it, it "
    "outweighs a file; entries of a batch too",
    "RESEXP_CHECKPOINTS": "folder where networks in training are kept, so that a training that was cut off goes on; "
    "else resexp/checkpoints in XDG_CACHE_HOME, or in ~/.cache",
    "COLUMNS": "width of tables",
    "NO_COLOR": "set to anything: no colours",
    "FORCE_COLOR": "set to anything: colours and tables in a pipe too",
    "OMP_NUM_THREADS": "threads of a single operation; resexp computes on --threads of its own, so 1 is best",
}


def columns() -> dict[str, str]:
    """Columns of a measured number."""
    return _all(COLUMNS, STATISTICS_COLUMNS, "column")


def judged() -> dict[str, str]:
    """Ways in which a quantity is held against theory."""
    return _all(JUDGED, get_args(Judged), "way of judging")


def kinds() -> dict[str, str]:
    """Kinds of theory."""
    return _all(KINDS, get_args(TheoryKind), "kind of theory")


def variables() -> dict[str, str]:
    """Environment variables that are no single option's."""
    missing = set(OTHERS) - set(VARIABLES)
    if missing:
        raise ResexpError(f"docs/site/making/meanings.py does not explain the variable {missing.pop()}.")
    return VARIABLES


def every_variable() -> list[str]:
    """Names of the variables of all options of all experiments."""
    return sorted({name for experiment in experiments().values() for name in variables_of(experiment)})


def exit_codes() -> list[tuple[str, str]]:
    """Codes and what they mean, as the help of the program says."""
    return re.findall(r"(\d+) ((?:(?!, \d).)+?)(?=, \d|\.$)", cli.epilog or "")


def _all(words: Mapping[str, str], names: Iterable[str], what: str) -> dict[str, str]:
    """The words in the order of the names. Raises ResexpError where one has none."""
    for name in names:
        if name not in words:
            raise ResexpError(f"docs/site/making/meanings.py does not explain the {what} '{name}'.")
    return {name: words[name] for name in names}
