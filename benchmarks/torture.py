"""Do to batches what nights do to them, and see whether all cells are there in the morning: `make torture`.

Drivers and workers are killed at random moments, drivers run beside each other and are put to sleep, disks fill up,
stored files are torn, schedulers die, cells hang. Each step runs `resexp run` as processes of its own, and holds what
is stored in the end against an undisturbed run: every cell once, every table the same bytes, nothing left behind that
`resexp clean` does not list, no process that lives on. tests/runs/test_survival.py does a small part of it in CI.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from torturing.batches import BrokenError, told
from torturing.cells import moods, vanishing
from torturing.disks import disk_full, read_only
from torturing.drivers import asleep, two_drivers, two_drivers_one_killed
from torturing.engines import engines, scheduler_dies
from torturing.kills import step_kills
from torturing.overhead import overhead
from torturing.stored import damaged

Step = Callable[[Path, random.Random, argparse.Namespace], str]
STEPS: dict[str, Step] = {
    "kills": step_kills,
    "two drivers": lambda folder, *_: told(two_drivers(folder)),
    "one of two killed": lambda folder, dice, options: told(
        two_drivers_one_killed(folder, dice, max(2, options.kills // 10))
    ),
    "a driver asleep": lambda folder, *_: told(asleep(folder, prelude="", seconds=40.0)),
    "disk full": lambda folder, *_: told(disk_full(folder)),
    "read-only": lambda folder, *_: told(read_only(folder)),
    "torn and copied": lambda folder, *_: told(damaged(folder, prelude="")),
    "moods of cells": lambda folder, *_: told(moods(folder)),
    "an experiment vanishes": lambda folder, *_: told(vanishing(folder) is None),
    "a scheduler dies": lambda folder, *_: told(scheduler_dies(folder)),
    "engines": lambda folder, *_: f"the same bytes on -j1, -j2, -j0 and dask, {engines(folder)} cells",
    "ten thousand cells": lambda folder, _, options: overhead(folder, options.cells),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(map(repr, STEPS))} [default: all]")
    parser.add_argument("--kills", type=int, default=120, help="at random moments [default: 120]")
    parser.add_argument("--cells", type=int, default=10_000, help="trivial ones, whose cost is measured")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the moments")
    options = parser.parse_args()
    if unknown := set(options.steps) - STEPS.keys():
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that mounts and folders go
    print(f"--seed {options.seed}", flush=True)
    broken = []
    for name in options.steps or STEPS:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            try:
                said = STEPS[name](Path(folder), random.Random(options.seed), options)
            except BrokenError as error:
                broken.append(name)
                said = f"BROKEN: {error}"
        lines = said.splitlines()
        print(f"{name} ({time.monotonic() - start:.0f} s): {lines[0]}", *lines[1:], sep="\n    ", flush=True)
    sys.exit(f"Broken: {', '.join(broken)}" if broken else 0)


if __name__ == "__main__":
    main()
