"""Jobs side by side on threads, each operation of torch on one: the same bytes at any number of threads."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from resexp.core.lab import Lab

Job = TypeVar("Job")
Done = TypeVar("Done")
STEPS_TOLD = 500


class Work:
    """How far the jobs are, told to the lab; and a way to end those that run when one fails or is interrupted."""

    def __init__(self, lab: Lab, steps: int) -> None:
        self._lab, self._steps, self._done = lab, steps, 0
        self._lock, self._stopped = threading.Lock(), False

    def advance(self, steps: int = 1) -> None:
        """So many steps are done. Raises InterruptedError where the work was stopped."""
        if self._stopped:
            raise InterruptedError("another group of networks was stopped")
        with self._lock:
            before, self._done = self._done, self._done + steps
            if before * STEPS_TOLD // self._steps != self._done * STEPS_TOLD // self._steps:
                self._lab.progress(self._done, self._steps)

    def stop(self) -> None:
        """Let the next step of each running job be its last."""
        self._stopped = True


def over_threads(run: Callable[[Job], Done], jobs: Sequence[Job], threads: int, work: Work) -> list[Done]:
    """What run gives for each job, in the order of the jobs."""
    torch.set_num_threads(1)
    if threads == 1 or len(jobs) == 1:
        return [run(job) for job in jobs]
    with ThreadPoolExecutor(min(threads, len(jobs))) as pool:
        try:
            return list(pool.map(run, jobs))
        except BaseException:
            work.stop()  # before the pool waits for those that run
            pool.shutdown(cancel_futures=True)
            raise


def nothing() -> None:
    """A step that tells nobody."""
