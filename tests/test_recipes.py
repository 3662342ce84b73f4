"""Every recipe of docs/recipes.md, in order, on the results that its first block makes."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.printed import differences

PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```\n(?:```text\n(?P<output>.*?)^```$)?", re.M | re.S)
COMMANDS = {"sh": ["bash", "-eu"], "gnuplot": ["gnuplot"], "r": ["Rscript"]}
IDENTITY = re.compile(r"\b[0-9a-f]{16}\b")
"""Names of cells' folders, which change with an experiment's version."""
TOOLS = ("mlr", "jq", "column", "awk")
"""Programs that a recipe in sh may begin with."""


@dataclass(frozen=True)
class Recipe:
    """A fenced block, and the text shown beneath it, None where there is none."""

    language: str
    code: str
    output: str | None

    @property
    def tools(self) -> list[str]:
        """Programs that it needs."""
        if self.language == "sh":
            return [tool for tool in TOOLS if re.search(rf"(^|\| ){tool} ", self.code, re.M)]
        return [COMMANDS[self.language][0]] if self.language in COMMANDS else []

    def run(self, folder: Path) -> str:
        """What it prints, run in the folder. Skips where a program is missing."""
        for tool in self.tools:
            if not shutil.which(tool):
                pytest.skip(f"{tool} is not installed")
        if self.language == "python":
            printed = io.StringIO()
            with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
                exec(compile(self.code, PAGE.name, "exec"), {"__name__": "recipe"})
            return printed.getvalue()
        (folder / "recipe").write_text(self.code)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [*COMMANDS[self.language], "recipe"],
            cwd=folder,
            env=CLEAN | {"PATH": path, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        return done.stdout


CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("RESEXP_")}
FIRST, *RECIPES = [Recipe(m["language"], m["code"], m["output"]) for m in BLOCK.finditer(PAGE.read_text())]
WRITTEN = {"gnuplot": "growth.svg", "python": "over_theory.png"}
"""Files that recipes without text leave."""


def name(recipe: Recipe) -> str:
    return "-".join([recipe.language, *[tool for tool in recipe.tools if recipe.language == "sh"]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recipes")
    FIRST.run(made)
    return made


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_a_recipe_prints_what_the_page_shows(recipe: Recipe, folder: Path) -> None:
    printed = recipe.run(folder)
    if recipe.output is None:
        written = folder / WRITTEN[recipe.language]
        assert written.stat().st_size > 5000
    else:
        assert differences(IDENTITY.sub("id", printed), IDENTITY.sub("id", recipe.output)) == []


def test_every_tool_has_a_recipe() -> None:
    used = {tool for recipe in RECIPES for tool in recipe.tools}
    modules = set(re.findall(r"^import (\w+)", "".join(r.code for r in RECIPES if r.language == "python"), re.M))
    assert used >= {"awk", "column", "jq", "mlr", "gnuplot", "Rscript"}
    assert modules >= {"pandas", "polars", "duckdb", "matplotlib"}


def test_a_row_that_disagrees_is_found_in_a_folder_of_sweeps(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "results", tmp_path / "results")
    runs = {path: json.loads(path.read_text()) for path in (tmp_path / "results" / "variance").glob("*/run.json")}
    cell, run = next((p.parent, r) for p, r in runs.items() if r["parameters"]["width"] == 128)
    text = (cell / "result.csv").read_text()
    (cell / "result.csv").write_text(text.replace(",exact,agree\n", ",exact,disagree\n", 1))
    run["families"][0] |= {"verdict": "disagree", "sentence": "far off."}
    (cell / "run.json").write_text(json.dumps(run))
    (by_sql,) = [r for r in RECIPES if "duckdb" in r.code and "'disagree'" in r.code]
    assert f"('variance', '{cell.name}', 'activation_second_moment', 'disagree', 1, 0)" in by_sql.run(tmp_path)
    (by_jq,) = [r for r in RECIPES if r.language == "sh" and "families" in r.code]
    assert by_jq.run(tmp_path) == f"variance {cell.name} activation_second_moment: far off.\n"


def test_read_csv_of_r_finds_the_shape_it_needs(folder: Path) -> None:
    """A header of names, as many fields in every line, nothing quoted that is a number, empty where there is none."""
    files = [folder / "growth.csv", *sorted(folder.glob("results/*/*/result.csv"))]
    assert len(files) == 8
    assert ",,,no theory\n" in files[0].read_text()
    for path in files:
        text = path.read_bytes().decode()
        assert text.endswith("\n")
        assert "\r" not in text
        header, *lines = csv.reader(io.StringIO(text), strict=True)
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", column) for column in header)  # make.names leaves them alone
        assert len(set(header)) == len(header)
        assert {len(line) for line in lines} == {len(header)}
        for column, fields in zip(header, zip(*lines, strict=True), strict=True):
            numbers = [bool(re.fullmatch(r"-?\d+(\.\d+)?(e[-+]\d+)?|", field)) for field in fields]
            assert all(numbers) or not any(n and f for n, f in zip(numbers, fields, strict=True)), column
            assert not {"NA", "NaN", "nan", "None", "null", "Inf", "inf"} & set(fields), column
