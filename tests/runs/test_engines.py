"""Engines: whatever becomes of a call, it takes nothing else along; the same numbers wherever they are computed."""

import math
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from resexp.core.errors import UsageError
from resexp.core.tabular import to_csv
from resexp.experiments.paths import Paths
from resexp.experiments.variance import Variance
from resexp.runs.cell import Cell, Outcome
from resexp.runs.engines import (
    CallFailedError,
    CellTimeoutError,
    Engine,
    StoppedError,
    WorkerDiedError,
    open_engine,
    slot,
)
from resexp.runs.settings import Settings
from resexp.runs.worker import outcome_of, work

GONE = 3.0  # seconds in which a process that was ended is gone


def cells() -> list[Cell]:
    """Two quick ones with random networks, one without."""
    quick = Variance.quick | {"depth": 4, "width": 32, "draws": 32}
    return [
        Cell(Variance.parse(quick), Settings(seed=1)),
        Cell(Variance.parse(quick), Settings(seed=2)),
        Cell(Paths(blocks=30), Settings()),
    ]


def tables(engine: Engine) -> list[str]:
    """CSV of each cell, computed by the engine."""
    futures = [engine.submit(work, cell.data()) for cell in cells()]
    outcomes = [outcome_of(cell, future.result()) for cell, future in zip(cells(), futures, strict=True)]
    assert all(isinstance(outcome, Outcome) for outcome in outcomes), outcomes
    return [to_csv(outcome.result.columns, outcome.result.rows) for outcome in outcomes if isinstance(outcome, Outcome)]


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def all_end(processes: list[int], seconds: float = GONE) -> bool:
    """Whether all are gone within some seconds."""
    deadline = time.monotonic() + seconds
    while any(map(is_running, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_running, processes))


def test_the_same_bytes_on_one_worker_on_two_and_here() -> None:
    here = [outcome_of(cell, work(cell.data())) for cell in cells()]
    expected = [to_csv(outcome.result.columns, outcome.result.rows) for outcome in here if isinstance(outcome, Outcome)]
    with open_engine("local", workers=1) as one, open_engine("local", workers=2) as two:
        assert (one.slots, two.slots) == (1, 2)
        assert tables(one) == tables(two) == expected


def test_workers_have_one_thread_import_torch_for_those_that_need_it_and_tell_how_far_they_are() -> None:
    told: list[tuple[int, int, int]] = []
    network, _, paths = cells()
    with open_engine("local", workers=1, progress=lambda *words: told.append(words)) as engine:
        engine.submit(work, paths.data()).result()
        assert not engine.submit(eval, "'torch' in __import__('sys').modules").result()
        engine.submit(work, network.data()).result()
        assert engine.submit(eval, "__import__('torch').get_num_threads()").result() == 1
        assert engine.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"
    number, done, total = told[0]
    assert number == 2
    assert 0 < done <= total


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("os._exit(3)", "exit code 3"),
        ("os.abort()", "SIGABRT"),
        ("os.kill(os.getpid(), 9)", "ran out of memory"),
    ],
)
def test_a_worker_that_dies_fails_its_own_call(call: str, said: str) -> None:
    with open_engine("local", workers=2) as engine:
        other = engine.submit(eval, "__import__('time').sleep(0.4) or 'well'")
        dies = engine.submit(exec, f"import os; print('last words', flush=True); {call}")
        error = dies.exception()
        assert isinstance(error, WorkerDiedError)
        assert said in str(error)
        assert error.output.startswith("last words\n")
        assert [engine.submit(abs, -n).result() for n in range(4)] == [0, 1, 2, 3]
        assert other.result() == "well"


