"""Figures: a panel for each quantity, the same bytes each time, whole or not at all."""

from pathlib import Path

import pytest

from resexp.core.errors import ResexpError
from resexp.experiments.paths import Paths
from resexp.experiments.variance import Variance
from resexp.report.figure import draw
from resexp.runs.cell import Cell, run_cell
from resexp.runs.settings import Settings


def test_a_panel_for_each_quantity_with_its_theory(tmp_path: Path) -> None:
    cells = [Cell(Variance(depth=2, width=8, batch=4, draws=16, scheme=s), Settings()) for s in ("plain", "rescaled")]
    file = tmp_path / "v.svg"
    draw([run_cell(cell) for cell in cells], file)
    text = file.read_text()
    for words in ("activation second moment", "gradient second moment", "theory (", "scheme plain", "scheme rescaled"):
        assert words in text


def test_the_same_outcome_gives_the_same_bytes(tmp_path: Path) -> None:
    outcome = run_cell(Cell(Paths(blocks=5), Settings()))
    files = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for file in files:
        draw([outcome], file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_failure_leaves_the_earlier_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    outcome, file = run_cell(Cell(Paths(blocks=5), Settings())), tmp_path / "a.svg"
    draw([outcome], file)
    before = file.read_bytes()

    def full(self: Figure, path: Path, **_: object) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(ResexpError, match="No space left on device"):
        draw([outcome], file)
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]
    assert file.read_bytes() == before
