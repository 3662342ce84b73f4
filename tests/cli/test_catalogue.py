"""Help and catalogue: every command has an example, everything fits the terminal."""

import json

import click
import pytest

from resexp.runs.registry import experiments
from resexp_cli.main import VERBS, cli

from .conftest import Resexp

COMMANDS = [*experiments(), *(name for name in VERBS if name)]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_describes_every_option_and_fits_80_columns(
    resexp: Resexp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = resexp(name, "--help")
    assert ended.code == 0
    assert "Example" in ended.out
    assert f"  resexp {name}" in ended.out
    # An example is meant to be copied, so it is never broken.
    assert all(len(line) <= 80 for line in ended.out.splitlines() if not line.startswith("  resexp"))
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    context = click.Context(command)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        assert parameter.param_type_name == "argument" or record is not None
        if record is not None:
            assert record[0] in ended.out
            assert record[1]


@pytest.mark.parametrize("name", list(experiments()))
def test_show_has_mathematics_parameters_and_sources(
    resexp: Resexp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = resexp("show", name)
    assert ended.code == 0
    assert "Source: " in ended.out
    for field in experiments()[name].model_fields.values():
        assert str(field.description).split()[0] in ended.out
    assert all(len(line) <= 80 for line in ended.out.splitlines() if not line.startswith(" "))


def test_list_names_every_experiment_a_line_each(resexp: Resexp) -> None:
    lines = resexp("list").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(experiments())
    found = json.loads(resexp("list", "--format", "json").out)
    assert [one["name"] for one in found] == list(experiments())


def test_the_top_level_help_groups_experiments_and_verbs(resexp: Resexp) -> None:
    text = resexp("--help").out
    upper, lower = text.split("Experiments:")[1].split("Verbs:")
    assert all(f"  {name} " in upper for name in experiments())
    assert all(f"  {name} " in lower for name in VERBS)


def test_doctor_tells_versions_and_devices(resexp: Resexp) -> None:
    ended = resexp("doctor")
    assert ended.code == 0
    for word in ("resexp", "torch", "CUDA devices", "cores", "--memory auto"):
        assert word in ended.out
