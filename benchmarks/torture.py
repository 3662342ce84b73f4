"""Do to batches what nights do to them, and see whether all cells are there in the morning: `make torture`.

Drivers and workers are killed at random moments, drivers run beside each other and are put to sleep, disks fill up,
stored files are torn, schedulers die, cells hang. Each step runs `resexp run` as processes of its own, and holds what
is stored in the end against an undisturbed run: every cell once, every table the same bytes, nothing left behind that
`resexp clean` does not list, no process that lives on. tests/runs/test_survival.py does a small part of it in CI.
"""

import argparse
import csv
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resexp.core.errors import ResexpError
from resexp.runs.store import read_result

TABLES = """\
experiments:
  counted: {experiment: counted, set: {seconds: 0.01}, sweep: {number: 1:80:1}}
  paths: {experiment: paths, sweep: {blocks: 1:60:1}}
  parameters: {experiment: parameters, sweep: {layers: 1:12:1, width: 1:10:1}}
"""
NETWORKS = """\
experiments:
  networks:
    experiment: variance
    set: {batch: 4, draws: 16}
    sweep: {depth: [1, 2, 3], width: [4, 8]}
    seeds: 10
  paths: {experiment: paths, sweep: {blocks: 1:20:1}}
"""
CELLS = {TABLES: 260, NETWORKS: 80}
"""Cells of each."""
COUNTED = (
    "experiments:\n  counted: {{experiment: counted, set: {{seconds: {seconds}}}, sweep: {{number: 1:{cells}:1}}}}\n"
)
MOODS = "experiments:\n" + "".join(
    f"  {mood}: {{{{experiment: moody, set: {{{{mood: {mood}}}}}}}}}\n"
    for mood in ("raises", "hangs", "nan", "prints", "exits", "aborts", "nothing", "numpy", "nests", "mute", "closes")
)
GONE = 5.0  # seconds in which the workers of a killed driver are gone
PATIENCE = 300.0  # seconds a run that nobody disturbs may take
SHORT = "from resexp.runs import lock; lock.BEAT, lock.SILENT = 0.2, 1.5"
"""What makes locks change hands sooner than in half a minute."""

EXPERIMENTS = {
    "counted": '''
"""Squares, told of to the file that TALLY names each time one is computed."""

import os
import time

from resexp.core.experiment import param
from resexp.core.table import Table


class Counted(Table):
    """A square."""

    number: int = param(1, "what is squared")
    seconds: float = param(0.0, "how long that takes")

    axes = ("number",)
    columns = ("number", "square")

    def table(self):
        with open(os.environ["TALLY"], "a") as tally:
            tally.write(f"{self.number}\\n")
        time.sleep(self.seconds)
        yield {"number": self.number, "square": self.number**2}
''',
    "moody": '''
"""What can go wrong in an experiment."""

import os
import sys
import time
from typing import Literal

from resexp.core.experiment import Experiment, param
from resexp.core.result import Result

Mood = Literal[
    "well", "raises", "hangs", "nan", "prints", "exits", "aborts", "nothing", "numpy", "nests", "mute", "closes"
]


class MuteError(Exception):
    def __str__(self):
        raise ValueError("no words")


class Moody(Experiment):
    """An experiment in a mood."""

    random = False
    axes = ("x",)

    mood: Mood = param("well", "its mood")

    def compute(self, lab):
        return getattr(self, f"_{self.mood}")()

    def _well(self):
        return Result(("x",), [{"x": 1}])

    def _raises(self):
        raise ValueError("a bug\\nof two lines")

    def _hangs(self):
        while True:
            pass

    def _nan(self):
        return Result(("x",), [{"x": float("nan")}], headline=[{"quantity": "x", "mean": float("nan")}])

    def _prints(self):
        for _ in range(20_000):
            print("x" * 999)
        raise ValueError("hoarse")

    def _exits(self):
        sys.exit(3)

    def _aborts(self):
        os.abort()

    def _nothing(self):
        return None

    def _numpy(self):
        import numpy

        return Result(("x",), [{"x": numpy.int64(1)}], headline=[{"quantity": "x", "mean": numpy.int64(1)}])

    def _nests(self):
        return self._nests()

    def _mute(self):
        raise MuteError

    def _closes(self):
        os.closerange(3, 100)
        time.sleep(0.1)
''',
}
"""Experiments of a third party, by name."""


class BrokenError(Exception):
    """A batch did not survive."""


def expect(condition: object, sentence: str) -> None:
    if not condition:
        raise BrokenError(sentence)


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str
    seconds: float

    @property
    def states(self) -> Counter[str]:
        """What the summary counts, such as 3 `done`."""
        found = re.findall(r"(\d+) (done|read back|failed before|failed|skipped)", self.out)
        return sum((Counter({state: int(count)}) for count, state in found), Counter())


