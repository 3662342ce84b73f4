"""A cell: one experiment at one setting. What identifies it, and how it is run."""

import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from resexp import __version__
from resexp.core.errors import ResexpError
from resexp.core.experiment import Experiment
from resexp.core.lab import Lab, Progress, Say, no_progress, resolve_device, say_nothing
from resexp.core.result import Result
from resexp.runs.settings import Settings, memory_bytes


@dataclass(frozen=True)
class Cell:
    """One experiment at one setting; sources says where each value came from (flag, environment, file, default)."""

    experiment: Experiment
    settings: Settings
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return type(self.experiment).name()

    @cached_property
    def device(self) -> str:
        """The device this cell runs on here. Raises MissingError where it is absent."""
        return resolve_device(self.settings.device) if type(self.experiment).random else "cpu"

    @cached_property
    def kind(self) -> str:
        """Kind of device that the numbers depend on: what was asked for, even if it is absent, or what `auto` is."""
        asked = self.settings.device
        return (self.device if asked == "auto" else asked).partition(":")[0]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that the numbers depend on: experiment and its version, parameters, seed, dtype, kind of device."""
        identity: dict[str, Any] = {
            "experiment": self.name,
            "version": type(self.experiment).version,
            "parameters": self.experiment.model_dump(mode="json"),
        }
        content = self.experiment.content()
        if content:
            identity["content"] = dict(content)
        if type(self.experiment).random:
            identity |= {
                "seed": self.settings.seed,
                "dtype": self.settings.dtype,
                "device": self.kind,
            }
        return identity

    @property
    def id(self) -> str:
        """Hash of the identity: the name of the cell's folder."""
        text = json.dumps(self.identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def data(self) -> dict[str, Any]:
        """The cell as plain data, which travels to another process or machine and means the same there."""
        settings = self.settings.model_dump(mode="json")
        if type(self.experiment).random and settings["device"] == "auto":
            settings["device"] = self.kind
        return {
            "experiment": self.name,
            "parameters": self.experiment.model_dump(mode="json"),
            "settings": settings,
            "sources": dict(self.sources),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The cell that `data` made the plain data of. Raises UsageError where the experiment is not known here."""
        from resexp.runs.registry import experiment

        parameters = experiment(data["experiment"]).parse(data["parameters"])
        return cls(parameters, Settings.parse(data["settings"]), data["sources"])

    def lab(self, progress: Progress = no_progress, say: Say = say_nothing) -> Lab:
        """The lab this cell runs in."""
        settings = self.settings
        return Lab(
            self.name,
            seed=settings.seed,
            device=self.device,
            dtype=settings.dtype,
            threads=settings.threads,
            memory=memory_bytes(settings.memory),
            progress=progress,
            say=say,
        )

    def check(self) -> None:
        """Raise MissingError where its device is absent, UsageError where it does not fit the memory budget."""
        lab = self.lab()
        memory = self.experiment.estimate_memory(lab)
        if memory is not None:
            lab.afford(memory, self.name)


@dataclass(frozen=True)
class Outcome:
    """A cell's result and where it came from. run: provenance; read_back: it had been stored before."""

    cell: Cell
    result: Result
    run: Mapping[str, Any]
    read_back: bool = False


def run_cell(cell: Cell, progress: Progress = no_progress, say: Say = say_nothing) -> Outcome:
    """Check that the cell fits, run it, and note all that the numbers came from."""
    cell.check()
    start = time.perf_counter()
    try:
        result = cell.experiment.compute(cell.lab(progress, say))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
            raise ResexpError(f"{cell.name}: this machine ran out of memory; use a smaller --memory.") from error
        raise
    return Outcome(cell, result, _provenance(cell, time.perf_counter() - start))


def _provenance(cell: Cell, seconds: float) -> dict[str, Any]:
    settings = cell.settings
    packages = {"resexp": __version__, "python": platform.python_version()}
    for package in ("numpy", "torch"):
        if package in sys.modules:
            packages[package] = installed_version(package)
    return {
        **cell.identity,
        "id": cell.id,
        "sources": dict(cell.sources),
        "seed": settings.seed,
        "device": cell.device,
        "dtype": settings.dtype,
        "threads": settings.threads,
        "memory": memory_bytes(settings.memory),
        "seconds": round(seconds, 6),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": packages,
        "platform": platform.platform(),
        "argv": sys.argv,
        "git_commit": git_commit(),
    }


def installed_version(package: str) -> str:
    """Version of an installed package, or `not installed`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """Commit of the checkout the program runs from, with `-dirty` where it was changed; None outside a checkout."""
    folder = Path(__file__).resolve().parent
    if not (folder.parent.parent / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
