"""list, show, doctor, schema: what there is, and what it runs on. None of them imports torch except doctor."""

import json
import shutil
import textwrap

import click

from resexp.core.experiment import Experiment
from resexp_cli.completion import experiments_named
from resexp_cli.options import parameter_options

WIDEST_TEXT = 100


@click.command("list", short_help="All experiments with what they measure.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="table (default) or json")
def list_command(form: str) -> None:
    """List all experiments.

    \b
    Examples:
      resexp list
      resexp list --format json
      resexp list --format json | jq -r '.[].name'
    """
    from resexp.runs.registry import experiments

    if form == "json":
        described = [{"name": n, "summary": e.summary(), "version": e.version} for n, e in experiments().items()]
        click.echo(json.dumps(described, indent=1))
        return
    from resexp_cli.console import Terminal

    Terminal().listing(("name", "question"), [(name, e.summary()) for name, e in experiments().items()])


@click.command("show", short_help="Formulas, parameters and sources of an experiment.")
@click.argument("name", shell_complete=experiments_named, help="an experiment; resexp list has all")
def show_command(name: str) -> None:
    """Show the mathematics, parameters, examples and sources of the experiment NAME.

    \b
    Examples:
      resexp show variance
      resexp show autocorrelation
      resexp show path-gradients | less
    """
    from resexp.runs.registry import experiment

    width = min(WIDEST_TEXT, shutil.get_terminal_size((WIDEST_TEXT, 24)).columns)
    click.echo(_description(experiment(name), width), nl=False)


def _description(found: type[Experiment], width: int) -> str:
    formatter = click.HelpFormatter(width=width)
    context = click.Context(click.Command(found.name()))
    formatter.write(f"{_filled(found.mathematics(), width)}\n\n")
    with formatter.section("Parameters"):
        records = [option.get_help_record(context) for option in parameter_options(found)]
        formatter.write_dl([record for record in records if record is not None])
    with formatter.section("Examples"):
        formatter.write("".join(f"  resexp {example}\n" for example in found.examples))
    return formatter.getvalue()


def _filled(text: str, width: int) -> str:
    """The text with its paragraphs filled to the width; formulas and tables, which are indented, as they are."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        paragraph
        if any(line.startswith(" ") for line in paragraph.splitlines())
        else textwrap.fill(" ".join(paragraph.split("\n")), width, break_long_words=False)
        for paragraph in paragraphs
    )


@click.command("doctor", short_help="Versions, devices and threads of this machine.")
def doctor_command() -> None:
    """Say what resexp runs on here: versions, devices, threads, memory, extras.

    \b
    Examples:
      resexp doctor
      resexp doctor > machine.txt
      CUDA_VISIBLE_DEVICES=1 resexp doctor
    """
    import os
    import platform

    from resexp import __version__
    from resexp.core.lab import quarter_of_memory
    from resexp.runs.cell import installed_version
    from resexp_cli.console import Terminal

    found = {"resexp": __version__, "python": platform.python_version(), "platform": platform.platform()}
    found |= {name: installed_version(name) for name in ("torch", "numpy", "click", "rich", "pydantic", "pyyaml")}
    extras = {"matplotlib": ("--plot", "plots"), "distributed": ("dask", "dask"), "polars": ("Parquet", "parquet")}
    for name, (use, extra) in extras.items():
        found[name] = f"{installed_version(name)} (for {use}; pip install 'resexp[{extra}]')"
    import torch

    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(cuda)) or "none"
    found |= {
        "CUDA devices": names,
        "Apple GPU (mps)": "available" if torch.backends.mps.is_available() else "none",
        "--device auto": "cuda" if cuda else "cpu",
        "processor": f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "--threads": "1 unless asked for more",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
        "--memory auto": f"{quarter_of_memory() / 1e9:.1f} GB",
    }
    Terminal().mapping("What resexp runs on", found)


@click.command("schema", short_help="JSON Schema of experiments.yaml, for editors.")
def schema_command() -> None:
    """Print the JSON Schema of experiments.yaml, which editors complete and check with.

    The first line of experiments.yaml points them to it: # yaml-language-server: $schema=experiments.schema.json

    \b
    Examples:
      resexp schema > experiments.schema.json
      resexp schema | jq '.properties | keys'
      resexp schema | jq '."$defs"."set.variance".properties | keys'
    """
    from resexp.runs.schema import experiments_schema

    click.echo(json.dumps(experiments_schema(), indent=1))
