"""The experiments printed in CONTRIBUTING.md are real: they run, agree, and are caught when wrong."""

import re
import sys
import types
from pathlib import Path

import pytest

from resexp.core.assessment import assess
from resexp.core.ensemble import Ensemble
from resexp.core.experiment import Experiment
from resexp.core.lab import Lab
from resexp.core.result import Verdict

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
MEAN_SQUARE, ITS_TEST, REGIONS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def printed(source: str, name: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, "CONTRIBUTING.md", "exec"), module.__dict__)
    return module


@pytest.fixture
def mean_square(monkeypatch: pytest.MonkeyPatch) -> type[Ensemble]:
    module = printed(MEAN_SQUARE, "resexp.experiments.mean_square", monkeypatch)
    module.__doc__ = re.match(r'"""(.*?)"""', MEAN_SQUARE, re.DOTALL)[1]  # type: ignore[index]
    found: type[Ensemble] = module.MeanSquare
    return found


def test_the_printed_experiment_agrees_with_its_theory(mean_square: type[Ensemble]) -> None:
    assert mean_square.name() == "mean-square"
    assert "Source:" in mean_square.mathematics()
    result = mean_square.parse(mean_square.quick).compute(Lab("mean-square"))
    assert [family.verdict for family in result.families] == [Verdict.AGREE]


def test_the_printed_experiment_is_caught_with_another_gain(mean_square: type[Ensemble]) -> None:
    declared = mean_square.parse({**mean_square.quick, "gain": 2.0})
    other = mean_square.parse({**mean_square.quick, "gain": 2.2})
    result = assess(declared, other.measure(Lab("mean-square")))
    assert [family.verdict for family in result.families] == [Verdict.DISAGREE]


def test_the_printed_test_passes(mean_square: type[Ensemble], monkeypatch: pytest.MonkeyPatch) -> None:
    printed(ITS_TEST, "test_mean_square", monkeypatch).test_half_the_gain_gives_half_the_square()


def test_the_printed_table_agrees_with_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    regions: type[Experiment] = printed(REGIONS, "resexp.experiments.regions", monkeypatch).Regions
    result = regions.parse({"units": 5}).compute(Lab("regions"))
    assert result.rows[-1] == {"units": 5, "regions": 6}
    assert [family.verdict for family in result.families] == [Verdict.AGREE]
