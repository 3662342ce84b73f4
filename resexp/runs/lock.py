"""Who computes a cell: a file beside its place in the store, with an owner and a heartbeat.

Two runs of the same batch, on one machine or on several that share the folder, do not compute a cell twice. A lock
outlives nobody: its owner touches it every few seconds, and one whose owner is dead is taken over. Whether it is dead
is told on the same machine by its process, elsewhere by the lock not having been touched for a while *as the waiting
process counts seconds*, so that clocks that differ or jump do no harm. In the worst case (an owner that was asleep) a
cell is computed twice; results are whole all the same, for they are put in place by renaming.
"""

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from resexp.core.errors import ResexpError

BEAT = 5.0  # seconds between two signs of life
SILENT = 30.0  # seconds without one after which an owner elsewhere is taken for dead
LONG_SILENT = 600.0  # the same for who looks only once, and by a clock that may differ from the owner's


@dataclass(frozen=True)
class Owner:
    """Who holds a lock. machine: host name and process namespace, within which a process number means something."""

    machine: str
    process: int
    started: str
    token: str

    def __str__(self) -> str:
        """Such as `process 4711 on host, since 2026-11-24T10:00:00+00:00`."""
        return f"process {self.process} on {self.machine.partition('/')[0]}, since {self.started}"


class Lock:
    """One cell's lock. left_by: the dead owner it was taken over from, if any."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left_by: Owner | None = None
        self._token = uuid.uuid4().hex
        self._seen: tuple[int, float] | None = None

    def take(self) -> bool:
        """Take the lock unless somebody alive holds it. Raises ResexpError where it can be neither made nor removed."""
        if self._create():
            return True
        holder = self.holder()
        if not self._is_dead(holder) or not self._remove(holder):
            return False
        self.left_by = holder
        return self._create()

    def _create(self) -> bool:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps(asdict(Owner(_machine(), os.getpid(), now, self._token)))
        try:
            file = self.path.open("x")
        except FileExistsError:
            return False
        except OSError as error:
            raise self._trouble("made", error) from None
        try:
            with file:
                file.write(text)
        except OSError as error:  # a full disk has room for an empty file
            with suppress(OSError):
                self.path.unlink()
            raise self._trouble("written", error) from None
        _heart.keep(self.path)
        return True

    def _trouble(self, what: str, error: OSError) -> ResexpError:
        return ResexpError(f"The lock {self.path} cannot be {what}: {error.strerror or error}.")

    def release(self) -> None:
        """Give it back, unless somebody has taken it over; one that cannot be removed is that of a dead owner soon."""
        _heart.forget(self.path)
        holder = self.holder()
        if holder is not None and holder.token == self._token:
            with suppress(OSError):
                self.path.unlink()

    def holder(self) -> Owner | None:
        """Who holds it; None where nobody does, or a lock was left half written."""
        try:
            return Owner(**json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def is_held(self) -> bool:
        """Whether somebody alive seems to hold it, as far as one look can tell; nothing is changed.

        An owner elsewhere is taken for alive while it was heard of in the last ten minutes by this machine's clock.
        """
        holder = self.holder()
        try:
            heard = time.time() - self.path.stat().st_mtime < LONG_SILENT
        except OSError:
            return False
        return heard and (holder is None or holder.machine != _machine() or _is_running(holder.process))

    def _is_dead(self, holder: Owner | None) -> bool:
        if holder is not None and holder.machine == _machine() and not _is_running(holder.process):
            return True
        try:
            touched = self.path.stat().st_mtime_ns
        except OSError:
            return False  # released this moment
        if self._seen is None or self._seen[0] != touched:
            self._seen = (touched, time.monotonic())
        return time.monotonic() - self._seen[1] > SILENT

    def _remove(self, holder: Owner | None) -> bool:
        """Remove the dead owner's lock, of several that want to only one; never a lock taken since."""
        aside = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return False  # somebody was faster
        except OSError as error:
            raise self._trouble("removed", error) from None
        moved = Lock(aside).holder()
        try:
            if moved != holder:  # somebody was faster, and holds it now
                with suppress(OSError):
                    os.link(aside, self.path)
                return False
            return True
        finally:
            aside.unlink(missing_ok=True)


class _Heart:
    """One thread that touches every lock of this process."""

    def __init__(self) -> None:
        self._paths: set[Path] = set()
        self._guard = threading.Lock()
        self._beats = False

    def keep(self, path: Path) -> None:
        with self._guard:
            self._paths.add(path)
            if not self._beats:
                self._beats = True
                threading.Thread(target=self._beat, name="resexp locks", daemon=True).start()

    def forget(self, path: Path) -> None:
        with self._guard:
            self._paths.discard(path)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT)
            with self._guard:
                paths = list(self._paths)
            for path in paths:
                with suppress(OSError):
                    os.utime(path)


_heart = _Heart()


@lru_cache(maxsize=1)
def _machine() -> str:
    """Host name and, where there are such things, the namespace of process numbers: containers may share the name."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  (a link to no path)
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}/{namespace}"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
