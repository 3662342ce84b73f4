"""list, show, doctor, schema: what there is, and what it runs on. None of them imports torch except doctor."""

import json

import click

from resexp.core.experiment import Experiment


@click.command("list", short_help="All experiments with what they measure.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="table or json")
def list_command(form: str) -> None:
    """List all experiments.

    \b
    Example:
      resexp list
    """
    from resexp.runs.registry import experiments

    if form == "json":
        described = [{"name": n, "summary": e.summary(), "version": e.version} for n, e in experiments().items()]
        click.echo(json.dumps(described, indent=1))
        return
    from resexp_cli.console import Terminal

    Terminal().listing(("name", "question"), [(name, e.summary()) for name, e in experiments().items()])


@click.command("show", short_help="Formulas, parameters and sources of an experiment.")
@click.argument("name")
def show_command(name: str) -> None:
    """Show the mathematics, parameters, examples and sources of an experiment.

    \b
    Example:
      resexp show variance
    """
    from resexp.runs.registry import experiment

    click.echo(_description(experiment(name)), nl=False)


def _description(found: type[Experiment]) -> str:
    lines = [found.name(), "=" * len(found.name()), "", found.mathematics(), "", "Parameters", "----------"]
    width = max(len(name) for name in found.model_fields)
    for name, field in found.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        lines.append(f"{name.replace('_', '-'):{width}}  {field.description} [default: {default}]")
    lines += ["", "Examples", "--------", *(f"resexp {example}" for example in found.examples), ""]
    return "\n".join(lines)


@click.command("doctor", short_help="Versions, devices and threads of this machine.")
def doctor_command() -> None:
    """Say what resexp runs on here: versions, devices, threads, memory, extras.

    \b
    Example:
      resexp doctor
    """
    import os
    import platform

    from resexp import __version__
    from resexp.core.lab import quarter_of_memory
    from resexp.runs.cell import installed_version
    from resexp_cli.console import Terminal

    found = {"resexp": __version__, "python": platform.python_version(), "platform": platform.platform()}
    found |= {name: installed_version(name) for name in ("torch", "numpy", "click", "rich", "pydantic", "pyyaml")}
    found |= {f"{name} (extra plots)": installed_version(name) for name in ("matplotlib",)}
    import torch

    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(cuda)) or "none"
    found |= {
        "cuda devices": names,
        "mps": "available" if torch.backends.mps.is_available() else "none",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": str(os.cpu_count()),
        "threads by default": "1 (--threads)",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
        "memory budget by default": f"{quarter_of_memory() / 1e9:.1f} GB (--memory)",
    }
    Terminal().mapping("resexp doctor", found)


@click.command("schema", short_help="JSON Schema of experiments.yaml, for editors.")
def schema_command() -> None:
    """Print the JSON Schema of experiments.yaml.

    \b
    Example:
      resexp schema > experiments.schema.json
    """
    from resexp.runs.schema import experiments_schema

    click.echo(json.dumps(experiments_schema(), indent=1))
