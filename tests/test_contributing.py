"""The experiment printed in CONTRIBUTING.md is a real one: it runs, agrees, and is caught when wrong."""

import re
import sys
import types
from pathlib import Path

import pytest

from resexp.core.ensemble import Ensemble
from resexp.core.lab import Lab
from resexp.core.result import Verdict

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> type[Ensemble]:
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    module = types.ModuleType("resexp.experiments.mean_square")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "CONTRIBUTING.md", "exec"), module.__dict__)
    found: type[Ensemble] = module.MeanSquare
    return found


def test_the_printed_experiment_agrees_with_its_theory(experiment: type[Ensemble]) -> None:
    assert experiment.name() == "mean-square"
    assert "Source:" in experiment.mathematics() or "Source:" in TEXT
    result = experiment.parse(experiment.quick).compute(Lab("mean-square"))
    assert [family.verdict for family in result.families] == [Verdict.AGREE]


def test_the_printed_experiment_is_caught_with_another_gain(experiment: type[Ensemble]) -> None:
    declared = experiment.parse({**experiment.quick, "gain": 2.0})
    other = experiment.parse({**experiment.quick, "gain": 2.2})
    from resexp.core.assessment import assess

    result = assess(declared, other.measure(Lab("mean-square")))
    assert [family.verdict for family in result.families] == [Verdict.DISAGREE]
