"""Ctrl-C and SIGTERM: a run ends at once, in order, and says what stays; the second one ends it where it stands."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LONG = """\
experiments:
  quick: {experiment: paths, sweep: {blocks: [3, 4]}}
  long: {experiment: variance, set: {depth: 3000000, batch: 1, engine: law, draws: 8}}
"""
TWICE = """
import os, signal
from resexp_cli import signals
signals.listen()
try:
    os.kill(os.getpid(), signal.{first})
except KeyboardInterrupt as interrupt:
    assert signals.exit_code(interrupt) == 128 + signal.{first}
    os.kill(os.getpid(), signal.{second})
print("still here")
"""
IGNORED = "import os, signal; from resexp_cli import signals\nsignal.signal(2, signal.SIG_IGN); signals.listen()\n"


@pytest.mark.parametrize(("ends", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_batch_in_the_middle_of_a_long_cell_ends_within_two_seconds(
    tmp_path: Path, ends: signal.Signals, code: int
) -> None:
    (tmp_path / "long.yaml").write_text(LONG)
    command = [sys.executable, "-m", "resexp_cli", "run", "long.yaml", "-j2"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        while len(list(tmp_path.glob("results/paths/*/run.json"))) < 2 or not list(
            tmp_path.glob("results/variance/.*")
        ):
            assert run.poll() is None
            time.sleep(0.02)
        start = time.monotonic()
        run.send_signal(ends)
        out, err = run.communicate(timeout=10)
        assert time.monotonic() - start < 2
    assert run.returncode == code
    assert "2 done" in out
    assert "1 of 3 cells were not run; finished ones are kept, and the same command runs the rest." in err
    assert not list(tmp_path.glob("results/*/.*"))


@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGINT"), ("SIGINT", "SIGTERM"), ("SIGTERM", "SIGINT")])
def test_the_second_one_kills(first: str, second: str) -> None:
    code = TWICE.format(first=first, second=second)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.Signals[second], "", "")


def test_what_was_ignored_stays_ignored() -> None:
    code = f"{IGNORED}os.kill(os.getpid(), signal.SIGINT); print('still here')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"still here\n"
