"""Locks: one owner at a time, and none for ever."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from resexp.experiments.paths import Paths
from resexp.runs import lock as module
from resexp.runs.cell import Cell
from resexp.runs.execute import execute
from resexp.runs.lock import Lock
from resexp.runs.settings import Settings
from resexp.runs.store import Store

DEEP = ["variance", "--depth", "200000", "--batch", "1", "--width", "20", "--draws", "2", "--engine", "law", "-q"]


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "x"), Lock(tmp_path / "x")
    assert first.take()
    assert not second.take()
    assert second.holder() is not None
    first.release()
    assert second.take()
    assert second.left_by is None
    first.release()  # not its own any more
    assert (tmp_path / "x").exists()
    second.release()
    assert list(tmp_path.iterdir()) == []


def written(path: Path, **changes: Any) -> Lock:
    """The lock of another owner."""
    lock = Lock(path)
    assert lock.take()
    owner = json.loads(path.read_text())
    path.write_text(json.dumps(owner | {"token": "other"} | changes))
    module._heart.forget(path)
    return lock


def test_a_dead_process_here_is_told_at_once(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    written(tmp_path / "x", process=ended.pid)
    lock = Lock(tmp_path / "x")
    assert lock.take()
    assert lock.left_by is not None
    assert lock.left_by.process == ended.pid
    lock.release()


@pytest.mark.parametrize("content", [None, "", '{"torn'])
def test_an_owner_elsewhere_or_a_torn_lock_is_dead_after_a_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setattr(module, "SILENT", 0.2)
    written(tmp_path / "x", machine="elsewhere/")
    if content is not None:
        (tmp_path / "x").write_text(content)
    os.utime(tmp_path / "x", (0, 4e9))  # a clock far ahead
    lock = Lock(tmp_path / "x")
    assert not lock.take()
    time.sleep(0.15)
    os.utime(tmp_path / "x", (0, 0))  # it lives: the clock jumped back
    assert not lock.take()
    time.sleep(0.15)
    assert not lock.take()
    time.sleep(0.1)
    assert lock.take()
    lock.release()


CONTEND = """
import pathlib, sys, time
from resexp.runs.lock import Lock
path, log = map(pathlib.Path, sys.argv[1:])
for _ in range(40):
    lock = Lock(path)
    while not lock.take():
        time.sleep(0.0005)
    for word in ("in", "out"):
        with log.open("a") as file:
            file.write(word + "\\n")
    lock.release()
"""


def test_processes_take_turns(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CONTEND, str(tmp_path / "x"), str(tmp_path / "log")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "in\nout\n" * 120


def test_a_second_run_waits_and_reads_back(tmp_path: Path) -> None:
    store, cell = Store(tmp_path), Cell(Paths(blocks=4), Settings())
    lock = store.lock(cell)
    assert lock.take()
    told: list[str] = []

    def tell(sentence: str) -> None:
        told.append(sentence)
        execution = execute(cell, Store(tmp_path / "elsewhere"))
        store.save(execution.outcome)
        lock.release()

    assert execute(cell, store, tell=tell).outcome.read_back
    assert len(told) == 1
    assert f"process {os.getpid()}" in told[0]


def test_a_killed_run_leaves_nothing_but_word_of_what_is_done_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "resexp_cli", *DEEP, "--out", str(tmp_path)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("variance/.*.lock")):
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    left = [path.name for path in tmp_path.glob("variance/*")]
    assert len(left) == 1
    lock = Lock(tmp_path / "variance" / left[0])
    assert lock.take()
    assert lock.left_by is not None
    assert lock.left_by.process == run.pid
    lock.release()


HOLD = """
import pathlib, sys
from resexp.runs import lock
lock.BEAT = 0.1
held = lock.Lock(pathlib.Path(sys.argv[1]))
assert held.take()
print("held", flush=True)
sys.stdin.read()
"""


def test_an_owner_elsewhere_that_gives_signs_of_life_keeps_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENT", 1.5)
    monkeypatch.setattr(module, "_machine", lambda: "elsewhere/")  # its process number says nothing here
    command = [sys.executable, "-c", HOLD, str(tmp_path / "x")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        lock, end = Lock(tmp_path / "x"), time.monotonic() + 3.0
        while time.monotonic() < end:
            assert not lock.take()
            time.sleep(0.05)
        owner.kill()
    end = time.monotonic() + 10.0
    while not lock.take():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert lock.left_by is not None
    assert lock.left_by.process == owner.pid
    lock.release()


def test_a_lock_given_back_is_not_touched_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.02)
    monkeypatch.setattr(module, "_heart", module._Heart())
    held, back = Lock(tmp_path / "held"), Lock(tmp_path / "back")
    assert held.take()
    assert back.take()
    back.release()
    (tmp_path / "back").touch()  # another's, since
    for name in ("held", "back"):
        os.utime(tmp_path / name, (0, 0))
    end = time.monotonic() + 10.0
    while (tmp_path / "held").stat().st_mtime == 0:
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.1)
    assert (tmp_path / "back").stat().st_mtime == 0
    held.release()


def test_a_lock_that_somebody_faster_has_taken_over_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a dead owner's lock and its removal another run has removed it and taken its own."""
    path = tmp_path / "x"
    faster, slower = Lock(path), Lock(path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    written(path, process=dead.pid)
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        assert faster.take()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert not slower.take()
    assert faster.left_by is not None
    holder = slower.holder()
    assert holder is not None
    assert holder.token == faster._token
    assert [one.name for one in tmp_path.iterdir()] == ["x"]
    assert not slower.take()
    faster.release()
    assert not list(tmp_path.iterdir())
    assert slower.take()
    slower.release()
