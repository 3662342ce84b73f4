"""Checkpoints: where a training stands, kept so that one that was killed goes on as if it had not been.

A folder a training, with `tensors-<checksum>.safetensors` and `state.json`, which names that file and its SHA-256. Both
are written beside their places and renamed into them, the JSON last, so that a kill leaves the old checkpoint or the
new one, whole. What does not match its checksum is refused.

They lie in $RESEXP_CHECKPOINTS, else in the user's cache folder (~/.cache/resexp/checkpoints), under a hash of all that
the numbers depend on, and are removed when the experiment has its result.
"""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resexp import __version__
from resexp.core.errors import ResexpError
from resexp.core.experiment import Experiment
from resexp.core.lab import Lab
from resexp.nets.tensor_file import from_bytes, to_bytes

FORMAT = 1
OLD = 60 * 24 * 3600.0
"""Seconds after which a checkpoint that nobody wrote to is forgotten."""
SELDOM = 20.0
"""Seconds of training that may be lost: no more often is a checkpoint written, and none in a shorter experiment."""


class DamagedCheckpointError(ResexpError):
    """A checkpoint whose checksum is wrong, or that cannot be read."""


@dataclass
class Checkpoint:
    """The checkpoint of one training. seldom: seconds between two of them; started: when the experiment was."""

    folder: Path
    seldom: float = SELDOM
    started: float = field(default_factory=time.monotonic)
    _last: float = field(default_factory=time.monotonic)

    def is_due(self, *, finished: bool = False) -> bool:
        """Whether enough was done since the last one; of a finished training, since the experiment was started."""
        return time.monotonic() - (self.started if finished else self._last) >= self.seldom

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep tensors and plain data in place of what was kept. Raises ResexpError where the disk takes none."""
        content = to_bytes(tensors)
        digest = hashlib.sha256(content).hexdigest()
        name = f"tensors-{digest[:16]}.safetensors"
        state = {"format": FORMAT, "tensors": name, "sha256": digest, "bytes": len(content), **facts}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / name, content)
            _write(self.folder / "state.json", (json.dumps(state, indent=1) + "\n").encode())
            for other in self.folder.glob("tensors-*.safetensors"):
                if other.name != name:
                    other.unlink(missing_ok=True)
        except OSError as error:
            raise ResexpError(
                f"The checkpoint {self.folder} could not be written: {error.strerror or error}."
            ) from None
        self._last = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was kept, None where nothing was. Raises DamagedCheckpointError."""
        path = self.folder / "state.json"
        try:
            state = json.loads(path.read_bytes())
            content = (self.folder / Path(str(state["tensors"])).name).read_bytes()
            found = hashlib.sha256(content).hexdigest()
            if state["format"] != FORMAT or found != state["sha256"]:
                raise ValueError(f"SHA-256 {state['sha256'][:16]}... expected, {found[:16]}... found")
            return from_bytes(content), state
        except FileNotFoundError:
            if not path.exists():
                return None
            reason = "its tensors are missing"
        except OSError as error:
            reason = error.strerror or str(error)
        except (ValueError, KeyError, TypeError) as error:
            reason = str(error)
        raise DamagedCheckpointError(
            f"The checkpoint {self.folder} is damaged and not used: {reason}. Remove the folder to start afresh."
        )

    def part(self, name: str) -> "Checkpoint":
        """The checkpoint of one of several trainings of an experiment."""
        return Checkpoint(self.folder / name, self.seldom, self.started)

    def discard(self) -> None:
        """Remove it, and those of its parts."""
        shutil.rmtree(self.folder, ignore_errors=True)


def checkpoint_of(experiment: Experiment, lab: Lab) -> Checkpoint:
    """The checkpoint of an experiment at its parameters in a lab; code or torch of another version do not share it."""
    identity = {
        "experiment": lab.experiment,
        "version": type(experiment).version,
        "parameters": experiment.model_dump(mode="json"),
        "content": dict(experiment.content()),
        "lab": [lab.seed, lab.device, lab.dtype],
        "versions": [__version__, torch.__version__],
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    _forget_old(_home())
    return Checkpoint(_home() / lab.experiment / digest, SELDOM)


def _forget_old(home: Path) -> None:
    """Remove the checkpoints of runs that were killed and in so long never taken up again."""
    for folder in home.glob(f"*/{'[0-9a-f]' * 16}"):
        if folder.is_symlink() or not any(folder.rglob("state.json")):
            continue  # not ours
        with suppress(OSError):  # another run may remove it as well
            newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
            if time.time() - newest > OLD:
                shutil.rmtree(folder, ignore_errors=True)


def _home() -> Path:
    said = os.environ.get("RESEXP_CHECKPOINTS")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(said) if said else Path(cache) / "resexp" / "checkpoints"


def _write(path: Path, content: bytes) -> None:
    """Write beside and rename."""
    beside = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
