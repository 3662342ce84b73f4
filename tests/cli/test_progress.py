"""Plain lines of progress where stderr is no terminal."""

from pathlib import Path

import pytest

from resexp_cli import progress
from resexp_cli.progress import PlainProgress

from .conftest import TINY, Resexp


def lines(steps: list[tuple[float, float]]) -> list[str]:
    """What is said. steps: seconds and share of the work."""
    said: list[str] = []
    clock = iter([0.0, *(seconds for seconds, _ in steps)])
    plain = PlainProgress(said.append, lambda: next(clock))
    for _, share in steps:
        plain.step(share, "batch")
    return said


def test_ten_seconds_and_a_tenth_of_the_work_lie_between_two_lines() -> None:
    quick = lines([(n / 100, n / 100) for n in range(101)])
    assert quick == []
    assert len(lines([(float(n), n / 16) for n in range(17)])) == 1
    even = lines([(float(n), n / 128) for n in range(129)])  # 13 seconds a tenth
    assert len(even) == 9
    assert (even[0], even[-1]) == ("batch, 10% after 13 s", "batch, 91% after 1 min 57 s")


def test_a_minute_without_a_tenth_is_told_too() -> None:
    slow = lines([(float(n), n / 100_000) for n in range(1, 301)])
    assert len(slow) == 5
    assert slow[-1] == "batch, 0% after 5 min 0 s"
    assert lines([(7300.0, 0.5)]) == ["batch, 50% after 2 h 1 min"]


def test_a_batch_and_a_command_in_a_pipe_say_how_far_they_are(
    resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LEAST_SECONDS", 0.0)
    (tmp_path / "batch.yaml").write_text("experiments:\n  a: {experiment: paths}\n  b: {experiment: parameters}\n")
    assert "1 of 2 cells, 50% after 0 s\n" in resexp("run", "batch.yaml", "-j0", "--no-save").err
    assert resexp("run", "batch.yaml", "-j0", "--no-save", "-q").err == ""
    command = ("variance", *TINY, "--depth", "2,3", "--no-save")
    assert "variance, 50% after 0 s\n" in resexp(*command).err
    assert resexp(*command, "-q").err == ""