def test_workers_killed_at_random_moments_fail_what_they_ran_and_no_more() -> None:
    run = "__import__('time').sleep(0.01) or {}"
    kills, stop, seed = 0, threading.Event(), random.Random(1)
    with open_engine("local", workers=2) as engine:

        def kill() -> None:
            nonlocal kills
            while not stop.wait(seed.uniform(0.0, 0.1)):
                process = engine._slots[seed.randrange(2)]._process  # type: ignore[attr-defined]
                if process is not None and process.returncode is None:
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                        kills += 1

        killer = threading.Thread(target=kill)
        killer.start()
        futures = [engine.submit(eval, run.format(n)) for n in range(200)]
        wait(futures)
        stop.set()
        killer.join()
        errors = [error for future in futures if (error := future.exception()) is not None]
        assert all(isinstance(error, WorkerDiedError) for error in errors), errors
        assert 0 < len(errors) <= kills
        assert all(future.exception() or future.result() == n for n, future in enumerate(futures))
        assert engine.submit(abs, -1).result() == 1


def test_a_call_that_hangs_is_ended_with_all_that_it_started() -> None:
    hang = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); import time; time.sleep(60)"
    with open_engine("local", workers=1, timeout=1.0) as engine:
        error = engine.submit(exec, hang).exception()
        assert isinstance(error, CellTimeoutError)
        assert "1 seconds" in str(error)
        assert all_end([int(error.output)])
        assert engine.submit(abs, -1).result() == 1


class SlowToLoad:
    """Becomes `time.sleep` when a worker loads it, which takes it a second."""

    def __reduce__(self) -> Any:
        return eval, ("__import__('time').sleep(1) or __import__('time').sleep",)

    def __call__(self, seconds: float) -> None:
        raise AssertionError


def test_the_time_that_a_call_may_take_begins_when_what_it_needs_is_loaded() -> None:
    with open_engine("local", workers=1, timeout=0.6) as engine:
        engine.submit(SlowToLoad(), 0.0).result()
        engine.submit(exec, f"{BEGUN}; time.sleep(0.4); begun(); time.sleep(0.4)").result()
        assert isinstance(engine.submit(SlowToLoad(), 60.0).exception(), CellTimeoutError)
        assert isinstance(engine.submit(exec, f"{BEGUN}; begun(); time.sleep(60)").exception(), CellTimeoutError)


BEGUN = "import time; from resexp.runs.engines.child import begun"
WATCHED = """
import sys
from resexp.runs import worker
seen = []
worker.begun = lambda: seen.append(("begun", "torch" in sys.modules))
worker.run_cell = lambda *_: seen.append(("run", "torch" in sys.modules))
worker.work({data!r})
"""


def test_a_new_worker_loads_torch_before_the_time_of_its_cell_begins() -> None:
    network, _, paths = cells()
    with open_engine("local", workers=1) as engine:
        seen = [
            engine.submit(eval, f"exec({WATCHED.format(data=cell.data())!r}, told := {{}}) or told['seen']").result()
            for cell in (paths, network)
        ]
    assert seen == [[("run", False)], [("begun", True), ("run", True)]]


def test_what_is_never_loaded_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "LOAD", 0.1)
    with open_engine("local", workers=1, timeout=0.2) as engine:
        error = engine.submit(SlowToLoad(), 0.0).exception()
    assert isinstance(error, CellTimeoutError)
    assert str(error) == "It had not begun after 0.3 seconds (--timeout)."


def test_print_reaches_neither_the_terminal_nor_memory(capfd: pytest.CaptureFixture[str]) -> None:
    prints = "import os; [os.write(n % 2 + 1, b'x' * 999 + bytes([10])) for n in range(5_000)]; print('the end')"
    with open_engine("local", workers=1) as engine:
        engine.submit(exec, prints).result()
        assert engine.submit(eval, "{'failure': {'output': ''}}").result() == {"failure": {"output": ""}}
        told: Any = engine.submit(eval, f"exec({prints!r}) or {{'failure': {{}}}}").result()
        assert told["failure"]["output"].endswith("x\nthe end\n")
        assert len(told["failure"]["output"]) <= 16_000
    assert capfd.readouterr() == ("", "")


