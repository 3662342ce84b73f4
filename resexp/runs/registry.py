"""Which experiments there are: the modules of resexp.experiments, and entry points of third parties.

Importing an experiment's module is cheap by contract: torch, scipy and matplotlib are imported inside functions.
"""

import importlib
import inspect
import pkgutil
from functools import lru_cache
from importlib.metadata import entry_points

import resexp.experiments
from resexp.core.errors import ResexpError, UsageError, nearest
from resexp.core.experiment import Experiment

ENTRY_POINT_GROUP = "resexp.experiments"


@lru_cache(maxsize=1)
def experiments() -> dict[str, type[Experiment]]:
    """All experiments by name, sorted. Raises ResexpError for a third party's that cannot be loaded."""
    found = {}
    for module in pkgutil.iter_modules(resexp.experiments.__path__):
        experiment = _declared_in(f"{resexp.experiments.__name__}.{module.name}")
        found[experiment.name()] = experiment
    for point in entry_points(group=ENTRY_POINT_GROUP):
        found[point.name] = _load(point.name, point.value)
    return dict(sorted(found.items()))


def experiment(name: str) -> type[Experiment]:
    """The experiment of that name; UsageError with the nearest name where there is none."""
    known = experiments()
    if name not in known:
        raise UsageError(f"There is no experiment '{name}'{nearest(name, known)}. `resexp list` shows all.")
    return known[name]


def _declared_in(module_name: str) -> type[Experiment]:
    module = importlib.import_module(module_name)
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


def _load(name: str, module_name: str) -> type[Experiment]:
    try:
        return _declared_in(module_name)
    except ImportError as error:
        raise ResexpError(
            f"The plugin experiment '{name}' cannot be imported from {module_name}: {error}. "
            "Repair or uninstall the package that provides it."
        ) from error
