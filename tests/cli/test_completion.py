"""Names on the Tab key: what the program answers to click's protocol, and what real shells make of it."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resexp.nets.zoo import FAMILIES
from resexp.runs.registry import experiments
from resexp.runs.settings import Settings
from resexp_cli import completion, main
from resexp_cli.shells import script

from .test_imports import HEAVY, loaded

COMMAND = "import sys; from resexp_cli.main import main; main()"
Answers = Callable[..., list[str]]
VARIANCE = ("--depth", "2", "--width", "8", "--batch", "4", "--draws", "16", "-q")


@pytest.fixture
def answers(resexp: Callable[..., object], capsys: pytest.CaptureFixture[str]) -> Answers:
    """What bash is told of a line that ends at the cursor; files are left to bash."""

    def told(line: str, *, breaks: str = "") -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(completion.ASKED, "bash_complete")
            patch.setenv("COMP_WORDS", line)
            patch.setenv("COMP_WORDBREAKS", breaks)
            capsys.readouterr()
            assert main._exit_code([]) == 0
        out, err = capsys.readouterr()
        assert not err
        return [line.removeprefix("plain,") for line in out.split()]

    return told


@pytest.fixture
def results(resexp: Callable[..., object], tmp_path: Path) -> list[str]:
    """Folders of three stored results: two of variance, one of paths."""
    for arguments in (("variance", *VARIANCE), ("variance", *VARIANCE, "--seed", "7"), ("paths", "--blocks", "3")):
        resexp(*arguments)
    return sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("run.json"))


def test_commands_and_options_are_completed(answers: Answers) -> None:
    assert set(answers("resexp ")) == {*experiments(), *main.VERBS}
    declared = {name.replace("_", "-") for name in experiments()["variance"].model_fields | Settings.model_fields}
    assert {f"--{name}" for name in declared} - set(answers("resexp variance --")) <= {
        f"--{n}" for n, f in experiments()["variance"].model_fields.items() if f.annotation is bool
    }
    assert answers("resexp variance --dep") == ["--depth"]


def test_choices_are_completed_after_a_space_an_equals_sign_and_a_comma(answers: Answers) -> None:
    assert answers("resexp variance --scheme resc") == ["rescaled"]
    assert answers("resexp variance --scheme=resc") == ["rescaled"]
    assert answers("resexp variance --scheme plain,resc") == ["plain,rescaled"]
    assert answers("resexp variance --format ma") == ["markdown"]
    assert answers("resexp completion ") == list(completion.SHELLS)
    assert answers("resexp show varia") == ["variance"]


@pytest.mark.parametrize("line", ["resexp path-gradients --net ", "resexp parameters mlp ", "resexp probe "])
def test_nets_of_the_zoo_are_completed_where_one_is_asked_for(answers: Answers, line: str) -> None:
    every = {name for family in FAMILIES.values() for name in family.examples}
    assert every <= set(answers(line))
    assert answers(line + "cifar-resnet:20,n")[0] == "cifar-resnet:20,norm=group,scheme=skipinit"


def test_bash_is_told_what_follows_the_last_break_of_a_word(answers: Answers) -> None:
    assert answers("resexp probe wrn:2", breaks=" :=") == ["28-10", "file,wrn:2"]
    assert answers("resexp path-gradients --net=wrn:2", breaks=" :=") == ["28-10"]
    assert answers("resexp path-gradients --net highway:50,gate_bias=", breaks=" :=") == ["-4"]
    assert answers("resexp variance --scheme=resc", breaks=" :=") == ["rescaled"]


def test_files_are_left_to_the_shell_where_code_is_named(answers: Answers) -> None:
    assert answers("resexp probe my_net") == ["file,my_net"]
    assert answers("resexp run exp") == ["file,exp"]
    assert answers("resexp run --out re") == ["dir,re"]


def test_stored_results_are_completed(answers: Answers, results: list[str]) -> None:
    paths, first, second = results
    assert answers("resexp compare ") == [*results, "file,"]
    assert answers("resexp export results/pa") == [paths, "file,results/pa"]
    assert answers("resexp report results/variance/") == [first, second, "file,results/variance/"]
    assert answers(f"resexp compare {first} ") == [second, "file,"]
    Path("results").rename("kept")
    assert answers("resexp compare kept/p") == [paths.replace("results", "kept"), "file,kept/p"]
    assert answers("resexp export --out kept ") == [r.replace("results", "kept") for r in results] + ["file,"]


def test_a_stored_result_is_told_with_its_setting(results: list[str]) -> None:
    told = {completion._setting(Path(result)) for result in results}
    assert told == {
        "blocks 3",
        "depth 2, width 8, batch 4, draws 16",
        "depth 2, width 8, batch 4, draws 16, seed 7",
    }


def test_of_many_results_the_shell_completes_the_folders_first(
    answers: Answers, results: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "MOST_CELLS", 1)
    assert answers("resexp export ") == ["file,"]
    assert answers("resexp export results/variance/") == [*results[1:], "file,results/variance/"]


def test_entries_of_the_file_on_the_line_are_completed(answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "batch.yaml").write_text("experiments:\n  one: {experiment: paths}\n  two: {experiment: paths}\n")
    for verb in ("run", "status", "export"):
        assert answers(f"resexp {verb} batch.yaml --only t") == ["two"]


def test_nothing_is_said_where_nothing_can_be(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torn.yaml").write_text("experiments: [")
    assert answers("resexp run torn.yaml --only t") == []
    assert answers("resexp run nowhere.yaml --only t") == []
    assert answers("resexp nosuch --") == []
    assert answers("resexp 'var") == ["variance"]


@pytest.mark.parametrize("line", ["resexp ", "resexp variance --scheme pl", "resexp probe res", "resexp compare "])
def test_an_answer_imports_nothing_heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setenv(completion.ASKED, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    assert not loaded(tmp_path) & (HEAVY | {"numpy", "rich", "polars"})


def test_a_shell_that_is_not_known_is_refused_with_the_known_ones(resexp: Callable[..., main.Any]) -> None:
    ended = resexp("completion", "ksh")
    assert ended.code == 2
    assert "'bash', 'zsh', 'fish'" in ended.err


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """An environment in which shells find a `resexp`, and none of the user's own settings."""
    folder = tmp_path / "bin"
    folder.mkdir()
    run = folder / "resexp"
    run.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{COMMAND}" "$@"\n')
    run.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


