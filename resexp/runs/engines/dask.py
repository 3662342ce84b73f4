"""The Dask engine: the workers of a running scheduler, or of a cluster of this machine that ends with the run.

A call travels as bytes to a Dask worker, which runs it in a slot, as the local engine does: what kills a call does not
kill the Dask worker. When a worker itself is lost, Dask has others run its calls; one that has lost four is given up.
"""

import asyncio
import importlib
import logging
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, LifoQueue
from typing import Any, ParamSpec, TypeVar

from resexp import __version__
from resexp.core.errors import MissingError, ResexpError, UsageError
from resexp.runs.engines.engine import (
    CallFailedError,
    Engine,
    EngineError,
    EngineLostError,
    StoppedError,
    WorkerDiedError,
)
from resexp.runs.engines.slot import Slot

Given = ParamSpec("Given")
Value = TypeVar("Value")

CONNECT = 8  # seconds a scheduler may take to answer
COUNT_AGAIN = 2.0  # seconds between two counts of the workers
STOP = 5.0  # seconds the calls may take to be given up when the engine is shut down
RUN = "__import__('importlib').import_module('resexp.runs.engines.dask').run_in_slot(call, timeout, version)"


def _distributed() -> Any:
    """The package; it declares few types. Raises MissingError where it is not installed."""
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise MissingError("--engine dask needs an extra: pip install 'resexp[dask]'.") from None


