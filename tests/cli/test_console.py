"""Tables on terminals of any width, colours, and what decides between a table and CSV."""

import io
import sys
import time
from dataclasses import replace

import pytest
from rich.color import Color
from rich.console import Console
from rich.style import Style

from resexp.experiments.paths import Paths
from resexp.runs.cell import run_cell
from resexp.runs.resolve import resolve
from resexp_cli import console
from resexp_cli.console import bars, styles

from .conftest import TINY, Resexp


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
@pytest.mark.parametrize(
    "command",
    [
        ("variance", *TINY, "--depth", "9"),
        ("variance", *TINY, "--depth", "2:5"),
        ("paths", "--scheme", "plain,rezero,stable"),
    ],
    ids=["variance", "sweep", "paths"],
)
def test_tables_fit_the_width_and_no_number_is_cut(
    resexp: Resexp, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = resexp(*command, "--no-save", "--format", "table").out
    assert all(len(line.rstrip()) <= width for line in out.splitlines())
    if width >= 60:
        assert "…" not in out
    if width >= 80:
        assert "verdict" in out or command[0] == "paths"


def test_a_table_away_from_a_terminal_breaks_no_line(resexp: Resexp) -> None:
    out = resexp("variance", *TINY, "--no-save", "--format", "table").out
    (heading,) = [line for line in out.splitlines() if line.startswith("block")]
    assert heading.split() == [
        *("block", "mean", "stderr", "ci", "low", "ci", "high", "median", "theory", "theory", "kind", "verdict")
    ]


def test_ten_rows_of_many_chosen_with_first_and_last(resexp: Resexp) -> None:
    out = resexp("paths", "--blocks", "1000", "--no-save", "--format", "table").out
    table = out[out.index("\nlength") + 1 : out.index("10 of 1001 rows")].splitlines()[1:]
    lengths = [line.split()[0].replace(",", "") for line in table]
    assert len(lengths) == 10
    assert (lengths[0], lengths[1], lengths[-1]) == ("0", "1", "1000")
    for wanted in ("paths total", "│", "└"):
        assert wanted in out


@pytest.mark.parametrize("schemes", ["residual,plain", "residual,plain,rescaled"])
def test_two_settings_or_three_are_one_table(resexp: Resexp, schemes: str) -> None:
    out = resexp("variance", *TINY, "--scheme", schemes, "--no-save", "--format", "table").out
    assert [line.split()[0] for line in out.splitlines() if " verdict" in line] == ["scheme"]
    growth = out[out.index("activation growth per block\n") :].splitlines()[1 : 1 + schemes.count(",") + 1]
    assert [line.split()[0] for line in growth] == schemes.split(",")
    assert f"{schemes.count(',') + 1} settings; every row: --format csv" in out


def test_settings_without_figures_are_compared_by_their_last_rows(capsys: pytest.CaptureFixture[str]) -> None:
    cells = resolve(Paths, {"blocks": "2,3", "scheme": "residual"})
    outcomes = [replace(one, result=replace(one.result, headline=[])) for one in map(run_cell, cells)]
    console.Terminal().table(outcomes)
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert words[0][:3] == ["blocks", "length", "count"]
    assert [line[:3] for line in words[1:3]] == [["2", "2", "1"], ["3", "3", "1"]]


@pytest.mark.parametrize(("variable", "coloured"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_colour_is_forced_or_not_and_changes_no_format(
    resexp: Resexp, monkeypatch: pytest.MonkeyPatch, variable: str, coloured: bool
) -> None:
    monkeypatch.setenv(variable, "1")
    assert ("\x1b[" in resexp("parameters", "--no-save", "--format", "table").out) is coloured
    assert resexp("parameters", "--no-save").out.startswith("net,layer,kind,parameters\n")


def test_auto_is_a_table_on_a_terminal(resexp: Resexp, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = FakeTerminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "80")
    assert resexp("parameters", "--no-save").code == 0
    assert "layer,kind" not in screen.getvalue()
    assert "Number of parameters" in screen.getvalue()


@pytest.mark.parametrize(
    ("elapsed", "quiet", "shown"), [(5.0, False, True), (0.5, False, False), (5.0, True, False)], ids=str
)
def test_progress_with_rate_and_time_left_after_a_second(
    monkeypatch: pytest.MonkeyPatch, elapsed: float, quiet: bool, shown: bool
) -> None:
    clock = iter([0.0, elapsed, elapsed])
    screen = FakeTerminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    with console.Terminal(quiet=quiet).progress("variance") as step:
        step(10, 40)
    assert ("variance" in screen.getvalue()) is shown
    assert ("25%" in screen.getvalue()) is shown
    assert ("2 steps/s" in screen.getvalue()) is shown


def test_words_on_a_training_stand_beside_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 5.0])
    screen = FakeTerminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    with console.Terminal(quiet=False).progress("degradation") as step:
        step.say("epoch 3, loss 0.42, rate 0.1")
        step(10, 40)
    assert "epoch 3, loss 0.42, rate 0.1" in screen.getvalue()
    assert "steps/s" not in screen.getvalue()


def luminance(red: float, green: float, blue: float) -> float:
    """Relative luminance of WCAG 2.1; colours from 0 to 255."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("background", ["#ffffff", "#fdf6e3", "#000000", "#1e1e1e", "#002b36"])
def test_every_colour_can_be_read_on_light_and_on_dark(background: str) -> None:
    behind = luminance(*Color.parse(background).get_truecolor())
    said = (*styles.VERDICTS.values(), *styles.CHART.values(), *styles.PROGRESS.values())
    said += (styles.WARNING, styles.ERROR, styles.BAR, styles.TRACK)
    colours = {colour for style in said if (colour := Style.parse(style).color) is not None}
    assert len(colours) == 6
    for colour in colours:
        front = luminance(*colour.get_truecolor())
        assert (max(front, behind) + 0.05) / (min(front, behind) + 0.05) >= 3, colour


@pytest.mark.parametrize(
    ("encoding", "half"), [("utf-8", "━" * 12 + "─" * 12), ("ascii", "#" * 12 + "-" * 12)], ids=("utf-8", "ascii")
)
def test_what_is_left_of_a_bar_is_thin_and_needs_no_colour(encoding: str, half: str) -> None:
    screen = io.TextIOWrapper(io.BytesIO(), encoding)
    Console(file=screen).print(bars.Bar(0.5))
    screen.seek(0)
    assert screen.read() == f"{half}\n"
