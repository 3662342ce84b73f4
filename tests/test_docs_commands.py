"""Commands that the documentation shows: each is one, and prints what is shown; systems have what is said of them."""

import contextlib
import json
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import pytest
import yaml

from resexp.core.schemes import SCHEMES
from resexp.experiments.parameters import Parameters
from resexp.experiments.regularisers import Regularisers
from resexp.nets import zoo
from resexp.nets.zoo import FAMILIES
from resexp.runs.registry import experiments
from resexp.runs.resolve import resolve
from resexp_cli import main
from tests.documentation import PAGES, ROOT, examples, is_for_readers, read, reference, sources
from tests.printed import differences

NOT_OURS = {"timm", "torchvision"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for command in sources.commands_of(text):
        if not is_for_readers(command):
            read(command)
    for command in sources.commands_spoken_of(text):
        if not is_for_readers(command) and len(command.split()) > 2:
            with contextlib.suppress(click.MissingParameter):  # what is spoken of may lack its file
                read(command)
        elif not is_for_readers(command):
            name = command.split()[1]
            assert name in main.cli.list_commands(click.Context(main.cli)) or name.startswith("-"), command


def test_every_example_of_a_command_page_is_one() -> None:
    for name in reference.verbs():
        for command in examples.of_verb(name):
            assert shlex.split(command)[1] == name
            read(command)
    for command in (*reference.SETTINGS_EXAMPLES, *reference.OUTPUT_EXAMPLES):
        read(command)


def systems() -> list[tuple[str, str]]:
    """Command and parameters of each row of systems.md."""
    text = (ROOT / "docs/systems.md").read_text(encoding="utf-8")
    return re.findall(r"^\| .+? \| `(resexp [^`]+)` \| (.*?) ?\|$", text, re.MULTILINE)


def test_every_system_has_a_command_that_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for experiment in experiments().values():  # how long it takes is not asked here, and measured by some
        monkeypatch.setattr(experiment, "estimate_seconds", lambda self, lab: None)
    assert len(systems()) > 70
    for command, _ in systems():
        words = shlex.split(command)[1:]
        assert main._exit_code([*words, "--dry-run" if words[0] in experiments() else "--list"]) == 0, command


def test_systems_have_the_parameters_that_are_said() -> None:
    counted = 0
    for command, said in systems():
        if not said:
            continue
        values = {key: value for key, value in read(command).items() if value not in (None, ())}
        found = [_parameters_of(net, values) for net in values["net"]]
        assert [f"{count:,}" for count in found] == said.split(" and "), command
        counted += len(found)
    assert counted > 30


def _parameters_of(net: str, values: dict[str, Any]) -> int:
    if net not in {"mlp", "block", "bottleneck"}:
        return zoo.parameters(net)
    own = {key: value for key, value in values.items() if key in Parameters.model_fields}
    (cell,) = resolve(Parameters, {**own, "net": net}, environment={})
    (total,) = (row for row in cell.experiment.compute(cell.lab()).rows if row["layer"] == "total")
    return int(str(total["parameters"]))


def test_systems_name_all_that_can_be_built() -> None:
    commands = " ".join(command for command, _ in systems())
    missing = [
        name for name in FAMILIES if name not in NOT_OURS and not re.search(rf" {re.escape(name)}(?![\w+])", commands)
    ]
    missing += [name for name in SCHEMES if not re.search(rf"\b{name}\b", commands)]
    regularisers = Regularisers.model_fields["regulariser"].default
    missing += [name for name in regularisers if not re.search(rf"[ ,]{name}\b", commands)]
    assert not missing


def same(shown: str, printed: str) -> bool:
    return not differences(printed, shown, relative=5e-3)


def is_shown(pieces: tuple[str, ...], printed: str) -> bool:
    """Whether the pieces are all parts of what was printed, in their order."""
    lines, start = printed.splitlines(), 0
    for piece in pieces:
        wanted = piece.splitlines()
        places = range(start, len(lines) - len(wanted) + 1)
        found = next((i for i in places if all(map(same, wanted, lines[i : i + len(wanted)]))), None)
        if found is None:
            return False
        start = found + len(wanted)
    return True


QUICK = (
    "resexp list",
    "resexp paths",
    "resexp parameters",
    "resexp unravel",
    "resexp variance --depth 5",
    "resexp vari",
)


def test_the_tutorial_shows_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"COLUMNS": "100", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    checked = 0
    for shown in sources.shown((ROOT / "docs/tutorial.md").read_text(encoding="utf-8")):
        if not shown.command.startswith(QUICK) or "|" in shown.command or "--scheme" in shown.command:
            continue
        words = shlex.split(shown.command)[1:]
        table = ["--format", "table"] if words[0] in experiments() and "--format" not in words else []
        main._exit_code([*words, *table])
        told = capsys.readouterr()
        assert is_shown(shown.output, told.out or told.err), f"{shown.command} prints\n{told.out}{told.err}"
        checked += 1
    assert checked >= 9


def test_a_wrong_number_or_word_in_the_tutorial_is_noticed() -> None:
    printed = "block  mean\n1  3.982  agree\n2  7.973  agree\n"
    assert is_shown(("1 3.98 agree", "2 7.97 agree"), printed)
    assert not is_shown(("2 7.97 agree", "1 3.98 agree"), printed)
    assert not is_shown(("1 4.12 agree",), printed)
    assert not is_shown(("1 3.98 disagree",), printed)


def test_the_chapter_becomes_a_test_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    only = ["--only", "problem-11.1", "--only", "problem-11.8"]
    assert main._exit_code(["chapter", *only, "-j", "0", "-q", "--page", "results/chapter.html"]) == 0
    data = json.loads((tmp_path / "results/chapter.json").read_text())
    data["statements"][0]["runs"][0]["families"][0]["verdict"] = "disagree"
    data["statements"][1]["runs"][0]["families"][0]["verdict"] = "underpowered"
    data["statements"][1]["runs"][1]["missing"] = "not run yet."
    (tmp_path / "results/chapter.json").write_text(json.dumps(data))
    text = (ROOT / "docs/continuous-integration.md").read_text(encoding="utf-8")
    (script,) = (block for language, block in sources.FENCE.findall(text) if "testsuites" in block)
    capsysbinary.readouterr()
    exec(compile(script, "junit.py", "exec"), {})
    suites = ElementTree.fromstring(capsysbinary.readouterr().out)
    families = sum(len(run["families"]) for statement in data["statements"] for run in statement["runs"])
    assert len(suites.findall(".//testcase")) == families + 1
    assert [len(suites.findall(f".//{kind}")) for kind in ("failure", "skipped", "error")] == [1, 1, 1]


def test_the_workflow_is_yaml() -> None:
    text = (ROOT / "docs/continuous-integration.md").read_text(encoding="utf-8")
    (workflow,) = (block for language, block in sources.FENCE.findall(text) if language == "yaml")
    steps = yaml.safe_load(workflow)["jobs"]["check"]["steps"]
    assert any("--check" in step.get("run", "") for step in steps)
