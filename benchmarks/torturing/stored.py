"""Results that were torn, cut or copied from elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torturing.batches import COUNTED, SHORT, Batch, expect

TEARS: dict[str, Callable[[Path], object]] = {
    "a table cut off in a line": lambda cell: cut(cell / "result.csv", -3),
    "a table cut off at a line's end": lambda cell: (cell / "result.csv").write_bytes(b"number,square\n"),
    "an empty table": lambda cell: cut(cell / "result.csv", 0),
    "no table": lambda cell: (cell / "result.csv").unlink(),
    "another cell's table": lambda cell: (cell / "result.csv").write_bytes(b"number,square\n0,0\n"),
    "run.json cut off": lambda cell: cut(cell / "run.json", -40),
    "run.json cut off early": lambda cell: cut(cell / "run.json", 20),
    "an empty run.json": lambda cell: cut(cell / "run.json", 0),
    "no run.json": lambda cell: (cell / "run.json").unlink(),
    "zeros for run.json": lambda cell: (cell / "run.json").write_bytes(bytes(1000)),
    "a list for run.json": lambda cell: (cell / "run.json").write_text("[]"),
    "null in run.json": lambda cell: (cell / "run.json").write_text("null"),
    "run null in run.json": lambda cell: change(cell / "run.json", run=None),
    "families null in run.json": lambda cell: change(cell / "run.json", families=None),
    "another cell's run.json": lambda cell: change(cell / "run.json", run={"id": "0" * 16}),
    "deep nesting in run.json": lambda cell: (cell / "run.json").write_text("[" * 100_000),
    "an empty folder": lambda cell: [path.unlink() for path in cell.iterdir()],
    "a folder for run.json": lambda cell: ((cell / "run.json").unlink(), (cell / "run.json").mkdir()),
    "a file for the folder": lambda cell: (shutil.rmtree(cell), cell.write_text("what?")),
    "a torn failure": lambda cell: (cut(cell / "run.json", 0), (cell / "error.json").write_text('{"type": "Val')),
    "a failure that is a list": lambda cell: (cut(cell / "run.json", 0), (cell / "error.json").write_text("[1]")),
    "a torn lock": lambda cell: (shutil.rmtree(cell), lock(cell).write_text('{"machine": "a')),
    "an empty lock": lambda cell: (shutil.rmtree(cell), lock(cell).touch()),
    "a lock of a machine elsewhere": lambda cell: (shutil.rmtree(cell), foreign(cell)),
    "a lock of the future": lambda cell: (shutil.rmtree(cell), os.utime(foreign(cell), (4e9, 4e9))),
    "a lock of long ago": lambda cell: (shutil.rmtree(cell), os.utime(foreign(cell), (0, 0))),
    "a lock of a dead process": lambda cell: (shutil.rmtree(cell), dead(cell)),
}
"""What may become of a stored cell before the batch runs again: it has to be computed again."""


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def lock(cell: Path) -> Path:
    return cell.with_name(f".{cell.name}.lock")


def foreign(cell: Path) -> Path:
    owner = {"machine": "elsewhere/pid:[1]", "process": 1, "started": "2020-01-01T00:00:00+00:00", "token": "1"}
    lock(cell).write_text(json.dumps(owner))
    return lock(cell)


def dead(cell: Path) -> None:
    from resexp.runs.lock import Lock

    taken = "import sys, pathlib; from resexp.runs.lock import Lock; assert Lock(pathlib.Path(sys.argv[1])).take()"
    subprocess.run([sys.executable, "-c", taken, str(lock(cell))], check=True)
    expect(Lock(lock(cell)).holder(), "no lock was left")


def damaged(folder: Path, *, prelude: str = SHORT) -> Counter[str]:
    """Results copied from another machine, one cell torn in each way there is: those are computed again, no other."""
    cells = 2 * len(TEARS)
    batch = Batch(folder, COUNTED.format(seconds=0.0, cells=cells))
    batch.refer("-j2")
    batch.computed()
    out = folder / "copied"
    shutil.copytree(folder / "reference", out, copy_function=shutil.copyfile)  # with other times and rights
    for path in out.rglob("*"):
        os.utime(path, (4e9, 4e9))
    copied = batch.run(out, "-j2")
    expect(copied.states == {"read back": cells}, f"copied, then {copied.states}")
    for tear, cell in zip(TEARS.values(), sorted(out.glob("*/*"))[::2], strict=True):
        tear(cell)
    ended = batch.run(out, "-j2", prelude=prelude)
    expect(ended.code == 0, f"ended with {ended.code}: {ended.err}")
    expect("Traceback" not in ended.err, ended.err)
    expect(ended.states == {"read back": cells - len(TEARS), "done": len(TEARS)}, f"{ended.states}")
    expect(batch.computed().total() == len(TEARS), "computed more than was torn")
    file = [path for path in out.glob("*/.*.old") if path.is_file()]  # what stood in a folder's place is kept
    for path in file:
        path.unlink()
    left_over = batch.check(out)
    return Counter({"torn": len(TEARS), "left over": left_over})
