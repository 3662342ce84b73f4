"""resexp: a laboratory for residual networks."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from resexp.api import probe as probe
    from resexp.interface import Results as Results
    from resexp.interface import load as load
    from resexp.interface import run as run
    from resexp.interface import sweep as sweep

_PLACES = {"probe": "api", "run": "interface", "sweep": "interface", "load": "interface", "Results": "interface"}
"""Modules of what Python code calls: imported when it is asked for, since torch takes a second."""


def __getattr__(name: str) -> Any:
    """What Python code calls."""
    if name not in _PLACES:
        raise AttributeError(f"module 'resexp' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"resexp.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    """Names that can be completed."""
    return ["__version__", *_PLACES]
