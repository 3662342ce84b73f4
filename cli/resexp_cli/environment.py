"""Environment variables that look like ours and are not read by anything: misspelt ones, most likely."""

import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from resexp.core.errors import nearest
from resexp.core.experiment import Experiment
from resexp.runs.registry import experiments
from resexp.runs.resolve import environment_variable
from resexp.runs.settings import Settings
from resexp_cli.options import output_options, settings_options

if TYPE_CHECKING:
    from resexp_cli.console import Terminal

OURS = "RESEXP_"
OTHERS = ("RESEXP_CHECKPOINTS",)
"""Variables that are no option's: the folder of trained networks."""


def warn_of_misspelt(terminal: "Terminal") -> None:
    """Say it of each of them."""
    for sentence in misspelt():
        terminal.warn(sentence)


def misspelt(environment: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each variable that begins with RESEXP_ and that nothing reads. environment: by default our own."""
    said = [name for name in (os.environ if environment is None else environment) if name.startswith(OURS)]
    if not said:
        return []
    known = {*OTHERS, *(name for experiment in experiments().values() for name in variables_of(experiment))}
    return [_sentence(name, known) for name in sorted(said) if name not in known]


def _sentence(name: str, known: Collection[str]) -> str:
    """What to say of it; what all names begin with makes no two of them alike."""
    hint = nearest(name.removeprefix(OURS), [one.removeprefix(OURS) for one in known]).replace("'", f"'{OURS}", 1)
    return f"{name} is set in the environment, and nothing reads it{hint or f': names are {OURS}EXPERIMENT_OPTION'}."


def variables_of(experiment: type[Experiment]) -> Iterator[str]:
    """Names of the variables that set something of an experiment."""
    from resexp.runs.override import SEEDS

    declared = (*experiment.model_fields, *Settings.model_fields, *([SEEDS] if experiment.random else []))
    yield from (environment_variable(experiment, name) for name in declared)
    prefix = environment_variable(experiment, "")[:-1]
    for option in (*settings_options(prefix), *output_options(prefix)):
        if isinstance(option.envvar, str):
            yield option.envvar
