"""The Dask engine: a scheduler and its workers as processes of their own, and what happens when one of them is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from resexp.core.errors import MissingError, ResexpError, UsageError
from resexp.core.tabular import to_csv
from resexp.experiments.paths import Paths
from resexp.experiments.variance import Variance
from resexp.runs.cell import Cell, Outcome
from resexp.runs.engines import CallFailedError, CellTimeoutError, EngineLostError, WorkerDiedError, open_engine
from resexp.runs.engines import dask as module
from resexp.runs.settings import Settings
from resexp.runs.worker import outcome_of, work

pytest.importorskip("distributed")

SOON = 5.0  # seconds
PID = "__import__('os').getppid()"  # of the Dask worker in whose slot it runs


class Cluster:
    """A scheduler and workers, started by hand on this machine; the first worker offers a GPU."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.scheduler = self._start("scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0")
        file = folder / "scheduler.json"
        while not file.exists() or '"address"' not in file.read_text():
            assert self.scheduler.poll() is None
            time.sleep(0.05)
        self.address = file.read_text().partition('"address": "')[2].partition('"')[0]
        self.workers: list[subprocess.Popen[bytes]] = []
        self.add("--resources", "GPU=1")
        self.add()

    def add(self, *options: str) -> None:
        """Start one more worker."""
        every = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder))
        self.workers.append(self._start("worker", *every, *options))

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        places = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(self._folder / "scheduler.json"))
        with (self._folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "dask", *arguments, *places]
            return subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        with open_engine("dask", workers=0, address=cluster.address) as engine:
            while engine.slots < 2:
                time.sleep(0.1)
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


def ends(process: int, seconds: float = SOON) -> bool:
    deadline = time.monotonic() + seconds
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(process, 0)
            time.sleep(0.05)
        return False
    return True


def test_the_same_bytes_as_here(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    quick = Variance.quick | {"depth": 4, "width": 32, "draws": 32}
    cells = [Cell(Paths(blocks=30), Settings()), Cell(Variance.parse(quick), Settings(seed=1))]
    with open_engine("dask", workers=0, address=cluster.address) as engine:
        there = [engine.submit(work, cell.data()).result() for cell in cells]
    here = [work(cell.data()) for cell in cells]
    for cell, *told in zip(cells, there, here, strict=True):
        outcomes = [outcome_of(cell, data) for data in told]
        one, other = (to_csv(o.result.columns, o.result.rows) for o in outcomes if isinstance(o, Outcome))
        assert one == other
    assert capfd.readouterr() == ("", "")


def test_a_call_that_dies_hangs_or_raises_leaves_the_dask_workers_alone(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_engine("dask", workers=0, address=cluster.address, timeout=1.0) as engine:
        dies = engine.submit(exec, "import os; print('last words', flush=True); os.kill(os.getpid(), 9)").exception()
        assert isinstance(dies, WorkerDiedError)
        assert dies.output == "last words\n"
        assert isinstance(engine.submit(time.sleep, 60).exception(), CellTimeoutError)
        assert "division" in str(engine.submit(eval, "1 / 0").exception())
        assert {engine.submit(eval, PID).result() for _ in range(4)} <= {worker.pid for worker in cluster.workers}
    assert [worker.poll() for worker in cluster.workers] == [None, None]
    assert capfd.readouterr() == ("", "")


def test_calls_that_need_a_gpu_go_where_one_is(cluster: Cluster) -> None:
    with open_engine("dask", workers=0, address=cluster.address, gpus_per_cell=1) as engine:
        assert engine.slots == 1
        futures = [engine.submit(eval, PID) for _ in range(6)]
        assert {future.result() for future in futures} == {cluster.workers[0].pid}
    with pytest.raises(UsageError, match="GPU=2"):
        open_engine("dask", workers=0, address=cluster.address, gpus_per_cell=2)


def test_leaving_stops_what_runs_on_a_cluster_that_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    named = tmp_path / "process"
    sleeps = f"import os, time; open({str(named)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    future: Future[Any] = Future()
    with suppress(KeyboardInterrupt), open_engine("dask", workers=0, address=cluster.address) as engine:
        future = engine.submit(exec, sleeps)
        while not named.exists() or not named.read_text():
            time.sleep(0.02)
        raise KeyboardInterrupt
    assert future.done()
    assert ends(int(named.read_text()))
    with open_engine("dask", workers=0, address=cluster.address) as engine:
        assert engine.submit(abs, -1).result(SOON) == 1


def test_losing_a_worker_costs_nothing_and_what_cannot_go_on_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with started(tmp_path) as cluster, open_engine("dask", workers=0, address=cluster.address) as engine:
        futures = [engine.submit(eval, f"__import__('time').sleep(1) or {PID}") for _ in range(2)]
        time.sleep(0.5)
        lost, left = cluster.workers
        lost.kill()
        lost.wait()
        assert [future.result(SOON) for future in futures] == [left.pid, left.pid]

        left.kill()
        (tmp_path / "resexp.py").write_text("raise ImportError('there is no resexp here')")
        cluster.add()
        error = engine.submit(abs, -1).exception(2 * SOON)
        assert isinstance(error, CallFailedError)
        assert "there is no resexp here" in str(error)

        cluster.workers[-1].kill()
        hangs = engine.submit(time.sleep, 60)
        time.sleep(0.3)
        cluster.scheduler.kill()
        error = hangs.exception(SOON)
        assert isinstance(error, EngineLostError)
        assert cluster.address in str(error)
        with pytest.raises(EngineLostError):
            engine.submit(abs, -1)
    assert capfd.readouterr() == ("", "")


def test_without_an_address_workers_start_here_and_end_with_the_run(capfd: pytest.CaptureFixture[str]) -> None:
    with open_engine("dask", workers=2) as engine:
        assert engine.slots == 2
        wait([engine.submit(print, "not to be seen") for _ in range(4)])
        cancelled = engine.submit(time.sleep, 60)
        assert cancelled.cancel()
        wait([cancelled])
        workers = {engine.submit(eval, PID).result() for _ in range(4)}
        for worker in workers:
            os.kill(worker, signal.SIGINT)  # the driver decides on interrupts
        assert engine.submit(eval, PID).result() in workers
    assert all(map(ends, workers))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "http://127.0.0.1:1"])
def test_an_address_where_no_scheduler_is_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT", 0.5)
    with pytest.raises(ResexpError, match=r"no Dask scheduler answers there .* `dask scheduler`"):
        open_engine("dask", workers=0, address=address)


def test_other_versions_and_a_missing_extra_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CallFailedError, match=r"the driver 0\.0: install the same"):
        module.run_in_slot(b"", None, "0.0")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingError, match=r"pip install 'resexp\[dask\]'"):
        open_engine("dask", workers=1)
