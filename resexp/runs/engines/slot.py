"""A place where one call at a time runs, in a process of its own that is started again when it is lost.

So a call that is killed, crashes, hangs or leaves takes nothing along but itself. The process is started without
`multiprocessing`, which would run the driver's main module in it once more.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from resexp.core.lab import Progress, no_progress
from resexp.runs.engines.engine import CallFailedError, CellTimeoutError, EngineError, StoppedError, WorkerDiedError

LOOK_AGAIN = 1.0  # seconds between two looks at a worker that says nothing
START = 120.0  # seconds a worker may take to start
LOAD = 300.0  # seconds that loading what a call needs may take, where the call may not take for ever
END = 10.0  # seconds a killed worker may take to be gone
KEPT = 16_000  # bytes of what a call printed that are handed back
PRINTED = 64_000_000  # bytes of print kept on disk at most

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)


class Slot:
    """One worker process, started at the first call. A slot is used by one thread at a time; `stop` by any."""

    def __init__(self) -> None:
        self._output = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (closed by close)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Connection[bytes, bytes] | None = None
        self._guard = threading.Lock()
        self._stopped = False

    def run(
        self,
        call: bytes,
        *,
        timeout: float | None = None,
        progress: Progress = no_progress,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Any:
        """What the pickled (function, arguments, keywords) give. Raises an EngineError where they give nothing.

        timeout: seconds it may take, from when what it needs is loaded; wanted: asked every second whether the value
        still is.
        """
        channel = self._ready()
        self._forget_output()
        try:
            channel.send_bytes(call)
            kind, *told = self._answer(channel, timeout, progress, wanted)
        except TimeoutError as error:
            self._end()
            raise CellTimeoutError(f"{error} (--timeout).", self._printed()) from None
        except (EOFError, OSError):
            raise self._loss(_how_it_died(self._end())) from None
        except BaseException:
            self._end()
            raise
        if kind == "error":
            name, message = told
            raise CallFailedError(f"{name}: {message}", self._printed())
        (value,) = told
        if isinstance(value, dict) and isinstance(value.get("failure"), dict):
            value["failure"]["output"] = self._printed()
        return value

    def stop(self) -> None:
        """End the worker now; what runs in it fails with StoppedError, and nothing runs here any more."""
        with self._guard:
            self._stopped = True
            if self._process is not None:
                _kill(self._process)

    def close(self) -> None:
        """Stop, and give everything back; for when no call runs."""
        self.stop()
        self._end()
        self._output.close()

    def _ready(self) -> "Connection[bytes, bytes]":
        """The way to a worker that waits for a call."""
        if self._process is not None and self._channel is not None and self._process.poll() is None:
            return self._channel
        self._end()
        here, there = Pipe()
        self._channel = here
        start = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from resexp.runs.engines.child import serve; serve({there.fileno()})"
        )
        self._forget_output()
        try:
            with there, self._guard:
                if self._stopped:
                    raise EOFError
                self._process = subprocess.Popen(
                    [sys.executable, "-c", start],
                    stdin=subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=self._output,
                    pass_fds=[there.fileno()],
                    env={**os.environ, **ONE_THREAD},
                    process_group=0,  # not the terminal's: an interrupt reaches the driver alone
                )
            if not here.poll(START):
                raise EOFError
            here.recv_bytes()
        except (EOFError, OSError) as error:
            self._end()
            raise self._loss(f"A worker process could not be started ({error or 'it left'}).") from None
        return here

    def _answer(
        self,
        channel: "Connection[bytes, bytes]",
        timeout: float | None,
        progress: Progress,
        wanted: Callable[[], bool],
    ) -> Any:
        """The worker's last word on the call. Raises EOFError where it is gone, TimeoutError after too long."""
        most = timeout or float("inf")
        deadline, late = time.monotonic() + LOAD + most, f"It had not begun after {LOAD + most:g} seconds"
        while True:
            if channel.poll(max(0.0, min(LOOK_AGAIN, deadline - time.monotonic()))):
                kind, *told = message = pickle.loads(channel.recv_bytes())
                if kind == "begun":
                    deadline, late = time.monotonic() + most, f"It was stopped after {most:g} seconds"
                elif kind == "progress":
                    progress(*told)
                else:
                    return message
            if time.monotonic() >= deadline:
                raise TimeoutError(late)
            if self._process is None or (self._process.poll() is not None and not channel.poll()):
                raise EOFError  # gone, though a process it left behind holds its end of the channel
            if not wanted():
                raise StoppedError("Its value is not wanted any more.")
            if os.fstat(self._output.fileno()).st_size > PRINTED:
                self._forget_output()

    def _end(self) -> int:
        """End the worker and all that it started; how it ended, as subprocess counts."""
        with self._guard:
            process, self._process = self._process, None
        code = 0
        if process is not None:
            _kill(process)
            with suppress(subprocess.TimeoutExpired):  # in the kernel, in a driver that hangs: it is left behind
                process.wait(END)
            code = process.returncode or 0
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        return code

    def _loss(self, how: str) -> EngineError:
        return StoppedError("The run was stopped.") if self._stopped else WorkerDiedError(how, self._printed())

    def _forget_output(self) -> None:
        self._output.seek(0)  # the worker writes where this file stands
        self._output.truncate()

    def _printed(self) -> str:
        file = self._output.fileno()
        return os.pread(file, KEPT, max(0, os.fstat(file).st_size - KEPT)).decode(errors="replace")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a worker and its group. Its number is its own until it is waited for; how one that is dying ends stays."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _how_it_died(code: int) -> str:
    if code == -signal.SIGKILL:
        return (
            "Its worker was killed (SIGKILL), most likely because the machine ran out of memory; "
            "use a smaller --memory or fewer workers (-j)."
        )
    if code < 0:
        name = next((known.name for known in signal.Signals if known == -code), str(-code))
        return f"Its worker was ended by a signal ({name})."
    return f"Its worker left with exit code {code}."