def typed(shell: list[str], first: str, line: str, expected: str, environment: dict[str, str]) -> str:
    """What a shell shows on its terminal: `first` is run, then `line` is typed, until `expected` is there."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(shell[0], shell, environment)
    shown = b""

    def wait(for_what: str) -> None:
        nonlocal shown
        end = time.monotonic() + 30
        while for_what.encode() not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 65536)

    try:
        os.write(terminal, f"{first}; echo re''ady\n".encode())
        wait("\nready")
        shown = b""
        os.write(terminal, line.encode())
        wait(expected)
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    return shown.decode()


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


LINES = [
    ("resexp varia\t", "variance "),
    ("resexp variance --dept\t", "--depth "),
    ("resexp variance --scheme resc\t", "rescaled "),
    ("resexp variance --scheme=resc\t", "--scheme=rescaled "),
    ("resexp probe wrn:2\t", "wrn:28-10 "),
    ("resexp path-gradients --net cifar-resnet:20,n\t", "cifar-resnet:20,norm=group,scheme=skipinit "),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
@pytest.mark.parametrize(
    ("shell", "first"),
    [
        pytest.param(["bash", "--norc", "--noprofile", "-i"], 'eval "$(resexp completion bash)"', marks=needs("bash")),
        pytest.param(
            ["zsh", "-f", "-i"],
            'autoload -Uz compinit; compinit -u; eval "$(resexp completion zsh)"',
            marks=needs("zsh"),
        ),
    ],
    ids=["bash", "zsh"],
)
def test_a_shell_completes_the_line(
    program: dict[str, str], shell: list[str], first: str, line: str, expected: str
) -> None:
    assert expected in typed(shell, first, line, expected, program)


@needs("fish")
@pytest.mark.parametrize(("line", "expected"), LINES)
def test_fish_completes_the_line(program: dict[str, str], tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "resexp.fish").write_text(script("fish", main.cli, completion.ASKED))
    command = f"source {tmp_path}/resexp.fish; complete --do-complete '{line.strip()}'"
    done = subprocess.run(["fish", "-c", command], env=program, capture_output=True, text=True, check=True)
    assert [told.partition("\t")[0] for told in done.stdout.splitlines()] == [expected.strip()]
