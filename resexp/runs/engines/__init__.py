"""Where the cells of a batch run: processes of this machine, or the workers of a Dask scheduler."""

from resexp.core.errors import UsageError, nearest
from resexp.runs.engines.engine import (
    CallFailedError,
    CellTimeoutError,
    Engine,
    EngineError,
    EngineLostError,
    StoppedError,
    TaskProgress,
    WorkerDiedError,
    tell_nobody,
)

__all__ = [
    "ENGINES",
    "CallFailedError",
    "CellTimeoutError",
    "Engine",
    "EngineError",
    "EngineLostError",
    "StoppedError",
    "TaskProgress",
    "WorkerDiedError",
    "open_engine",
]

ENGINES = ("local", "dask")


def open_engine(
    name: str,
    *,
    workers: int,
    timeout: float | None = None,
    address: str | None = None,
    gpus_per_cell: int = 0,
    progress: TaskProgress = tell_nobody,
) -> Engine:
    """The engine of that name, to be used in a `with`.

    workers: processes on this machine; timeout: seconds a call may take; address: of a running Dask scheduler, whose
    workers are used instead; gpus_per_cell: GPUs a call takes, as a Dask resource; progress: local workers tell it.
    """
    if name == "local":
        if address is not None or gpus_per_cell:
            raise UsageError("--address and --gpus-per-cell are for --engine dask.")
        from resexp.runs.engines.local import LocalEngine

        return LocalEngine(workers, timeout, progress)
    if name == "dask":
        from resexp.runs.engines.dask import DaskEngine

        return DaskEngine(workers, timeout, address, gpus_per_cell)
    raise UsageError(f"--engine {name}: must be one of {', '.join(ENGINES)}{nearest(name, ENGINES)}.")
