"""The engine for debuggers: each cell runs in this process when it is submitted."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class InlineExecutor(Executor):
    """Runs a task within `submit`. progress: called with (task number, steps done, steps in all)."""

    def __init__(self, progress: Callable[[int, int, int], None]) -> None:
        self._progress, self._tasks = progress, 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call fn with a `progress` of its own; the future is done when this returns."""
        number, self._tasks = self._tasks, self._tasks + 1
        future: Future[Any] = Future()
        future.set_result(fn(*args, progress=lambda done, total: self._progress(number, done, total), **kwargs))
        return future
