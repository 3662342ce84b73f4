"""The lab: where an experiment runs, and the random streams it runs on.

A random number depends on (seed, experiment, what it is for, which networks, which layer) and on nothing else:
not on chunks, threads, workers, or what ran before.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from resexp.core.errors import MissingError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all) as a measurement goes on."""

Say = Callable[[str], None]
"""Called with a few words on where a measurement stands, such as the loss of a training."""

FloatType = Literal["float32", "float64"]


def no_progress(done: int, total: int) -> None:
    """Progress that tells nobody."""


def say_nothing(words: str) -> None:
    """Words that nobody reads."""


def quarter_of_memory() -> int:
    """Bytes of a quarter of this machine's memory: the default memory budget."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4


def readable(count: float) -> str:
    """Bytes with a unit."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


@dataclass(frozen=True)
class Lab:
    """Device, dtype, seed and budgets of one run. memory: bytes."""

    experiment: str
    seed: int = 0
    device: str = "cpu"
    dtype: FloatType = "float32"
    threads: int = 1
    memory: int = field(default_factory=quarter_of_memory)
    progress: Progress = no_progress
    say: Say = say_nothing

    def key(self, purpose: str, *position: int) -> int:
        """Mix (seed, experiment, purpose, position) into 128 bits that seed one stream of random numbers."""
        text = f"{self.seed}/{self.experiment}/{purpose}/" + "/".join(map(str, position))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")

    def bit_stream(self, purpose: str, *position: int) -> "np.random.SFC64":
        """Raw 64-bit stream for a purpose and position; streams of different keys are independent."""
        import numpy as np

        return np.random.SFC64(self.key(purpose, *position))

    def share(self, first: int, after: int, of: int) -> "Lab":
        """This lab for a part of the work, from `first` to `after` of so much; it tells progress of the whole."""

        def progress(done: int, total: int) -> None:
            self.progress(first * total + (after - first) * done, of * total)

        return replace(self, progress=progress)

    def afford(self, needed: int, what: str) -> int:
        """The bytes needed. Raises UsageError where they exceed the budget; what: settings that decide, with values."""
        if needed > self.memory:
            raise self.too_large(needed, what)
        return needed

    def too_large(self, needed: float, what: str) -> UsageError:
        """What to say of settings that take too much memory. needed: bytes."""
        return UsageError(
            f"{what}: about {readable(needed)} of memory needed, and the budget is {readable(self.memory)}. "
            "Use smaller settings, or raise --memory."
        )

    @property
    def torch_device(self) -> "torch.device":
        """The torch device this lab computes on."""
        import torch

        return torch.device(self.device)

    @property
    def torch_dtype(self) -> "torch.dtype":
        """The torch dtype this lab computes in."""
        import torch

        return torch.float64 if self.dtype == "float64" else torch.float32


def resolve_device(asked: str) -> str:
    """Turn `auto|cpu|cuda[:n]|mps` into a device that exists here.

    Raises MissingError where the asked device is absent.
    """
    kind, _, index = asked.partition(":")
    if kind == "cpu":
        return "cpu"
    import torch

    if kind == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise MissingError("--device mps: this machine has no Apple GPU that torch can use; try --device cpu.")
        return "mps"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count <= int(index or 0):
        found = f"torch sees {count} CUDA device{'s' if count != 1 else ''}" if count else "torch sees no CUDA device"
        raise MissingError(f"--device {asked}: {found} here; try --device cpu or --device auto.")
    return asked
