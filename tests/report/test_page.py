"""Pages: the command that repeats a run, what is shown of it, and that a page is whole and its own."""

import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from resexp.chapter.statements import FOLDER
from resexp.core.experiment import Experiment
from resexp.experiments.decay_limit import DecayLimit
from resexp.experiments.parameters import Parameters
from resexp.experiments.paths import Paths
from resexp.experiments.variance import Variance
from resexp.report.command import commands_of
from resexp.report.page.comparison import comparison_of
from resexp.report.page.content import Page, Section, run_of, worst
from resexp.report.page.overview import in_order
from resexp.report.page.render import render
from resexp.runs.cell import Cell, Outcome, run_cell
from resexp.runs.config import load
from resexp.runs.entry import Entry, cells
from resexp.runs.settings import Settings
from resexp_cli.main import cli

ROOT = Path(__file__).parent.parent.parent
SMALL = {"width": 8, "batch": 4, "draws": 16}
ENTRIES = [entry for file in (FOLDER / "chapter.yaml", ROOT / "experiments.yaml") for entry in load(file).entries]


def measured(seed: int = 0, **values: object) -> Outcome:
    return run_cell(Cell(Variance.parse({**SMALL, "depth": 2, **values}), Settings(seed=seed)))


def read(commands: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the cells that the command line itself makes of these commands."""
    from resexp_cli import experiments

    found = list[Cell]()
    monkeypatch.setattr(experiments, "_dry_run", lambda _terminal, resolved, _store: found.extend(resolved))
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "resexp"
        cli.main([*arguments, "--dry-run"], standalone_mode=False)
    return sorted(cell.id for cell in found)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_command_repeats_the_cells(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = list(cells(entry))
    commands = commands_of(wanted)
    assert len(commands) == 1
    assert read(commands, monkeypatch) == sorted(cell.id for cell in wanted)


@pytest.mark.parametrize(
    "settings",
    [
        [Paths(blocks=4, decay=0.1), Paths(blocks=6, decay=0.5), Paths(blocks=9, decay=0.9)],  # paired, no product
        [Parameters(net=("resnet:18",)), Parameters(net=("mlp", "resnet:34"))],
        [Parameters(), Parameters(batchnorm=True), Parameters(bias=False)],
        [DecayLimit(weight_decay=(0.0, 1.0)), DecayLimit(weight_decay=(0.0, 0.5))],
        [Variance(depth=depth, alpha=alpha) for depth in (2, 3) for alpha in (None, 0.5)],
    ],
    ids=["paired", "several nets", "flags", "lists", "not said"],
)
def test_what_is_no_product_is_told_line_by_line(settings: list[Experiment], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [Cell(one, Settings()) for one in settings]
    commands = commands_of(wanted)
    assert len(commands) == len(wanted)
    assert read(commands, monkeypatch) == sorted(cell.id for cell in wanted)


def test_of_many_commands_the_first_are_told() -> None:
    many = [Cell(Paths(blocks=n, decay=1 / n), Settings()) for n in range(2, 32)]
    assert commands_of(many)[-1] == "# and 18 more"
    assert len(commands_of(many)) == 13


class Tags(HTMLParser):
    """All tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))


def whole_page() -> str:
    outcome = run_cell(Cell(Paths(blocks=4), Settings()))
    odd = replace(outcome, result=replace(outcome.result, notes=["<script>alert(1)</script>"]))
    sections = [
        Section("one", "One", [run_of([odd], "one")], text="`x` <b>y</b>", limit="Only so."),
        Section("two", "Two", [run_of([measured(), measured(depth=3)], "two")], missing=[("three", "not run yet.")]),
    ]
    return render(Page("A & B", "words", {"Group": sections}))