class DaskEngine(Engine):
    """Runs calls on Dask workers. address: of a scheduler to join; without it `workers` workers are started here."""

    def __init__(
        self, workers: int, timeout: float | None = None, address: str | None = None, gpus_per_cell: int = 0
    ) -> None:
        _distributed()
        self._timeout, self._gpus = timeout, gpus_per_cell
        self._running: dict[Future[Any], Any] = {}
        self._lost = self._stopping = False
        self._counted: tuple[float, int] | None = None
        with ExitStack() as stack:
            stack.enter_context(_quiet())
            if address is None:
                if gpus_per_cell:
                    raise UsageError("--gpus-per-cell needs --address, of a scheduler with one worker for each GPU.")
                address = stack.enter_context(_local_cluster(workers))
            self._address = address
            self._client = stack.enter_context(_client(address))
            self._refuse_without_gpus()
            self._closing = stack.pop_all()

    @property
    def slots(self) -> int:
        """How many calls the workers of this moment run at once; 1 where there are none yet."""
        if self._counted is None or time.monotonic() - self._counted[0] > COUNT_AGAIN:
            count = self._counted[1] if self._counted else 0
            with suppress(Exception):  # it does not answer: submit says so
                count = sum(self._slots_of(worker) for worker in self._workers())
            self._counted = time.monotonic(), count
        return max(1, self._counted[1])

    def submit(
        self, function: Callable[Given, Value], /, *arguments: Given.args, **keywords: Given.kwargs
    ) -> Future[Value]:
        """Run a function that can be pickled on a worker; what it raises arrives as CallFailedError."""
        if self._lost or self._client.status != "running":
            raise self._loss()
        call = pickle.dumps((function, arguments, keywords))
        future: Future[Value] = Future()
        remote = self._client.submit(
            eval,  # a function of resexp would leave a worker that has none unable to read the message, and silent
            RUN,
            {"call": call, "timeout": self._timeout, "version": __version__},
            pure=False,
            retries=0,
            resources={"GPU": self._gpus} if self._gpus else None,
        )
        self._running[future] = remote
        future.add_done_callback(self._forget)
        self._client.loop.add_callback(self._settle, remote, future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the scheduler, end a cluster started here; calls are stopped with cancel_futures, else waited for."""
        running = dict(self._running)
        if cancel_futures:
            self._stopping = True
            if running and not self._lost:
                with suppress(Exception):
                    self._client.cancel(list(running.values()))
            futures.wait(running, STOP)
        elif wait:
            futures.wait(running)
        self._closing.close()

    async def _settle(self, remote: Any, future: Future[Any]) -> None:
        """Hand over what became of a call, when it is known."""
        try:
            (value,) = await self._client.gather([remote], asynchronous=True)
        except BaseException as error:  # noqa: BLE001  (whatever it is, the one who waits has to hear of it)
            if future.set_running_or_notify_cancel():
                future.set_exception(self._problem(remote, error))
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(value)

    def _problem(self, remote: Any, error: BaseException) -> EngineError:
        if isinstance(error, EngineError):
            return error
        if self._stopping:
            return StoppedError("The run was stopped.")
        if isinstance(error, _distributed().KilledWorker):
            return WorkerDiedError(
                f"{error.allowed_failures + 1} Dask workers were lost while they ran it, the last at "
                f"{error.last_worker.address}; their logs tell more."
            )
        if remote.status != "error":
            self._lost = True
            return self._loss()
        return CallFailedError(
            f"Dask could not run it ({type(error).__name__}: {' '.join(str(error).split())}). "
            f"Do all its workers have resexp {__version__} and the same packages as here?"
        )

    def _loss(self) -> EngineLostError:
        return EngineLostError(
            f"The Dask scheduler at {self._address} does not answer any more. What was finished is kept; start a "
            "scheduler and run the same command again for the rest."
        )

    def _forget(self, future: Future[Any]) -> None:
        remote = self._running.pop(future)
        if future.cancelled() and not self._lost:
            self._client.loop.add_callback(self._client.cancel, [remote], asynchronous=True)

    def _workers(self) -> list[dict[str, Any]]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())

    def _slots_of(self, worker: dict[str, Any]) -> int:
        threads = int(worker["nthreads"])
        return min(threads, int(worker["resources"].get("GPU", 0) // self._gpus)) if self._gpus else threads

    def _refuse_without_gpus(self) -> None:
        workers = self._workers()
        if workers and not any(map(self._slots_of, workers)):
            raise UsageError(
                f"--gpus-per-cell {self._gpus}: none of the {len(workers)} Dask workers has as many; start them with "
                f'--resources "GPU={self._gpus}".'
            )


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """A client of the scheduler at that address, which is not made the default of the process."""
    try:
        asyncio.run(asyncio.wait_for(_ask_scheduler(address), CONNECT))
    except (OSError, ValueError, MemoryError) as error:
        why = "something else does" if isinstance(error, MemoryError) else str(error) or "silence"
        raise ResexpError(
            f"--address {address}: no Dask scheduler answers there ({why}). "
            "Start one with `dask scheduler` and name the address that it prints, as in tcp://10.0.0.1:8786."
        ) from None
    client = _distributed().Client(address, timeout=CONNECT, set_as_default=False)
    try:
        yield client
    finally:
        with suppress(Exception):  # a scheduler that is gone needs no goodbye
            client.close()


async def _ask_scheduler(address: str) -> None:
    """Raise unless a scheduler answers: a client that has failed to connect is slow to go, and says so."""
    package = _distributed()
    arguments = package.Security().get_connection_args("client")
    async with package.rpc(address, timeout=CONNECT, connection_args=arguments) as scheduler:
        kind = (await scheduler.identity())["type"]
    if kind != "Scheduler":
        raise ValueError(f"a {kind.lower()} does")


@contextmanager
def _local_cluster(workers: int) -> Iterator[str]:
    """The address of a scheduler with workers on this machine, reached from nowhere else."""
    with ExitStack() as stack:
        with _without_interrupts():
            cluster = _distributed().LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},  # what is left of it listens on a free port of this machine
                memory_limit=None,  # it would count the Dask worker, not the process in which a cell runs
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(cluster)
        yield cluster.scheduler_address


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ignore an interrupt until here is done, and put SIGTERM off; processes started here ignore interrupts for ever.

    A cluster that is interrupted half started cannot be ended, and its workers are the driver's to end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    put_off: list[int] = []
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    before[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda number, _: put_off.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if put_off:
            signal.raise_signal(signal.SIGTERM)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own log off the terminal: what matters of it arrives as an error."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "distributed.gc")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_idle: LifoQueue[Slot] = LifoQueue()  # the slots of this Dask worker that run nothing; they end with it


def run_in_slot(call: bytes, timeout: float | None, version: str) -> Any:
    """What a Dask worker does with a call from a driver of that version."""
    if version != __version__:
        raise CallFailedError(f"The Dask worker has resexp {__version__}, the driver {version}: install the same.")
    try:
        slot = _idle.get_nowait()
    except Empty:
        slot = Slot()
    try:
        return slot.run(call, timeout=timeout, wanted=_wanted())
    finally:
        _idle.put(slot)


def _wanted() -> Callable[[], bool]:
    """Whether the task that runs in this thread has not been given up by the driver, or with it."""
    worker = _distributed().get_worker()
    key, tasks = worker.get_current_task(), worker.state.tasks

    def wanted() -> bool:
        return key in tasks and tasks[key].state != "cancelled"

    return wanted
