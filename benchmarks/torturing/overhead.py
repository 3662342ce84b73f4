"""What a trivial cell costs, and the memory of ten thousand."""

import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torturing.batches import Batch, end, expect


@dataclass(frozen=True)
class Measured:
    """seconds: from start to end; work: seconds of processors, of driver and worker; computing: those of the cells;
    memory: the most that the driver had, in bytes."""

    seconds: float
    work: float
    computing: float
    memory: int


def measured(batch: Batch, out: Path, cells: int) -> Measured:
    start = time.perf_counter()
    before = os.times()
    driver = batch.start(out, "-j1", "-q")
    memory = 0
    while driver.poll() is None:
        with suppress(OSError):
            found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{driver.pid}/status").read_text())
            memory = max(memory, 1024 * int(found[1]) if found else 0)
        time.sleep(0.02)
    seconds, after = time.perf_counter() - start, os.times()
    ended = end(driver)
    expect(ended.code == 0, f"ended with {ended.code}: {ended.err[-2000:]}")
    work = after.children_user + after.children_system - before.children_user - before.children_system
    stored = [json.loads(path.read_bytes())["run"]["seconds"] for path in out.glob("*/*/run.json")]
    expect(len(stored) == cells, f"{len(stored)} cells, not {cells}")
    return Measured(seconds, work, sum(stored), memory)


def overhead(folder: Path, cells: int = 10_000) -> str:
    """What a trivial cell costs beside its computation, with one worker; what reading back costs; and the memory."""
    text = "experiments:\n  trivial: {{experiment: parameters, sweep: {{layers: 1:{}:1, width: 1:100:1}}}}\n"
    tenth = cells // 10
    (folder / "tenth").mkdir()
    few, many = Batch(folder / "tenth", text.format(tenth // 100)), Batch(folder, text.format(cells // 100))
    out = folder / "results"

    def each(less: float, more: float) -> str:
        return f"{1000 * (more - less) / (cells - tenth):.2f} ms"

    first, fresh = measured(few, folder / "few", tenth), measured(many, out, cells)
    first_back, back = measured(few, folder / "few", tenth), measured(many, out, cells)
    for gone in sorted(out.glob("*/*"))[:: cells // 10]:
        shutil.rmtree(gone)
    rest = measured(many, out, cells)
    expect(fresh.memory - first.memory < 4e6, f"memory grows from {first.memory} to {fresh.memory} bytes")
    busy = f"at a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    work = (fresh.work - first.work - fresh.computing + first.computing) / (cells - tenth)
    expect(work < 0.005, f"{1000 * work:.2f} ms of processors for a cell beside its computing")
    return "\n".join(
        (
            f"{cells} cells: {each(first.seconds, fresh.seconds)} a cell, {busy}",
            f"of which {1000 * work:.2f} ms of processors beside {each(first.computing, fresh.computing)} of computing",
            f"read back: {back.seconds:.1f} s, {each(first_back.seconds, back.seconds)} a cell; all but 10:"
            f" {rest.seconds:.1f} s",
            f"the driver's memory: {first.memory / 1e6:.1f} MB at {tenth}, {fresh.memory / 1e6:.1f} MB at {cells}",
        )
    )