def test_a_page_needs_nothing_and_shows_text_as_text() -> None:
    page = whole_page()
    tags = Tags(page).all
    ids = [found["id"] for _, found in tags if "id" in found]
    assert len(ids) == len(set(ids))
    for tag, found in tags:
        assert tag not in {"link", "iframe"} or found.get("href") == "data:,"
        for name in ("src", "href", "xlink:href"):
            assert (found.get(name) or "#").startswith(("#", "data:")), (tag, found)
        if name_of := found.get("href") or found.get("xlink:href"):
            assert name_of == "data:," or name_of[1:] in ids
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>y</b>" not in page
    assert page.count("<script>") == 1
    drawings = [found for tag, found in tags if tag == "svg"]
    assert len(drawings) == 2
    assert all(found["role"] == "img" and found["aria-label"] for found in drawings)
    assert "#010203" not in page  # the ink of figures has become the page's
    assert page.count("currentColor") > 20


def test_numbers_stand_beside_theory() -> None:
    run = run_of([measured()], "one")
    (growth,) = [figure for figure in run.figures if figure.quantity == "activation growth per block"]
    (row,) = [row for row in measured().result.headline if row["quantity"] == "activation_growth_per_block"]
    assert isinstance(row["mean"], float)
    assert float(growth.measured) == pytest.approx(row["mean"], rel=1e-3)
    assert " to " in growth.interval
    assert sum(run.verdicts.values()) == len(measured().result.families)
    assert [f.quantity for f in run_of([measured()], "x", shown=["gradient_growth_per_block"]).figures] == [
        "gradient growth per block"
    ]


def test_the_verdict_that_matters_most_stands_for_all() -> None:
    assert worst({"agree": 5, "disagree": 1, "no theory": 9}) == "disagree"
    assert worst({"underpowered": 1, "agree": 1}) == "underpowered"
    assert worst({"not judged": 3, "agree": 1}) == "agree"
    assert worst({}) == "no theory"


def test_seeds_are_pooled_and_settings_stand_in_order() -> None:
    outcomes = [measured(seed, depth=depth) for depth in (10, 3) for seed in (2, 0, 1)]
    settings = in_order(outcomes)
    assert [one.cell.experiment.model_dump()["depth"] for one in settings] == [3, 10]
    draws = {row["draws"] for one in settings for row in one.result.headline if "growth" in str(row["quantity"])}
    assert draws == {48}
    (command,) = run_of(settings, "one", made_of=outcomes).commands
    assert command == "resexp variance --depth 10,3 --width 8 --batch 4 --draws 16 --seed 2,0,1"


def test_names_of_sections_are_there_once_and_what_is_not_drawn_is_counted(tmp_path: Path) -> None:
    from resexp.report.page.overview import overview
    from resexp.runs.store import Store

    chosen = []
    for entry in ("a_b", "a-b"):
        for blocks in range(2, 16):
            outcome = run_cell(Cell(Paths(blocks=blocks), Settings()))
            chosen.append((entry, str(Store(tmp_path).save(outcome))))
    page = overview(chosen, "Both", lambda error: pytest.fail(str(error)))
    assert [section.anchor for section in page.sections] == ["paths-a-b", "paths-a-b-2"]
    assert [section.runs[0].left_out for section in page.sections] == [2, 2]
    ids = [found["id"] for _, found in Tags(render(page)).all if "id" in found]
    assert len(ids) == len(set(ids))


def test_a_sweep_of_numbers_is_compared_and_curves_keep_their_colours() -> None:
    schemes = ("batchnorm", "plain")  # the growth per block of the first has another name
    outcomes = [measured(depth=depth, scheme=scheme) for depth in (2, 3, 4) for scheme in schemes]
    picture = comparison_of(outcomes, "one")
    assert picture is not None
    assert "against depth" in picture.alternative
    panels = re.findall(r'<g id="one-compared-axes_\d+">.*?(?=<g id="one-compared-axes_|\Z)', picture.markup, re.DOTALL)
    plain = [panel for panel in panels if "scheme plain" in panel]
    assert len(plain) > 1
    for panel in plain:
        assert "#d55e00" in panel.lower()
        assert ("#0072b2" in panel.lower()) == ("scheme batchnorm" in panel)
    assert comparison_of(outcomes[:4], "two") is None  # two depths are a table
    assert comparison_of([run_cell(Cell(Parameters(width=w), Settings())) for w in (1, 2, 3)], "three") is not None
