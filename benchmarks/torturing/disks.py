"""Disks that fill up, and folders that nothing can be written to."""

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torturing.batches import COUNTED, Batch, end, expect, tables


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[bool]:
    """A mount at the folder; False where that is not permitted."""
    folder.mkdir(exist_ok=True)
    command = ["mount", *options, str(folder)]
    done = shutil.which("mount") and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield bool(done)
    finally:
        if done:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def disk_full(folder: Path, *, cells: int = 200) -> Counter[str] | None:
    """A disk that fills up, and is made larger then. None where nothing may be mounted."""
    batch = Batch(folder, COUNTED.format(seconds=0.0, cells=cells))
    batch.refer("-j1")
    batch.computed()
    with mounted(folder / "small", "-t", "tmpfs", "-o", "size=300k", "tmpfs") as possible:
        if not possible:
            return None
        out = folder / "small" / "results"
        full = batch.run(out, "-j2")
        expect(full.code == 3, f"ended with {full.code} on a full disk: {full.err[-2000:]}")
        expect("No space left on device" in full.err, f"no word of the disk: {full.err[-2000:]}")
        expect("Traceback" not in full.err, full.err[-4000:])
        kept = len(tables(out))
        expect(0 < kept == full.states["done"], f"{kept} cells stored, but {full.states}")
        wasted = batch.computed().total() - kept
        subprocess.run(["mount", "-o", "remount,size=30m", str(folder / "small")], check=True)
        resumed = batch.run(out, "-j2")
        expect(resumed.code == 0, f"with space again it ended with {resumed.code}: {resumed.err[-2000:]}")
        expect(resumed.states == {"read back": kept, "done": cells - kept}, f"{resumed.states} after {kept}")
        left_over = batch.check(out)
    return Counter({"stored before the disk was full": kept, "computed in vain": wasted, "left over": left_over})


def read_only(folder: Path) -> bool | None:
    """A folder that cannot be written, and one that cannot be from a moment on. None where nothing may be mounted."""
    batch = Batch(folder, COUNTED.format(seconds=0.02, cells=60))
    batch.refer("-j1")
    batch.computed()
    for place in ("out", "out/counted"):  # a file where a folder should be
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).touch()
        ended = batch.run(folder / "out", "-j1")
        expect(ended.code in {2, 3}, f"{place} is a file: ended with {ended.code}: {ended.err}")
        expect("Traceback" not in ended.err and place in ended.err, ended.err)
        expect(not batch.computed(), "computed what could not be stored")
        (folder / place).unlink()
    with mounted(folder / "disk", "-t", "tmpfs", "tmpfs") as possible:
        if not possible:
            return None
        disk, out = str(folder / "disk"), folder / "disk" / "results"
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        ended = batch.run(out, "-j1")
        expect((ended.code, "Read-only" in ended.err) == (2, True), f"ended with {ended.code}: {ended.err}")
        expect(not batch.computed(), "computed what could not be stored")
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        driver = batch.start(out, "-j1")
        while len(list(out.glob("*/*/run.json"))) < 5:
            time.sleep(0.01)
        while subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True, check=False).returncode:
            time.sleep(0.01)  # a file is being written this moment
        ended = end(driver)
        expect(ended.code == 3, f"ended with {ended.code}: {ended.err[-2000:]}")
        expect("Read-only" in ended.err and "Traceback" not in ended.err, ended.err[-2000:])
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        resumed = batch.run(out, "-j1")
        expect(resumed.code == 0, f"ended with {resumed.code}: {resumed.err[-2000:]}")
        batch.check(out)
    return True
