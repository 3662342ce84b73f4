"""The same bytes on every engine, and a scheduler that dies."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from torturing.batches import COUNTED, NETWORKS, Batch, end, expect


class Cluster:
    """A Dask scheduler and two workers, as processes of this batch."""

    def __init__(self, batch: Batch, folder: Path) -> None:
        folder.mkdir()
        self._batch, self._folder = batch, folder
        self.scheduler = self._start("scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0")
        file = folder / "scheduler.json"
        while not file.exists() or '"address"' not in file.read_text():
            expect(self.scheduler.poll() is None, "the scheduler did not start")
            time.sleep(0.05)
        self.address = file.read_text().partition('"address": "')[2].partition('"')[0]
        self.workers = [self.worker(), self.worker()]

    def worker(self) -> "subprocess.Popen[bytes]":
        return self._start("worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder))

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        places = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(self._folder / "scheduler.json"))
        mark, paths = self._batch.mark.split("="), [str(self._batch.party), os.environ.get("PYTHONPATH", "")]
        ours = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "TALLY": str(self._batch.tally), mark[0]: mark[1]}
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments, *places], env={**os.environ, **ours}, stdout=log, stderr=log
            )

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def scheduler_dies(folder: Path) -> Counter[str]:
    """A Dask scheduler that dies, after a worker of its: what was finished is kept, and nothing counts as failed."""
    batch = Batch(folder, COUNTED.format(seconds=0.02, cells=150))
    batch.refer("-j1")
    batch.computed()
    out, options = folder / "results", ("--engine", "dask", "--address")
    first = Cluster(batch, folder / "first")
    driver = batch.start(out, *options, first.address)
    while len(list(out.glob("*/*/run.json"))) < 20:
        expect(driver.poll() is None, "the driver left")
        time.sleep(0.02)
    first.workers[0].kill()
    while len(list(out.glob("*/*/run.json"))) < 50:
        expect(driver.poll() is None, "the driver left when a worker died")
        time.sleep(0.02)
    first.scheduler.kill()
    ended = end(driver)
    first.end()
    expect(ended.code in {1, 3}, f"ended with {ended.code}: {ended.err[-3000:]}")
    expect("does not answer any more" in ended.err and "Traceback" not in ended.err, ended.err[-3000:])
    kept, failed = len(list(out.glob("*/*/run.json"))), len(list(out.glob("*/*/error.json")))
    expect(failed == 0, f"{failed} cells count as failed because the scheduler died")
    second = Cluster(batch, folder / "second")
    resumed = batch.run(out, *options, second.address)
    second.end()
    expect(resumed.code == 0, f"with a new scheduler it ended with {resumed.code}: {resumed.err[-3000:]}")
    expect(resumed.states == {"read back": kept, "done": 150 - kept}, f"{resumed.states}, {kept} were there")
    again = batch.computed().total() - 150
    left_over = batch.check(out)
    return Counter({"there when it died": kept, "computed again": again, "left over": left_over})


def engines(folder: Path) -> int:
    """The same bytes on one worker, on two, in the driver itself and on Dask."""
    batch = Batch(folder, NETWORKS)
    batch.refer("-j1")
    for name, *options in (("two", "-j2"), ("none", "-j0"), ("dask", "--engine", "dask", "-j2")):
        ended = batch.run(folder / name, *options)
        expect(ended.code == 0, f"{options} ended with {ended.code}: {ended.err[-3000:]}")
        expect(batch.check(folder / name) == 0, "left-overs of a run that ended well")
    return len(batch.reference)
