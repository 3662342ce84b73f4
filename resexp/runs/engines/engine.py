"""What every engine is, and what it says of a call that gave nothing back."""

from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from types import TracebackType

from resexp.core.errors import ResexpError

TaskProgress = Callable[[int, int, int], None]
"""Called with (number of the call, 0 for the first submitted; steps done; steps in all), from several threads."""


def tell_nobody(number: int, done: int, total: int) -> None:
    """Progress of calls that nobody asked for."""


class EngineError(ResexpError):
    """A call gave nothing back. output: the end of what it printed."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class WorkerDiedError(EngineError):
    """The process it ran in ended under it: killed by the system, crashed, or left by the call itself."""


class CellTimeoutError(EngineError):
    """It took longer than it may, and its process was ended."""


class CallFailedError(EngineError):
    """It raised, or what it took or gave cannot travel between processes."""


class StoppedError(EngineError):
    """The engine was shut down while it ran."""


class EngineLostError(EngineError):
    """The engine itself is gone: nothing that was submitted can be finished, and nothing failed by itself."""


class Engine(Executor):
    """Runs calls in other processes. Left by an exception, it stops what runs; left otherwise, it waits."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many calls run at once, at least 1; it may change as workers come and go."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Shut down."""
        self.shutdown(cancel_futures=kind is not None)
