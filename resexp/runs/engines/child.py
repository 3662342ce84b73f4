"""The worker process: takes calls from its driver, runs them one by one, and lives no longer than the driver.

What it prints goes to a file that the driver gave it. Interrupts are the driver's to decide on.
"""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from io import TextIOWrapper
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

TELL_AGAIN = 0.2  # seconds between two words of progress


class Driver:
    """What a worker sees of its driver."""

    def __init__(self, channel: "Connection[Any, Any]") -> None:
        self.calls: SimpleQueue[bytes] = SimpleQueue()
        self._channel = channel
        self._guard = threading.Lock()
        self._told = 0.0

    def listen(self) -> None:
        """Take calls as they come; when the driver is gone, end this process and all that it started."""
        try:
            while True:
                self.calls.put(self._channel.recv_bytes())
        except (EOFError, OSError):
            os.killpg(os.getpid(), signal.SIGKILL)

    def tell(self, *words: Any) -> None:
        """Send a kind of message and what belongs to it. Raises where that cannot be pickled."""
        message = pickle.dumps(words)
        with self._guard:
            self._channel.send_bytes(message)

    def tell_progress(self, done: int, total: int) -> None:
        """Tell how far the call is, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._told >= TELL_AGAIN:
            self._told = now
            self.tell("progress", done, total)


_driver: Driver | None = None


def begun() -> None:
    """Say that what the call needs is loaded: the time it may take counts from here; said again, from there."""
    if _driver is not None:
        _driver.tell("begun")


def report(done: int, total: int) -> None:
    """Progress of the call that this worker runs, for its driver; in any other process nobody is told."""
    if _driver is not None:
        _driver.tell_progress(done, total)


def serve(handle: int) -> None:
    """Run calls for the driver at the other end of the socket `handle`, in a process group of its own, for ever."""
    global _driver
    os.set_inheritable(handle, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", line_buffering=True, errors="backslashreplace")
    _driver = driver = Driver(Connection(handle))
    threading.Thread(target=driver.listen, name="resexp driver", daemon=True).start()
    driver.tell("ready")
    while True:
        _run(driver, driver.calls.get())


def _run(driver: Driver, call: bytes) -> None:
    try:
        function, arguments, keywords = pickle.loads(call)
        driver.tell("begun")
        value = function(*arguments, **keywords)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        driver.tell("value", value)
    except BaseException as error:  # noqa: BLE001  (an exit asked for by the call ends the call, not the worker)
        traceback.print_exc()
        driver.tell("error", type(error).__name__, str(error))