def test_progress_comes_with_the_number_of_the_call_and_not_too_often() -> None:
    told: list[tuple[int, int, int]] = []
    count = """
import time
from resexp.runs.engines.child import report
for done in range(50):
    report(done, 50)
    time.sleep(0.01)
"""
    with open_engine("local", workers=1, progress=lambda *words: told.append(words)) as engine:
        engine.submit(abs, -1).result()
        start = time.monotonic()
        engine.submit(exec, count).result()
        seconds = time.monotonic() - start
    assert {(number, total) for number, _, total in told} == {(1, 50)}
    assert [done for _, done, _ in told] == sorted({done for _, done, _ in told})
    assert 2 <= len(told) <= 1 + 5 * seconds


def test_what_is_not_a_number_is_handed_back_and_what_cannot_be_run_is_told() -> None:
    gone = cells()[2].data() | {"experiment": "no-longer"}
    with open_engine("local", workers=1) as engine:
        failure = outcome_of(cells()[2], engine.submit(work, gone).result())
        assert "There is no experiment 'no-longer'" in str(failure)
        assert math.isnan(engine.submit(float, "nan").result())
        for call, said in (
            ("__import__('sys').exit(2)", "SystemExit: 2"),
            ("lambda: 0", "pickle"),
            ("1 / 0", "division"),
        ):
            error = engine.submit(eval, call).exception()
            assert isinstance(error, CallFailedError)
            assert said in str(error)
        with pytest.raises((pickle.PicklingError, AttributeError)):
            engine.submit(lambda: 0)
        assert engine.submit(abs, -1).result() == 1


def test_shutting_down_ends_what_runs_at_once() -> None:
    start = 0.0
    with suppress(KeyboardInterrupt), open_engine("local", workers=2) as engine:
        processes = [engine.submit(os.getpid).result() for _ in range(2)]
        futures: list[Future[Any]] = [engine.submit(exec, "while True: pass") for _ in range(5)]
        time.sleep(0.3)
        start = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - start < 2
    assert [isinstance(future.exception(), StoppedError) for future in futures[:2]] == [True, True]
    assert all(future.cancelled() for future in futures[2:])
    assert all_end(processes)


DRIVER = """
import sys
from resexp.runs.engines import open_engine
name = "import os; open({!r}, 'a').write(str(os.getpid()) + ' '); ".format(sys.argv[1])
with open_engine("local", workers=2) as engine:
    for call in ("while True: pass", "import time; time.sleep(60)", ""):
        last = engine.submit(exec, name + call)
    last.result()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_driver(tmp_path: Path, end: signal.Signals) -> None:
    named = tmp_path / "workers"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(named)], stderr=subprocess.DEVNULL)
    try:
        while not named.exists() or len(named.read_text().split()) < 2:
            assert driver.poll() is None
            time.sleep(0.02)
        workers = [int(word) for word in named.read_text().split()]
        os.kill(workers[0], signal.SIGINT)  # the driver decides, not a worker
        time.sleep(0.1)
        assert is_running(workers[0])
        driver.send_signal(end)
        driver.wait(10)
        assert all_end(workers)
    finally:
        driver.kill()
        driver.wait()


def test_ten_thousand_calls_take_little_time_and_no_memory() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with open_engine("local", workers=1) as engine:
        for _ in range(500):
            engine.submit(abs, -1).result()
        before, start = resident(), time.perf_counter()
        for _ in range(10_000):
            engine.submit(abs, -1).result()
        assert (time.perf_counter() - start) / 10_000 < 0.002
        assert resident() - before < 3_000_000


def test_two_workers_run_two_calls_at_once() -> None:
    spans = "(time := __import__('time'), time.monotonic(), time.sleep(0.5), time.monotonic())[1::2]"
    with open_engine("local", workers=2) as engine:
        futures = [engine.submit(eval, spans) for _ in range(2)]
        (start, end), (other_start, other_end) = (future.result() for future in futures)
    assert max(start, other_start) < min(end, other_end)


def test_an_engine_that_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match="did you mean 'local'"):
        open_engine("locl", workers=1)
    with pytest.raises(UsageError, match="--engine dask"):
        open_engine("local", workers=1, address="tcp://127.0.0.1:8786")
