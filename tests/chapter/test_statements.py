"""The statements of the chapter: all of it is there, each run is valid at both settings, names are found."""

import re

import pytest

from resexp.chapter import statements
from resexp.chapter.statements import Chapter
from resexp.core.errors import UsageError
from resexp.runs.entry import cells

FIGURES = {f"figure-11.{n}" for n in range(1, 15)} - {"figure-11.6"} | {f"figure-11.6{part}" for part in "abc"}
EQUATIONS = {f"equation-11.{n}" for n in range(1, 11)}
PROBLEMS = {f"problem-11.{n}" for n in range(1, 14)}


@pytest.fixture(scope="module")
def chapter() -> Chapter:
    return Chapter.load()


def test_every_figure_equation_and_problem_is_there_once(chapter: Chapter) -> None:
    named = [name for statement in chapter.statements for name in statement.of]
    assert len(named) == len(set(named))
    assert {name for name in named if not name.startswith(("section", "notes"))} == FIGURES | EQUATIONS | PROBLEMS


@pytest.mark.parametrize("full", [False, True])
def test_each_run_is_valid_and_full_ones_are_larger(chapter: Chapter, full: bool) -> None:
    entries = chapter.planned(chapter.statements, full=full)
    assert [entry.name for entry in entries] == list(dict.fromkeys(n for s in chapter.statements for n in s.runs))
    for entry in entries:
        assert list(cells(entry))
        if full and entry.name in chapter.full:
            assert dict(entry.parameters) != dict(chapter.entries[entry.name].parameters)


def test_labels_are_for_people(chapter: Chapter) -> None:
    labels = {statement.anchor: statement.label for statement in chapter.statements}
    assert labels["figure-11.1"] == "Figure 11.1, equations 11.1 to 11.3"
    assert labels["figure-11.4"] == "Figure 11.4, equations 11.4 and 11.5"
    assert labels["section-11.6b"] == "Section 11.6"
    assert all(re.match(r"(Figure|Equation|Problem|Section)s? 11\.|Notes", label) for label in labels.values())


def test_statements_are_chosen_by_number_run_or_experiment(chapter: Chapter) -> None:
    def chosen(*names: str) -> list[str]:
        return [statement.anchor for statement in chapter.only(names)]

    assert chosen("figure-11.6") == ["figure-11.6a", "figure-11.6b", "figure-11.6c"]
    assert chosen("problem-11.13", "equation-11.2") == ["figure-11.1", "problem-11.13"]
    assert chosen("gradient-growth") == chosen("batchnorm") == ["problem-11.13"]
    assert set(chosen("problem-11.1?")) == set(
        chosen("problem-11.10", "problem-11.11", "problem-11.12", "problem-11.13")
    )
    assert len(chosen()) == len(chapter.statements)
    with pytest.raises(UsageError, match=r"--only figure-11\.15: no statement of the chapter \(did you mean"):
        chosen("figure-11.15")


def test_a_run_that_no_statement_shows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    load = statements.load
    monkeypatch.setattr(statements, "load", lambda path: type(one := load(path))(one.path, one.entries[1:]))
    with pytest.raises(ValueError, match="'sequential' is not in both"):
        Chapter.load()
