"""Figures: a panel for each quantity, the same bytes each time, whole or not at all."""

from pathlib import Path

import pytest

from resexp.core.errors import ResexpError
from resexp.experiments.autocorrelation import Autocorrelation
from resexp.experiments.paths import Paths
from resexp.experiments.variance import Variance
from resexp.report.figure import draw
from resexp.report.strips import curve_panels
from resexp.runs.cell import Cell, run_cell
from resexp.runs.execute import execute
from resexp.runs.settings import Settings
from resexp.runs.store import Store


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


def scalar(**parameters: object) -> Cell:
    return Cell(Autocorrelation.parse({**Autocorrelation.quick, "width": 8, **parameters}), Settings())


def test_curves_have_panels_of_their_own_and_what_settings_share_is_drawn_once() -> None:
    cells = [scalar(protocol=p, depth=d) for p in ("he", "book") for d in (2, 3)]
    panels = curve_panels([run_cell(cell) for cell in cells])
    said = {name: [strip.label for strip in strips] for name, strips in panels.items()}
    each = [f"protocol {p}, depth {d}" for p in ("he", "book") for d in (2, 3)]
    assert said == {"a shallow network": ["protocol he", "protocol book"], "the network itself": each}
    assert len({strip.colour for strip in panels["the network itself"]}) == 4


def test_a_result_read_back_draws_the_same_three_panels(tmp_path: Path) -> None:
    files, store = [tmp_path / "a.svg", tmp_path / "b.svg"], Store(tmp_path)
    outcomes = [execute(scalar(), store).outcome for _ in files]
    assert [outcome.read_back for outcome in outcomes] == [False, True]
    for outcome, file in zip(outcomes, files, strict=True):
        draw([outcome], file)
    text = files[0].read_text()
    for words in ("a shallow network: one hidden layer", "the network itself: 6 hidden layers", "gradient autocorr"):
        assert words in text
    assert files[1].read_text() == text
