"""Which experiments there are: the modules of resexp.experiments, and entry points of third parties.

Importing an experiment's module is cheap by contract: torch, scipy and matplotlib are imported inside functions.
"""

import importlib
import inspect
import pkgutil
from functools import cache, lru_cache
from importlib.metadata import entry_points

import resexp.experiments
from resexp.core.errors import ResexpError, UsageError, nearest
from resexp.core.experiment import Experiment

ENTRY_POINT_GROUP = "resexp.experiments"


@lru_cache(maxsize=1)
def experiments() -> dict[str, type[Experiment]]:
    """All experiments by name, sorted. Raises ResexpError for one that cannot be loaded, and says which file it is in.

    Files whose names begin with an underscore are no experiments.
    """
    return {name: load(name) for name in modules()}


@lru_cache(maxsize=1)
def modules() -> dict[str, str]:
    """The module of each experiment by the experiment's name, sorted; none of them is loaded."""
    package = resexp.experiments
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]
    found = {name.replace("_", "-"): f"{package.__name__}.{name}" for name in names}
    found |= {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return dict(sorted(found.items()))


@cache
def load(name: str) -> type[Experiment]:
    """One experiment, without the others. Raises ResexpError where it cannot be loaded, KeyError where none is."""
    return _load(modules()[name])


def forget() -> None:
    """Look again, for experiments that were installed while the program ran."""
    for known in (experiments, modules, load):
        known.cache_clear()


def experiment(name: str) -> type[Experiment]:
    """The experiment of that name; UsageError with the nearest name where there is none."""
    known = experiments()
    if name not in known:
        raise UsageError(f"There is no experiment '{name}'{nearest(name, known)}. `resexp list` shows all.")
    return known[name]


def _load(module_name: str) -> type[Experiment]:
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        told = str(error).partition("\n")[0]
        raise ResexpError(
            f"The experiment in {module_name} cannot be loaded: {type(error).__name__}: {told} "
            "Repair the file, or move it away."
        ) from error
    declared = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Experiment)
        and not inspect.isabstract(value)
        and value.__module__ == module_name
    ]
    if len(declared) != 1:
        raise ResexpError(f"{module_name} must declare exactly one experiment; it declares {len(declared)}.")
    return declared[0]
