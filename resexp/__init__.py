"""resexp: a laboratory for residual networks."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from resexp.api import probe as probe


def __getattr__(name: str) -> Any:
    """`resexp.probe`, imported when it is asked for: it takes torch, which takes a second."""
    if name == "probe":
        from resexp.api import probe

        return probe
    raise AttributeError(f"module 'resexp' has no attribute '{name}'")