class Batch:
    """A batch file in a folder of its own, with the experiments of a third party, and the processes that run it."""

    def __init__(self, folder: Path, text: str = TABLES) -> None:
        self.folder, self.file, self.tally = folder, folder / "batch.yaml", folder / "tally"
        self.mark = f"TORTURE={uuid.uuid4().hex}"
        self.reference: dict[str, bytes] = {}
        self.undisturbed = 0.0  # seconds from the first worker to the end
        self.party = third_party(folder / "party")
        self.file.write_text(text)

    def start(self, out: Path, *options: str, prelude: str = "") -> "subprocess.Popen[str]":
        """Run the batch. prelude: Python that the driver runs first."""
        return self.resexp("run", str(self.file), "--out", str(out), *options, prelude=prelude)

    def resexp(self, *arguments: str, prelude: str = "") -> "subprocess.Popen[str]":
        mark = self.mark.split("=")
        path = os.pathsep.join([str(self.party), *filter(None, [os.environ.get("PYTHONPATH")])])
        ours = {"PYTHONPATH": path, "TALLY": str(self.tally), "OMP_NUM_THREADS": "1", mark[0]: mark[1]}
        code = f"{prelude}\nfrom resexp_cli.main import main\nmain()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            env={**os.environ, **ours},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, out: Path, *options: str, prelude: str = "", patience: float = PATIENCE) -> Ended:
        return end(self.start(out, *options, prelude=prelude), patience)

    def processes(self) -> list[int]:
        """All that the runs of this batch have started and that live."""
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if folder.name.isdigit() and self.mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def workers(self, driver: "subprocess.Popen[str]") -> list[int]:
        return [process for process in self.processes() if parent(process) == driver.pid]

    def all_gone(self) -> float:
        """Wait until no process lives; after how many seconds that was."""
        start = time.monotonic()
        while (left := self.processes()) and time.monotonic() - start < GONE:
            time.sleep(0.01)
        expect(not left, f"processes {left} live on")
        return time.monotonic() - start

    def kill(self, driver: "subprocess.Popen[str]") -> float:
        """Kill a driver; after how many seconds its workers were gone, where no other driver runs."""
        driver.kill()
        driver.communicate()
        return self.all_gone()

    def refer(self, *options: str) -> Ended:
        """Run it undisturbed: what all other runs are held against."""
        out = self.folder / "reference"
        driver = self.start(out, *options)
        while driver.poll() is None and not self.workers(driver):
            time.sleep(0.01)
        start = time.monotonic()
        ended = end(driver)
        self.undisturbed = time.monotonic() - start
        expect(ended.code == 0, f"the undisturbed run ended with {ended.code}: {ended.err}")
        self.reference = tables(out)
        return ended

    def computed(self) -> Counter[str]:
        """How often each square was computed since the last time this was asked."""
        numbers = Counter(self.tally.read_text().split()) if self.tally.exists() else Counter[str]()
        self.tally.unlink(missing_ok=True)
        return numbers

    def check(self, out: Path) -> int:
        """Every cell once and whole, tables as in the reference, no process, no left-over but what clean lists."""
        self.all_gone()
        found = tables(out)
        missing, more = self.reference.keys() - found.keys(), found.keys() - self.reference.keys()
        expect(not missing and not more, f"{len(missing)} cells are missing, {len(more)} too many: {missing or more}")
        wrong = [cell for cell, table in found.items() if table != self.reference[cell]]
        expect(not wrong, f"other bytes than undisturbed: {wrong}")
        return self.clean(out)

    def clean(self, out: Path) -> int:
        """Remove what clean lists, and expect nothing but cells to be left; how many left-overs there were."""
        left_over = [path for path in out.glob("*/*") if path.name.startswith(".")]
        for path in (*left_over, *out.glob("*/*/.*")):
            os.utime(path, (time.time() - 86400,) * 2)
        ended = end(self.resexp("clean", "--out", str(out), "--yes", "--format", "csv"))
        expect(ended.code == 0, f"clean ended with {ended.code}: {ended.err}")
        told = {row["path"] for row in csv.DictReader(io.StringIO(ended.out))}
        expect(told == set(map(str, left_over)), f"clean lists {told} and should list {left_over}")
        names = {str(path.relative_to(out)) for path in out.glob("*/*")}
        expect(names == set(self.reference), f"left after clean: {names ^ set(self.reference)}")
        return len(left_over)


def third_party(folder: Path) -> Path:
    """Experiments of a third party, as pip would have installed them in this folder."""
    package, information = folder / "third_party", folder / "third_party-1.0.dist-info"
    package.mkdir(parents=True)
    information.mkdir()
    (package / "__init__.py").touch()
    for name, code in EXPERIMENTS.items():
        (package / f"{name}.py").write_text(code)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    points = "".join(f"{name} = third_party.{name}\n" for name in EXPERIMENTS)
    (information / "entry_points.txt").write_text(f"[resexp.experiments]\n{points}")
    return folder


def end(process: "subprocess.Popen[str]", patience: float = PATIENCE) -> Ended:
    start = time.perf_counter()
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        raise BrokenError(f"a run was not over after {patience:g} seconds: {process.communicate()[1]}") from None
    return Ended(process.returncode, out, err, time.perf_counter() - start)


def parent(process: int) -> int | None:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def tables(out: Path) -> dict[str, bytes]:
    """result.csv of each cell. Raises BrokenError where one is not whole."""
    found = {}
    for folder in out.glob("*/*"):
        if not folder.name.startswith("."):
            try:
                _, run = read_result(folder)
            except ResexpError as error:
                raise BrokenError(str(error)) from None
            expect(run["id"] == folder.name, f"{folder} holds {run['id']}")
            expect(not (folder / "error.json").exists(), f"{folder} holds a failure beside its result")
            found[str(folder.relative_to(out))] = (folder / "result.csv").read_bytes()
    return found


# --- kills ---------------------------------------------------------------------------------------------------------


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


# --- several drivers -----------------------------------------------------------------------------------------------


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


# --- disks ---------------------------------------------------------------------------------------------------------


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


# --- what is stored ------------------------------------------------------------------------------------------------

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


# --- cells ---------------------------------------------------------------------------------------------------------


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


# --- engines -------------------------------------------------------------------------------------------------------


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


# --- ten thousand cells --------------------------------------------------------------------------------------------


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


# --- all of it -----------------------------------------------------------------------------------------------------


def told(counts: Counter[str] | bool | None) -> str:
    if counts is None:
        return "left out: nothing may be mounted here"
    return (
        ", ".join(f"{count} {what}" for what, count in counts.items())
        if isinstance(counts, Counter)
        else "as it should"
    )


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
