"""Figures: a panel for each quantity, the same bytes each time, whole or not at all."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resexp.core.errors import ResexpError
from resexp.core.experiment import Plot
from resexp.experiments.autocorrelation import Autocorrelation
from resexp.experiments.paths import Paths
from resexp.experiments.variance import Variance
from resexp.report import figure
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


def drawn(cells: list[Cell], monkeypatch: pytest.MonkeyPatch, path: Path) -> Figure:
    """The figure itself, not its file."""
    kept: list[Figure] = []
    monkeypatch.setattr(figure, "save", lambda one, _: kept.append(one))
    draw([run_cell(cell) for cell in cells], path)
    return kept[0]


def test_axes_have_the_unit_that_a_quantity_declares(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from resexp.experiments.degradation import Degradation

    one = drawn([Cell(Degradation.parse(Degradation.smallest), Settings())], monkeypatch, tmp_path / "d.svg")
    labels = [axis.get_ylabel() for axis in one.axes if axis.get_ylabel()]
    assert "train loss (nats)" in labels
    assert "test error" in labels


def legend_of(one: Figure) -> dict[str, tuple[object, ...]]:
    """What each entry of the legend beside the panels looks like."""
    assert not any(axis.get_legend() for axis in one.axes)
    (legend,) = one.legends
    lines = [line for line in legend.legend_handles if isinstance(line, Line2D)]
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines]
    return dict(zip([text.get_text() for text in legend.get_texts()], looks, strict=True))


def test_no_two_of_many_settings_look_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [Cell(Variance(depth=2, width=8, batch=4, draws=16, alpha=n / 10), Settings()) for n in range(1, 21)]
    looks = legend_of(drawn(cells, monkeypatch, tmp_path / "v.svg"))
    settings = {look for label, look in looks.items() if label.startswith("alpha")}
    assert len(settings) == 20


def test_weights_of_several_settings_are_told_apart_and_a_legend_without_end_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemes = ("residual", "rezero", "stable")
    cells = [Cell(Paths(blocks=n, scheme=schemes), Settings()) for n in range(3, 13)]
    few = legend_of(drawn(cells, monkeypatch, tmp_path / "p.svg"))
    assert "weight rezero, blocks 4" in few
    assert len(few) == len(set(few.values())) == 40
    many = drawn([Cell(Paths(blocks=n), Settings()) for n in range(3, 80)], monkeypatch, tmp_path / "p.svg")
    shown = list(legend_of(many))
    assert shown[-1] == f"and {2 * 77 - len(shown) + 1} more"
    many.draw_without_rendering()
    assert many.axes[0].get_position().width * many.get_figwidth() > 3  # inches: the panel keeps its place


def test_values_of_a_series_are_curves_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every panel in the same colours, and never joined."""
    monkeypatch.setattr(Variance, "plot", Plot(x="block", series="half"))
    outcome = run_cell(Cell(Variance(depth=3, width=8, batch=4, draws=16), Settings()))
    for row in outcome.result.rows:
        row["half"] = "first" if int(str(row["block"])) < 2 else "second"
    kept: list[Figure] = []
    monkeypatch.setattr(figure, "save", lambda one, _: kept.append(one))
    draw([outcome], tmp_path / "v.svg")
    for axis in kept[0].axes:
        curves = {line.get_label(): line for line in axis.lines if line.get_label() in ("first", "second")}
        assert [list(map(float, curves[name].get_xdata())) for name in ("first", "second")] == [[0, 1], [2, 3]]
        assert curves["first"].get_color() != curves["second"].get_color()
    assert len({axis.lines[0].get_color() for axis in kept[0].axes}) == 1


def test_the_same_outcome_gives_the_same_bytes(tmp_path: Path) -> None:
    outcome = run_cell(Cell(Paths(blocks=5), Settings()))
    files = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for file in files:
        draw([outcome], file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_failure_leaves_the_earlier_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
