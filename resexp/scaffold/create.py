"""Writes the files that a user begins with, and refuses to write over what is there."""

import importlib.util
import keyword
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

import resexp.experiments
from resexp import __version__
from resexp.core.errors import ResexpError, UsageError

Kind = Literal["ensemble", "table"]
BATCH = "experiments.yaml"
NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
LONGEST_NAME = 40


@dataclass(frozen=True)
class Created:
    """What was written. checkout: the checkout of resexp it became part of, None for a plugin."""

    files: tuple[Path, ...]
    checkout: Path | None = None


def create_batch(folder: Path, *, force: bool = False) -> Path:
    """Write a commented experiments.yaml into the folder. Raises UsageError where there is one, unless forced."""
    target = folder / BATCH
    if target.exists() and not force:
        raise UsageError(f"{BATCH} is there already; --force writes over it, and --into FOLDER writes elsewhere.")
    _write({target: _template(BATCH)})
    return target


def create_experiment(name: str, folder: Path, kind: Kind, taken: Collection[str]) -> Created:
    """Write a new experiment: one file in a checkout of resexp, a plugin in a folder of its own elsewhere.

    name: on the command line, with hyphens; folder: where the user stands; taken: names of commands. Raises UsageError
    where the name cannot be one, or where something of that name is there.
    """
    module = name.replace("-", "_")
    checkout = _checkout(folder)
    _check_name(name, module, taken, is_plugin=checkout is None)
    words = {
        "name": name,
        "module": module,
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "version": __version__,
    }

    def filled(template: str) -> str:
        return Template(_template(template)).substitute(words)

    declared = filled(f"{kind}.py.template")
    if checkout is not None:
        made = {checkout / "resexp" / "experiments" / f"{module}.py": declared}
    else:
        made = {
            folder / name / f"{module}.py": declared,
            folder / name / f"test_{module}.py": filled(f"test_{kind}.py.template"),
            folder / name / "pyproject.toml": filled("pyproject.toml.template"),
        }
    for path in made:
        if path.exists():
            raise UsageError(f"{path} is there already; choose another name, or move the file away.")
    _write(made)
    return Created(tuple(made), checkout)


def _check_name(name: str, module: str, taken: Collection[str], *, is_plugin: bool) -> None:
    if not NAME.fullmatch(name):
        near = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-0123456789")
        hint = f"; {near} would do" if NAME.fullmatch(near) else ""
        raise UsageError(
            f"'{name}' cannot be the name of an experiment: it takes lower-case letters, digits and single hyphens, "
            f"and begins with a letter{hint}."
        )
    if len(name) > LONGEST_NAME:
        raise UsageError(f"The name '{name}' has {len(name)} characters; choose one of {LONGEST_NAME} at most.")
    if keyword.iskeyword(module):
        raise UsageError(f"'{name}' is a word of Python, and no module can have it; add another word to it.")
    if name in taken:
        raise UsageError(f"There is a command '{name}' already; choose another name.")
    if is_plugin and (module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None):
        raise UsageError(
            f"There is a Python module '{module}' already, which the new one would hide; add a word to it."
        )


def _checkout(folder: Path) -> Path | None:
    """The checkout of resexp that the folder is in, None where it is in none."""
    marker = Path("resexp") / "experiments" / "__init__.py"
    for root in (folder, *folder.parents):
        if (root / marker).is_file() and (root / "pyproject.toml").is_file():
            running = Path(resexp.experiments.__file__ or "")
            if not running.is_file() or not running.samefile(root / marker):
                raise UsageError(
                    f"{root} is a checkout of resexp, but the resexp that runs here is another, in "
                    f"{running.parent.parent}; run the checkout's own, which `make install` puts into .venv/bin."
                )
            return root
    return None


def _template(name: str) -> str:
    return (files("resexp.scaffold") / "templates" / name).read_text(encoding="utf-8")


def _write(made: Mapping[Path, str]) -> None:
    for path, text in made.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise ResexpError(
                f"{path} cannot be written: {error.strerror or error}. Go to a folder you may write in."
            ) from None
