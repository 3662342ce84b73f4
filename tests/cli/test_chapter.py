"""chapter and report: runs, pages, data, what is read back, what fails."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import TINY, Resexp

EXACT = ("chapter", "--only", "problem-11.1", "--only", "problem-11.8", "-j", "0")


def test_statements_become_a_page_data_and_a_table(resexp: Resexp, tmp_path: Path) -> None:
    ended = resexp(*EXACT)
    assert ended.code == 0
    assert re.search(r"Problem 11\.8 +Parameters of a fully connected network +agree +2 agree", ended.out)
    data = json.loads((tmp_path / "results/chapter-part.json").read_text())
    by_id = {statement["id"]: statement for statement in data["statements"]}
    assert set(by_id) == {"problem-11.1", "problem-11.8"}
    plain, normalised = by_id["problem-11.8"]["runs"]
    assert plain["commands"] == ["resexp parameters"]
    assert normalised["commands"] == ["resexp parameters --batchnorm"]
    assert [run["figures"][0]["mean"] for run in (plain, normalised)] == [3841, 4241]
    assert by_id["problem-11.1"]["verdict"] == "agree"
    page = (tmp_path / "results/chapter-part.html").read_text()
    for words in ("3,841", "4,241", "resexp parameters --batchnorm", "Equation 11.5 from its definition", "<svg"):
        assert words in page


def test_what_is_stored_is_read_back_and_nothing_is_run_where_that_is_asked(resexp: Resexp, tmp_path: Path) -> None:
    resexp(*EXACT)
    again = resexp(*EXACT)
    assert again.err.count("read back") == 3
    (tmp_path / "elsewhere").mkdir()
    ended = resexp(*EXACT, "--no-run", "--out", "elsewhere", "--page", "pages/one.html")
    assert ended.code == 0
    assert ended.out.count("not run") == 2
    data = json.loads((tmp_path / "pages/one.json").read_text())
    assert {run["missing"] for statement in data["statements"] for run in statement["runs"]} == {"not run yet."}
    assert "not run yet." in (tmp_path / "pages/one.html").read_text()


def test_a_run_that_fails_is_told_on_the_page_and_by_the_exit_code(
    resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resexp.core.errors import ResexpError
    from resexp.experiments.parameters import Parameters

    def fail(*_: object) -> None:
        raise ResexpError("the counter is <broken>.")

    monkeypatch.setattr(Parameters, "compute", fail)
    ended = resexp(*EXACT)
    assert ended.code == 3
    assert "Error: 2 of 3 cells failed, in mlp-parameters, mlp-parameters-batchnorm." in ended.err
    page = (tmp_path / "results/chapter-part.html").read_text()
    assert "mlp-parameters: " in page
    assert "the counter is &lt;broken&gt;." in page
    assert "resexp unravel --block 0" in page


def test_what_is_missing_or_damaged_leaves_a_statement_incomplete(resexp: Resexp, tmp_path: Path) -> None:
    only = ("chapter", "--only", "problem-11.12", "-j", "0")
    resexp(*only)
    first, second, _ = sorted(tmp_path.glob("results/unet-sizes/*"))
    (first / "run.json").write_text("{")
    shutil.rmtree(second)
    assert "incomplete" in resexp(*only, "--no-run").out
    (statement,) = json.loads((tmp_path / "results/chapter-part.json").read_text())["statements"]
    assert statement["verdict"] == "incomplete"
    page = (tmp_path / "results/chapter-part.html").read_text()
    assert 'class="missing"' in page
    assert resexp(*only).code == 0
    assert "incomplete" not in resexp(*only).out


def test_a_disagreement_is_the_verdict_of_its_statement(
    resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resexp.theory import sizes

    monkeypatch.setattr(sizes, "mlp", lambda *_, **__: 7)
    assert re.search(r"Problem 11\.8 .*disagree", resexp(*EXACT).out)
    data = json.loads((tmp_path / "results/chapter-part.json").read_text())
    assert {one["id"]: one["verdict"] for one in data["statements"]} == {
        "problem-11.1": "agree",
        "problem-11.8": "disagree",
    }


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("", "needs the name of a file that ends in .html"),
        ("out.json", "needs the name of a file that ends in .html"),
        ("/proc/x/y.html", "could not be written"),
    ],
)
@pytest.mark.parametrize("command", [EXACT, ("report",)], ids=["chapter", "report"])
def test_a_page_that_cannot_be_written_is_refused_before_anything_runs(
    resexp: Resexp, stored: Callable[[], set[str]], command: tuple[str, ...], page: str, told: str
) -> None:
    ended = resexp(*command, "--page", page)
    assert ended.code in {1, 2}
    assert told in ended.err
    assert not stored()


def test_a_title_that_is_no_text_and_a_fact_that_is_no_number_do_not_stop_a_report(
    resexp: Resexp, tmp_path: Path
) -> None:
    resexp("parameters")
    (run,) = tmp_path.glob("results/parameters/*/run.json")
    run.write_text(run.read_text().replace('"seconds": ', '"seconds": "x", "was": '))
    assert resexp("report", "--title", "a\udcffb").code == 0
    assert "<title>a?b</title>" in (tmp_path / "report.html").read_text()


def test_a_name_that_is_not_of_the_chapter_is_refused(resexp: Resexp) -> None:
    ended = resexp("chapter", "--only", "figure-12.1")
    assert (ended.code, ended.out) == (2, "")
    assert "no statement of the chapter" in ended.err


def test_statements_are_listed(resexp: Resexp, stored) -> None:  # type: ignore[no-untyped-def]
    ended = resexp("chapter", "--list", "--only", "figure-11.2")
    assert ended.code == 0
    assert "degradation" in ended.out
    assert not stored()


def test_stored_results_become_a_page(resexp: Resexp, tmp_path: Path) -> None:
    resexp("variance", *TINY, "--depth", "2:5")
    resexp("parameters")
    ended = resexp("report", "--title", "Mine & yours")
    assert ended.code == 0
    assert "page: report.html, 5 results" in ended.err
    page = (tmp_path / "report.html").read_text()
    assert "<title>Mine &amp; yours</title>" in page
    assert "resexp variance --depth 2:5:1 --width 8 --batch 4 --draws 16" in page
    assert page.count("<figure") == 3  # rows and their comparison, and the drawing of parameters


def test_damaged_results_are_left_out_and_told(resexp: Resexp, tmp_path: Path) -> None:
    resexp("variance", *TINY)
    resexp("parameters")
    (broken,) = tmp_path.glob("results/variance/*/result.csv")
    broken.write_text("block\n")
    ended = resexp("report")
    assert ended.code == 0
    assert "1 damaged" in ended.err
    assert "1 results" in ended.err
    (tmp_path / "results").rename(tmp_path / "gone")
    nothing = resexp("report")
    assert nothing.code == 2
    assert "Nothing to report" in nothing.err
