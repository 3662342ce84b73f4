"""Drivers and workers are killed at random moments."""

import argparse
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from torturing.batches import (
    CELLS,
    NETWORKS,
    TABLES,
    Batch,
    expect,
)


@dataclass
class Kills:
    drivers: int = 0
    workers: int = 0
    rounds: int = 0
    left_over: int = 0
    slowest: float = 0.0
    progress: list[int] = field(default_factory=list)

    @property
    def all(self) -> int:
        return self.drivers + self.workers


def torment(batch: Batch, out: Path, dice: random.Random, done: Kills, most: int) -> None:
    """Run the batch, killing its driver or a worker again and again, until it has ended or there were most kills."""
    driver = batch.start(out, "-j2", "--retry-failed")
    try:
        while done.all < most:
            if dice.random() < 0.9:  # else it may be killed while it starts
                while driver.poll() is None and not batch.workers(driver):
                    time.sleep(0.02)
            with suppress(subprocess.TimeoutExpired):
                driver.wait(dice.uniform(0.0, 0.7) * batch.undisturbed)
            if driver.poll() is not None:
                expect(driver.returncode in {0, 3}, f"a run ended with {driver.returncode}")
                break
            workers = batch.workers(driver)
            if workers and dice.random() < 0.5:
                with suppress(ProcessLookupError):
                    os.kill(dice.choice(workers), signal.SIGKILL)
                    done.workers += 1
                continue
            done.slowest = max(done.slowest, batch.kill(driver))
            done.drivers += 1
            done.progress.append(len(list(out.glob("*/[!.]*/run.json"))))
            driver = batch.start(out, "-j2", "--retry-failed")
    finally:
        batch.kill(driver)


def kills(folder: Path, dice: random.Random, most: int, text: str, cells: int) -> Kills:
    """That many kills, over as many fresh folders as that takes, each resumed to its end and checked."""
    batch, done = Batch(folder, text), Kills()
    batch.refer("-j2")
    expect(len(batch.reference) == cells, f"{len(batch.reference)} cells, not {cells}")
    while done.all < most:
        done.rounds += 1
        out = folder / f"round-{done.rounds}"
        torment(batch, out, dice, done, most)
        last = batch.run(out, "-j2", "--retry-failed")
        expect(last.code == 0, f"the last run ended with {last.code}: {last.err}")
        expect(last.states.total() == cells, f"the last run counts {last.states}, of {cells} cells")
        done.left_over += batch.check(out)
        again = batch.run(out, "-j2")
        expect(again.states == {"read back": cells}, f"everything is stored, but {again.states}")
        shutil.rmtree(out)
    return done


def step_kills(folder: Path, dice: random.Random, options: argparse.Namespace) -> str:
    told = []
    for name, text, share in (("tables", TABLES, 0.85), ("networks", NETWORKS, 0.15)):
        (folder / name).mkdir()
        done = kills(folder / name, dice, round(share * options.kills), text, CELLS[text])
        told.append(
            f"{done.drivers} drivers and {done.workers} workers killed in {done.rounds} rounds of {CELLS[text]} cells; "
            f"all there, same bytes; {done.left_over} left-overs, all listed by clean; workers gone at most "
            f"{done.slowest:.2f} s after their driver"
        )
    return "\n".join(told)
