"""The documentation: a page for each command, an example for each option, links, formulas whose tests exist."""

import ast
import importlib.util
import json
import re
import shlex
import sys
from functools import cache
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import click
import pytest

from resexp.core.errors import ResexpError
from resexp.core.table import Table
from resexp.runs.registry import experiments
from resexp_cli import main
from resexp_cli.options import output_options, settings_options
from tests.documentation import (
    ROOT,
    SITE,
    all_examples,
    contents,
    examples,
    formulas,
    links,
    meanings,
    notebooks,
    read,
    reference,
    sources,
    verb,
)


@cache
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("resexp_documentation", SITE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, of no results."""
    folder = tmp_path_factory.mktemp("site")
    assert builder().main(["--no-run", "--out", str(folder), "--results", str(folder / "none")]) == 0
    return folder


@cache
def text_of(page: Path) -> str:
    """What a page shows, without its markup."""
    return unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


# Reference


def test_every_command_has_its_page_with_its_help_and_every_option(site: Path) -> None:
    for name in main.cli.list_commands(click.Context(main.cli)):
        experiment = name in experiments()
        page = site / f"{'experiment' if experiment else 'command'}-{name}.html"
        told, anchors = text_of(page), set(links.read(page).anchors)
        assert reference.help_of(name) in told
        assert "Example" in reference.help_of(name), f"the help of {name} has no example"
        common = {str(o.name) for o in (*settings_options("X"), *output_options("X"))} if experiment else set()
        for option in verb(name).params:
            if option.name in common:
                continue
            kind, written = ("parameter", str(option.name)) if experiment else ("option", max(option.opts, key=len))
            assert f"{kind}-{written.lstrip('-').replace('_', '-').lower()}" in anchors, (name, option.name)
    for option in (*settings_options("X"), *output_options("X")):
        assert f"option-{option.opts[-1].lstrip('-')}" in links.read(site / "common-options.html").anchors


def test_every_parameter_of_an_experiment_has_an_example_that_is_taken() -> None:
    for name, experiment in experiments().items():
        for parameter in experiment.model_fields:
            example = examples.command(experiment, parameter)
            assert example is not None
            assert read(example)[parameter] not in (None, ()), example
        assert experiment.examples, name  # that they run is tested by the contract


def test_a_parameter_without_an_example_stops_the_build() -> None:
    class Nameless(Table):
        """One."""

        where: str = ""
        axes = ("x",)
        examples: ClassVar[tuple[str, ...]] = ("nameless",)

        def table(self) -> list[dict[str, Any]]:
            return []

    assert examples.command(Nameless, "where") is None
    with pytest.raises(ResexpError, match=r"no example is known for its parameter where.*examples\.yaml"):
        reference.parameter_option(Nameless, "where")


def test_every_option_of_a_verb_or_of_all_experiments_is_in_an_example() -> None:
    said: dict[str, set[str]] = {}
    for command in all_examples():
        name, *words = shlex.split(command, comments=True)[1:]
        said.setdefault(name, set()).update(word.partition("=")[0] for word in words)
    for name in reference.verbs():
        for option in verb(name).params:
            if isinstance(option, click.Option):
                assert said[name] & {*option.opts, *option.secondary_opts}, (
                    f"resexp {name}: {option.opts} has no example"
                )
    of_experiments = set().union(*(said[name] for name in experiments() if name in said))
    for option in (*settings_options("X"), *output_options("X")):
        assert of_experiments & set(option.opts), f"{option.opts} has no example"


def test_exit_codes_and_variables_are_those_of_the_program() -> None:
    codes = {int(code) for code, _ in meanings.exit_codes()}
    family = {one.exit_code for one in (ResexpError, *ResexpError.__subclasses__())}
    assert codes == {0, 130, 143} | family
    assert {"RESEXP_VARIANCE_DEPTH", "RESEXP_PATHS_FORMAT"} <= set(meanings.every_variable())


# Pages and links


def test_every_page_is_in_the_contents() -> None:
    """A page that contents.yaml does not name comes last, under More; give it a place."""
    assert list(contents.contents()) == ["Start", "How to", "Explanation", "Notebooks", "Reference"]


def test_every_link_and_anchor_of_the_site_resolves(site: Path) -> None:
    assert not list(links.broken(site))
    assert len(list(site.glob("*.html"))) > 20 + len(experiments())
    assert {"tutorial.html", "experiments.html", "chapter.json"} <= set(links.read(site / "index.html").targets)


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h2 id="x">x</h2><a href="b.html#y">y</a><a href="c.html">c</a><a href="#x">x</a>'
    )
    (tmp_path / "b.html").write_text(
        '<p id="z">z</p><p id="z">z</p><img src="none.svg"><a href="https://x.org/#q">q</a>'
    )
    assert list(links.broken(tmp_path)) == [
        "a.html: b.html#y leads to no anchor of b.html.",
        "a.html: c.html leads to no file.",
        "b.html: the anchor #z is there more than once.",
        "b.html: none.svg leads to no file.",
    ]


def test_a_link_of_a_markdown_file_that_leads_to_no_page_is_told_with_the_file() -> None:
    def nowhere(target: str) -> str:
        raise KeyError(target)

    with pytest.raises(ResexpError, match=r"guide\.md: the link gone\.md#there leads to no page"):
        sources.rendered("[x](gone.md#there)", Path("guide.md"), nowhere)


def test_anchors_are_those_of_github_and_commands_lead_to_their_pages() -> None:
    body, headings = sources.rendered(
        "# A `b`\n## It's 1/2\n## It's 1/2\n`resexp run` [q](x.md)", Path("a.md"), str.upper
    )
    assert [heading.anchor for heading in headings] == ["a-b", "its-12", "its-12-1"]
    assert 'href="X.MD"' in body
    linked = sources.with_commands_linked(body, {"run": "command-run.html"}, "a.html")
    assert '<a class="run-by" href="command-run.html"><code>resexp run</code></a>' in linked


def test_notebooks_keep_their_cells_and_formulas(tmp_path: Path) -> None:
    table = "<style>b {}</style><table border='1'><tr><td>4</td></tr></table>"
    shown = [{"data": {"text/plain": "a <b>"}}, {"data": {"text/plain": "x", "text/html": table}}]
    unsafe = {"data": {"text/plain": "plain", "text/html": "<script>1</script>"}}
    cells = [
        {"cell_type": "markdown", "source": ["# T $x_1$\n", "is $x_{k+1}^2 \\sim \\frac{1}{\\sqrt{2 D}}$"]},
        {"cell_type": "code", "source": "x < 1", "outputs": [*shown, unsafe]},
    ]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
    body, headings = notebooks.rendered(tmp_path / "n.ipynb", str)
    assert "T <span" in headings[0].text
    assert "<i>x</i><sub><i>k</i> + 1</sub><sup>2</sup> ∼ 1 / √(2<i>D</i>)" in body
    assert '<pre class="cell"><code>x &lt; 1</code></pre>' in body
    assert '<pre class="output">a &lt;b&gt;</pre>' in body
    assert "<table><tr><td>4</td></tr></table>" in body
    assert "style" not in body
    assert '<pre class="output">plain</pre>' in body
    assert "kept-" not in body
    with pytest.raises(ResexpError, match=r"does not know \\oint of the formula \\oint x"):
        formulas.as_html(r"\oint x")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    assert builder().main(["--no-run", "--out", str(tmp_path), "--results", str(tmp_path / "none")]) == 1
    assert "holds no documentation" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "all of it"


# Physics


def test_every_theory_is_explained_and_a_missing_one_is_told() -> None:
    text = (ROOT / "docs/physics.md").read_text(encoding="utf-8")
    found = builder().explained(text)
    assert {path.stem for path in (ROOT / "resexp/theory").glob("[!_]*.py")} <= set(found)
    with pytest.raises(ResexpError, match=r"no section that names `theory/gaussian\.py`"):
        builder().explained(text.replace("`theory/gaussian.py`", ""))


@cache
def defined_in(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_exists_and_every_section_names_one() -> None:
    text = (ROOT / "docs/physics.md").read_text(encoding="utf-8")
    for section in text.split("\n## ")[1:]:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", section)
        assert named, section.partition("\n")[0]
        for file, test in named:
            assert test in defined_in(ROOT / file), f"{file}::{test}"
    files = set(re.findall(r"`(tests/theory/\w+\.py)::", text))
    assert files == {f"tests/theory/{path.name}" for path in (ROOT / "tests/theory").glob("test_*.py")}
