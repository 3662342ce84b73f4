"""What Python code calls: the same numbers as the command, stored and read back, as tables and figures."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas
import polars
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from torch import Tensor, nn

import resexp
from resexp.core.errors import MissingError, ResexpError, UsageError
from resexp.core.result import Result
from resexp.runs.registry import experiment
from resexp_cli.main import main


def test_a_run_has_the_bytes_of_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = resexp.run("variance", depth=5, width=16, draws=32, seed=3)
    with pytest.raises(SystemExit):
        main(
            [
                "variance",
                "--depth",
                "5",
                "--width",
                "16",
                "--draws",
                "32",
                "--seed",
                "3",
                "--format",
                "csv",
                "--no-save",
                "-q",
            ]
        )
    assert found.to_csv() == capsys.readouterr().out
    assert found.columns == tuple(found.table[0])
    assert {family.verdict for family in found.families} >= {"agree"}
    assert found.to_polars().columns == list(found.columns)
    assert "activation" in found._repr_html_()
    assert "<variance: " in repr(found)


def test_a_sweep_is_a_product_and_a_sequence_of_its_settings() -> None:
    found = resexp.sweep("paths", blocks=[5, 7, 9])
    assert len(found) == 3
    assert [one.parameters[0]["blocks"] for one in found] == [5, 7, 9]
    assert found.columns[0] == "blocks"
    assert found[1].table == [
        {k: v for k, v in row.items() if k != "blocks"} for row in found.table if row["blocks"] == 7
    ]
    assert len(found[1:]) == 2
    assert len(resexp.sweep("variance", quick=True, scheme=["residual", "rescaled"], depth=[2, 3], draws=4)) == 4


def test_what_was_stored_is_loaded_from_folder_glob_and_cell(tmp_path: Path) -> None:
    made = resexp.sweep("paths", blocks=[5, 7], out=tmp_path)
    assert not made.outcomes[0].read_back
    assert resexp.run("paths", blocks=5, out=tmp_path).outcomes[0].read_back
    folder = resexp.load(tmp_path)
    assert sorted(row["blocks"] for row in folder.headline) == sorted(row["blocks"] for row in made.headline)
    assert resexp.load(f"{tmp_path}/paths/*").table == folder.table
    cell = next((tmp_path / "paths").iterdir())
    assert resexp.load(cell).table in [one.table for one in made]
    resexp.run("parameters", out=tmp_path)
    with pytest.raises(UsageError, match="one experiment at a time"):
        resexp.load(tmp_path)
    (cell / "result.csv").write_text("x")
    with pytest.raises(ResexpError, match="is not what was stored there"):
        resexp.load(cell)


def test_a_figure_is_returned_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = resexp.run("paths", blocks=6)
    figure = found.plot(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    assert figure.axes
    monkeypatch.setattr(experiment("parameters"), "sketched", False)  # as of a plugin without a figure
    with pytest.raises(UsageError, match="nothing to draw"):
        resexp.run("parameters").plot()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: resexp.run("varience"), "did you mean 'variance'"),
        (lambda: resexp.run("variance", dept=5), "did you mean"),
        (lambda: resexp.run("variance", depth="deep"), "depth"),
        (lambda: resexp.run("variance", seed=-1), "seed"),
        (lambda: resexp.sweep("variance", depth=[]), "empty"),
        (lambda: resexp.load("nowhere"), "no stored result"),
    ],
)
def test_what_is_wrong_is_said(call: object, said: str) -> None:
    with pytest.raises(ResexpError, match=said):
        call()  # type: ignore[operator]


def test_pandas_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingError, match="pip install pandas"):
        resexp.run("paths", blocks=5).to_pandas()
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingError, match="parquet"):
        resexp.run("paths", blocks=5).to_polars()


def test_no_torch_before_a_run_needs_it() -> None:
    code = "import sys, resexp; resexp.run; resexp.run('paths', blocks=5); print('torch' in sys.modules, dir(resexp))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False ")
    assert "sweep" in done.stdout


def test_polars_reads_numbers_as_numbers() -> None:
    frame = resexp.run("variance", quick=True, draws=8).to_polars()
    assert frame["mean"].dtype == polars.Float64


def test_pandas_has_what_it_reads_from_the_csv() -> None:
    found = resexp.sweep("variance", depth=3, width=16, draws=16, scheme=["plain", "batchnorm"])
    pandas.testing.assert_frame_equal(found.to_pandas(), pandas.read_csv(io.StringIO(found.to_csv())))


def test_a_notebook_shows_a_figure_as_a_picture_and_results_as_a_table() -> None:
    found = resexp.run("paths", blocks=6)
    data, metadata = DisplayFormatter().format(found.plot())
    width, height = Image.open(io.BytesIO(data["image/png"])).size
    shown = metadata["image/png"]
    assert (width, height) == pytest.approx((2 * shown["width"], 2 * shown["height"]), abs=1)
    assert 300 < shown["width"] < 1000
    data, _ = DisplayFormatter().format(found)
    assert "<th>verdict</th>" in data["text/html"]


def test_a_column_of_zeros_is_shown_and_one_without_values_is_not() -> None:
    row = {"quantity": "excess", "mean": 0.0, "theory": None}
    made = resexp.run("paths", blocks=5).outcomes[0]
    html = resexp.Results((replace(made, result=Result(tuple(row), [row], [row])),))._repr_html_()
    assert "<th>mean</th>" in html
    assert "<th>theory</th>" not in html


def test_a_probed_net_is_shown_and_drawn_as_results_are() -> None:
    net = nn.Sequential(nn.Linear(4, 8), *(Added() for _ in range(3)))
    found = resexp.probe(net, "4", draws=3, line=False)
    assert found.table == found.rows
    assert list(found.to_pandas().columns) == list(found.to_polars().columns) == list(found.columns)
    assert "<th>forward, a block</th>" in found._repr_html_()
    assert "identity shortcuts" in found._repr_html_()
    assert repr(found).startswith("<probe: ")
    assert found.plot().axes
    assert found.to_csv().startswith(",".join(found.columns))


class Added(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.layer(h.relu())
        return out
