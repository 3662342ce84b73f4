"""What a million cells on a thousand workers would take, as far as one machine tells: `python benchmarks/million.py`.

Expanding a million cells; storing a hundred thousand in one folder, reading them back, listing and exporting them;
locks; and how many trivial calls a Dask scheduler with two workers takes a second. docs/million.md draws conclusions.
"""

import argparse
import heapq
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from resexp.experiments.parameters import Parameters
from resexp.runs import batch, config
from resexp.runs.cell import Cell, Outcome, run_cell
from resexp.runs.engines import open_engine
from resexp.runs.settings import Settings
from resexp.runs.store import Store
from resexp_cli.batch_summary import Summary


def cell(number: int) -> Cell:
    return Cell(Parameters(layers=1 + number // 1000, width=1 + number % 1000), Settings())


def memory() -> float:
    """Megabytes that this process has at most had."""
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


@contextmanager
def timed(what: str, times: int = 1, unit: str = "ms") -> Iterator[None]:
    start, work = time.perf_counter(), time.process_time()
    yield
    seconds, work = time.perf_counter() - start, time.process_time() - work
    scale = {"ms": 1e3, "µs": 1e6, "s": 1.0}[unit] / times
    print(f"  {what}: {scale * seconds:.3g} {unit}, of which {scale * work:.3g} {unit} of work", flush=True)


def expand(folder: Path, cells: int) -> None:
    file = folder / "batch.yaml"
    sweep = f"{{layers: 1:{cells // 1000}:1, width: 1:1000:1}}"
    file.write_text(f"experiments:\n  all: {{experiment: parameters, sweep: {sweep}}}\n")
    with timed("reading the file", unit="s"):
        entries = config.load(file).entries
    before = memory()
    with timed(f"expanding {cells} cells, with their ids", unit="s"):
        count = sum(bool(one.id) for _, one in batch.plan(entries))
    print(f"  {count} cells, {memory():.0f} MB, {memory() - before:.0f} MB more than before")


def store(folder: Path, cells: int) -> None:
    stored, outcome = Store(folder / "results"), run_cell(cell(0))
    done = 0
    for upto in (cells // 100, cells // 10, cells):
        with timed(f"storing cells {done} to {upto}, each", upto - done):
            for number in range(done, upto):
                one = cell(number)
                stored.save(Outcome(one, outcome.result, {**outcome.run, "id": one.id}))
        done = upto
        sample = [cell(number) for number in range(0, done, max(1, done // 1000))]
        missing = [cell(cells + number) for number in range(1000)]
        with timed(f"reading one back beside {done}", len(sample), "µs"):
            for one in sample:
                assert stored.load(one) is not None
        with timed(f"looking for one that is not there beside {done}", len(missing), "µs"):
            for one in missing:
                assert stored.load(one) is None
                assert stored.failure(one) is None
        with timed(f"taking and giving back a lock beside {done}", len(missing), "µs"):
            for one in missing:
                lock = stored.lock(one)
                assert lock.take()
                lock.release()
    with timed(f"listing {cells} names"):
        os.listdir(stored.root / "parameters")  # noqa: PTH208
    print(
        "  on the disk:",
        subprocess.run(["du", "-sh", str(stored.root)], capture_output=True, text=True).stdout.split()[0],
    )


def commands(folder: Path, cells: int) -> None:
    """resexp on what `store` has stored: read all back, status, export, clean."""
    file = folder / "batch.yaml"
    sweep = f"{{layers: 1:{cells // 1000}:1, width: 1:1000:1}}"
    file.write_text(f"experiments:\n  all: {{experiment: parameters, sweep: {sweep}}}\n")
    out = ("--out", str(folder / "results"))
    for name, *arguments in (
        ("run, all read back", "run", str(file), "-j1", *out),
        ("status", "status", str(file), *out),
        ("export to CSV", "export", str(file), *out, "--to", str(folder / "all.csv")),
        ("clean, listing only", "clean", str(file), *out),
    ):
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "resexp_cli", *arguments], stdout=subprocess.DEVNULL)
        _, code, used = os.wait4(process.pid, 0)
        seconds, work = time.perf_counter() - start, used.ru_utime + used.ru_stime
        print(f"  {name}: {seconds:.1f} s, of which {work:.1f} s of work, {used.ru_maxrss / 1024:.0f} MB", flush=True)
        if code:
            print(f"  it ended with {code >> 8}")
    print(f"  all.csv: {(folder / 'all.csv').stat().st_size / 1e6:.0f} MB")


class Crowd(Executor):
    """Workers that compute nothing and take some seconds for it, those of each worker one after another."""

    def __init__(self, workers: int, seconds: float, given: dict[str, Any]) -> None:
        self._given, self._seconds, self._dice = given, seconds, random.Random(1)
        self._free = [0.0] * workers
        self._due: list[tuple[float, int, Future[Any]]] = []
        self._numbers, self._guard, self._ended = itertools.count(), threading.Lock(), False
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        start = max(time.monotonic(), heapq.heappop(self._free))
        end = start + self._seconds * self._dice.uniform(0.5, 1.5)
        heapq.heappush(self._free, end)
        with self._guard:
            heapq.heappush(self._due, (end, next(self._numbers), future))
        return future

    def _work(self) -> None:
        while not self._ended:
            ended = []
            with self._guard:
                while self._due and self._due[0][0] <= time.monotonic():
                    ended.append(heapq.heappop(self._due)[2])
            for future in ended:
                future.set_result(self._given)
            time.sleep(0.002)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._ended = True


def crowd(folder: Path, cells: int) -> None:
    """The driver of a thousand workers: planning, looking up, locking, saving and summing up, all but the network."""
    workers = 1000
    file = folder / "crowd.yaml"
    file.write_text(
        f"experiments:\n  all: {{experiment: parameters, sweep: {{layers: 1:{cells // 1000}:1, width: 1:1000:1}}}}\n"
    )
    outcome = run_cell(cell(0))
    given = {"result": asdict(outcome.result), "run": dict(outcome.run)}
    for seconds in (0.0, 1.0, 2.0, 4.0):
        entries = config.load(file).entries
        summary = Summary(entries, folder, everything_checked=False)
        with Crowd(workers, seconds, given) as executor:
            runner = batch.Runner(executor, lambda: workers, Store(folder / f"crowd-{seconds}"), batch.Rules())
            start, work = time.perf_counter(), time.process_time()
            for done in runner.run(batch.plan(entries)):
                summary.add(done)
        took, work = time.perf_counter() - start, time.process_time() - work
        busy = f", workers busy for {100 * seconds * cells / workers / took:.0f} %" if seconds else ""
        print(
            f"  cells of {seconds:g} s on {workers} workers: {cells / took:.0f} a second{busy}; "
            f"{1000 * work / cells:.2f} ms of work for each",
            flush=True,
        )


def engines(_: Path, calls: int) -> None:
    """Trivial calls through an engine with two workers, a window of `ahead` submitted at a time."""
    for name in ("local", "dask"):
        with open_engine(name, workers=2) as engine:
            for future in [engine.submit(abs, -1) for _ in range(20)]:
                future.result()
            for ahead in (4, 200):
                waiting = []
                with timed(f"{name}, {ahead} submitted ahead, each call", calls):
                    for _ in range(calls):
                        waiting.append(engine.submit(abs, -1))
                        if len(waiting) >= ahead:
                            waiting.pop(0).result()
                    for future in waiting:
                        future.result()


STEPS: dict[str, tuple[Callable[[Path, int], None], int]] = {
    "expand": (expand, 1_000_000),
    "store": (store, 100_000),
    "commands": (commands, 100_000),
    "crowd": (crowd, 20_000),
    "engines": (engines, 2_000),
}


SMALLEST_SHARE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []], metavar="STEP", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--share", type=float, default=1.0, help="of the number of cells and calls [default: 1]")
    options = parser.parse_args()
    if options.share < SMALLEST_SHARE:
        parser.error(f"--share {options.share}: at least {SMALLEST_SHARE}, a thousand cells for each step.")
    with tempfile.TemporaryDirectory(prefix="million-") as folder:
        for name in options.steps or STEPS:
            step, count = STEPS[name]
            print(f"{name}, at a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
            step(Path(folder), int(options.share * count))


if __name__ == "__main__":
    main()
