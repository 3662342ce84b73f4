"""The local engine: worker processes on this machine, one torch thread each."""

import pickle
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import count
from queue import LifoQueue
from typing import Any, ParamSpec, TypeVar

from resexp.core.lab import Progress
from resexp.runs.engines.engine import Engine, TaskProgress, tell_nobody
from resexp.runs.engines.slot import Slot

Given = ParamSpec("Given")
Value = TypeVar("Value")


class LocalEngine(Engine):
    """Runs calls in worker processes, one thread of the driver for each. timeout: seconds a call may take."""

    def __init__(self, workers: int, timeout: float | None = None, progress: TaskProgress = tell_nobody) -> None:
        self._timeout, self._progress = timeout, progress
        self._numbers = count()
        self._slots = [Slot() for _ in range(workers)]
        self._idle: LifoQueue[Slot] = LifoQueue()  # the last one used is warm
        for slot in self._slots:
            self._idle.put(slot)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="resexp worker")

    @property
    def slots(self) -> int:
        """The number of workers."""
        return len(self._slots)

    def submit(
        self, function: Callable[Given, Value], /, *arguments: Given.args, **keywords: Given.kwargs
    ) -> Future[Value]:
        """Run a function that can be pickled in a worker; what it raises arrives as CallFailedError."""
        call = pickle.dumps((function, arguments, keywords))
        return self._threads.submit(self._run, call, partial(self._progress, next(self._numbers)))

    def _run(self, call: bytes, progress: Progress) -> Any:
        slot = self._idle.get()
        try:
            return slot.run(call, timeout=self._timeout, progress=progress)
        finally:
            self._idle.put(slot)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: at once with cancel_futures, else after what was submitted."""
        if cancel_futures:
            self._threads.shutdown(wait=False, cancel_futures=True)
            for slot in self._slots:
                slot.stop()
        try:
            self._threads.shutdown(wait or cancel_futures)
        except BaseException:  # an interrupt while it waits: Python 3.13 would join the threads once more at exit
            for slot in self._slots:
                slot.stop()
            raise
        if wait or cancel_futures:
            for slot in self._slots:
                slot.close()
