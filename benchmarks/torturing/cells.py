"""Cells that raise, hang, print without end, exit or vanish."""

import json
import os
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

from torturing.batches import COUNTED, MOODS, Batch, end, expect


def moods(folder: Path, timeout: int = 5) -> Counter[str]:
    """Experiments that hang, crash, print megabytes and worse: each fails its own cell, and says how."""
    batch = Batch(folder, MOODS.format() + "  well: {experiment: moody}\n  paths: {experiment: paths}\n")
    out = folder / "results"
    ended = batch.run(out, "-j2", "--timeout", str(timeout))
    expect(ended.code == 3, f"ended with {ended.code}: {ended.err[-3000:]}")
    expect("Traceback" not in ended.err, ended.err[-5000:])
    expect(len(ended.err) < 10_000, f"{len(ended.err)} characters on stderr")
    stored = {json.loads(path.read_text())["run"]["entry"] for path in out.glob("*/*/run.json")}
    failures = {}
    for path in out.glob("*/*/error.json"):
        document = json.loads(path.read_text())
        failures[document["parameters"]["mood"]] = document
        expect(path.stat().st_size < 40_000, f"{path} has {path.stat().st_size} bytes")
    names = set(re.findall(r"^  (\w+):", batch.file.read_text(), re.MULTILINE))
    expect(stored == {"well", "paths"}, f"stored: {stored}")
    expect(set(failures) == names - stored, f"failures: {set(failures)}")
    expect("--timeout" in failures["hangs"]["message"], failures["hangs"]["message"])
    expect("SIGABRT" in failures["aborts"]["message"], failures["aborts"]["message"])
    expect(failures["prints"]["output"].endswith("x\n"), "what it printed is not kept")
    again = batch.run(out, "-j2", "--timeout", str(timeout))
    expect(again.code == 3 and again.err.count("failed before") == len(failures), f"again: {again.err}")
    no_more = batch.party / "third_party-1.0.dist-info" / "entry_points.txt"
    no_more.write_text(no_more.read_text().replace("moody = third_party.moody\n", ""))
    gone = batch.run(out, "-j2")
    expect(gone.code == 2 and "There is no experiment 'moody'" in gone.err, f"{gone.code}: {gone.err}")
    status = end(batch.resexp("status", str(batch.file), "--out", str(out)))
    expect(status.code == 2 and "moody" in status.err, f"{status.code}: {status.err}")
    expect({f"{path.parent.name}" for path in out.glob("moody/*/run.json")}, "the result of the experiment was removed")
    batch.all_gone()
    return Counter({"failed, each for itself": len(failures)})


def vanishing(folder: Path) -> None:
    """An experiment whose code is removed while the batch runs: workers started since cannot run it."""
    batch = Batch(folder, COUNTED.format(seconds=0.05, cells=60))
    batch.refer("-j1")
    out = folder / "results"
    driver = batch.start(out, "-j1")
    while len(list(out.glob("*/*/run.json"))) < 5:
        time.sleep(0.01)
    code = batch.party / "third_party" / "counted.py"
    code.rename(code.with_suffix(".away"))
    shutil.rmtree(code.parent / "__pycache__", ignore_errors=True)
    for worker in batch.workers(driver):
        os.kill(worker, signal.SIGKILL)
    ended = end(driver)
    expect(ended.code == 3, f"ended with {ended.code}: {ended.err[-3000:]}")
    expect("third_party.counted cannot be loaded" in ended.err, ended.err[-3000:])
    code.with_suffix(".away").rename(code)
    again = batch.run(out, "-j1", "--retry-failed")
    expect(again.code == 0, f"ended with {again.code}: {again.err[-3000:]}")
    batch.check(out)
