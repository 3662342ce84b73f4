"""A batch in a folder of its own, run by processes of its own, and what it left held against an undisturbed run."""

import csv
import io
import os
import re
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from resexp.core.errors import ResexpError
from resexp.runs.store import read_result
from torturing.stand_ins import EXPERIMENTS

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


def told(counts: Counter[str] | bool | None) -> str:
    if counts is None:
        return "left out: nothing may be mounted here"
    return (
        ", ".join(f"{count} {what}" for what, count in counts.items())
        if isinstance(counts, Counter)
        else "as it should"
    )
