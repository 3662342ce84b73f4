"""Several drivers on one store, one of them killed or put to sleep."""

import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from torturing.batches import COUNTED, SHORT, Batch, end, expect


def two_drivers(folder: Path, *, cells: int = 300) -> Counter[str]:
    """Two at once on a fresh folder: no cell is computed twice, both end well and count all cells."""
    batch = Batch(folder, COUNTED.format(seconds=0.01, cells=cells))
    batch.refer("-j1")
    batch.computed()
    out = folder / "shared"
    drivers = [batch.start(out, "-j1") for _ in range(2)]
    ended = [end(driver) for driver in drivers]
    expect([one.code for one in ended] == [0, 0], f"ended with {[(one.code, one.err) for one in ended]}")
    twice = [number for number, times in batch.computed().items() if times > 1]
    expect(not twice, f"computed twice: {twice}")
    done, read_back = (sum(one.states[state] for one in ended) for state in ("done", "read back"))
    expect((done, read_back) == (cells, cells), f"{done} done and {read_back} read back, of {cells} cells")
    expect(batch.check(out) == 0, "left-overs of two drivers that ended well")
    return Counter({f"driver {number}": one.states["done"] for number, one in enumerate(ended, 1)})


def two_drivers_one_killed(folder: Path, dice: random.Random, most: int) -> Counter[str]:
    """One of two is killed again and again; the other ends well, and little is computed twice."""
    cells = 150 * most
    batch = Batch(folder, COUNTED.format(seconds=0.01, cells=cells))
    batch.refer("-j2")
    batch.computed()
    out, killed = folder / "shared", 0
    steady = batch.start(out, "-j1")
    while killed < most and steady.poll() is None:
        other = batch.start(out, "-j1", "--retry-failed")
        while other.poll() is None and not batch.workers(other):
            time.sleep(0.02)
        with suppress(subprocess.TimeoutExpired):
            other.wait(dice.uniform(0.0, 0.7))
        killed += other.poll() is None
        other.kill()
        other.communicate()
    ended = end(steady)
    expect(ended.code == 0, f"the other driver ended with {ended.code}: {ended.err}")
    computed = batch.computed()
    expect(computed.total() - cells <= killed, f"{computed.total()} computations of {cells} cells at {killed} kills")
    expect(ended.states.total() == cells, f"the other driver counts {ended.states}")
    left_over = batch.check(out)
    return Counter({"kills": killed, "computed again": computed.total() - cells, "left over": left_over})


def asleep(folder: Path, *, prelude: str = SHORT, seconds: float = 3.0) -> Counter[str]:
    """A driver that is stopped for longer than its locks may be silent, while another runs, and then goes on."""
    cells = 120
    batch = Batch(folder, COUNTED.format(seconds=0.01, cells=cells))
    batch.refer("-j1")
    batch.computed()
    out = folder / "shared"
    sleeper = batch.start(out, "-j1", prelude=prelude)
    while not list(out.glob("*/*/run.json")):
        time.sleep(0.01)
    sleeper.send_signal(signal.SIGSTOP)
    slept = time.monotonic()
    other = end(batch.start(out, "-j1", prelude=prelude))
    expect(other.code == 0, f"the other driver ended with {other.code}: {other.err}")
    expect(other.states.total() == cells, f"the other driver counts {other.states}")
    time.sleep(max(0.0, seconds - (time.monotonic() - slept)))
    sleeper.send_signal(signal.SIGCONT)
    ended = end(sleeper)
    expect(ended.code == 0, f"the sleeper ended with {ended.code}: {ended.err}")
    computed = batch.computed()
    expect(computed.total() <= cells + 2, f"{computed.total()} computations of {cells} cells")
    left_over = batch.check(out)
    return Counter({"computed again": computed.total() - cells, "left over": left_over})
