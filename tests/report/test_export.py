"""Export: one tidy table of all cells, digit by digit, in little memory whatever their number."""

import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from resexp.core.errors import ResexpError
from resexp.core.result import STATISTICS_COLUMNS, Result, Value
from resexp.core.tabular import from_csv
from resexp.experiments.parameters import Parameters
from resexp.experiments.paths import Paths
from resexp.experiments.variance import Variance
from resexp.report import export as module
from resexp.report.export import Export, check_target, export
from resexp.report.selection import Selection
from resexp.report.sinks import Csv
from resexp.runs.cell import Cell, Outcome, run_cell
from resexp.runs.entry import Entry
from resexp.runs.settings import Settings
from resexp.runs.store import Failure, Store

STATISTICS = dict.fromkeys(STATISTICS_COLUMNS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def put(store: Store, cell: Cell, rows: Sequence[dict[str, Value]], entry: str | None = None) -> Path:
    run = {**cell.identity, "id": cell.id, "seed": cell.settings.seed, "dtype": cell.settings.dtype, "entry": entry}
    return store.save(Outcome(cell, Result(tuple(rows[0]), list(rows)), run))


def variance(seed: int, **parameters: Any) -> Cell:
    return Cell(Variance(**parameters), Settings(seed=seed, device="cpu"))


def moment(block: int, mean: float | None) -> dict[str, Value]:
    return {"block": block, "quantity": "x", **STATISTICS, "mean": mean, "draws": 8, "verdict": "agree"}


def planned(name: str, *cells: Cell) -> list[tuple[Entry, Cell]]:
    return [(Entry(name, cell.name, {}, {}), cell) for cell in cells]


def everything(store: Store, tell: list[str] | None = None) -> tuple[Export, Selection]:
    selection = Selection((tell if tell is not None else []).append)
    return Export(selection.of_glob(f"{store.root}/*/*")), selection


def as_text(table: Export, form: Any = "csv", damaged: Any = None) -> str:
    text = io.StringIO()
    export(table, form, text, damaged or pytest.fail)
    return text.getvalue()


def test_the_columns_are_cell_parameters_settings_axes_statistics_and_own_ones(store: Store) -> None:
    put(store, variance(3, depth=2), [moment(1, 0.1)], "a")
    lag = {"lag": 1, "block": 2, "quantity": "y", **STATISTICS}
    put(store, variance(4), [lag])
    put(store, Cell(Paths(scheme=("plain", "residual")), Settings()), [{"length": 0, "blocks": 7, "id": "x"}])
    columns, rows = from_csv(as_text(everything(store)[0]))
    parameters = [
        f"parameter_{name}" if name in {"draws", "blocks"} else name
        for name in dict.fromkeys((*Paths.model_fields, *Variance.model_fields))
    ]
    own = ["length", "blocks", "result_id"]
    axes = columns[columns.index("dtype") + 1 : columns.index("quantity")]
    assert set(axes) == {"lag", "block"}
    assert columns == (
        *("experiment", "entry", "id"), *parameters, "seed", "dtype", *axes, "quantity", *STATISTICS_COLUMNS, *own,
    )  # fmt: skip
    assert [(r["experiment"], r["entry"], r["seed"], r["dtype"]) for r in rows if r["quantity"] != "y"] == [
        ("paths", None, None, None),
        ("variance", "a", 3, "float32"),
    ]
    (of_paths,) = [row for row in rows if row["experiment"] == "paths"]
    assert [of_paths[name] for name in ("parameter_blocks", "blocks", "result_id", "scheme", "depth")] == [
        *(54, 7, "x", "plain,residual", None),
    ]


def test_all_formats_hold_the_stored_numbers(store: Store, tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    outcomes = [run_cell(Cell(Parameters(layers=n, batchnorm=n == 2), Settings())) for n in (1, 2)]
    for outcome in outcomes:
        store.save(outcome)
    put(store, variance(2**63 - 1), [moment(1, 0.1 + 0.2), moment(2, None), moment(3, 1e-320)])
    put(store, variance(0, alpha=0.5), [moment(1, 1e16)])
    table = everything(store)[0]
    columns, rows = from_csv(as_text(table))
    assert len(rows) == 4 + sum(len(outcome.result.rows) for outcome in outcomes)
    stored = [row for outcome in outcomes for row in outcome.result.rows]
    told = [{name: row[name] for name in stored[0]} for row in rows if row["experiment"] == "parameters"]
    assert sorted(map(str, told)) == sorted(map(str, stored))
    assert [r["mean"] for r in rows if r["seed"] == 2**63 - 1] == [0.1 + 0.2, None, 1e-320]

    documents = json.loads(as_text(table, "json"))
    assert [list(document) for document in documents] == [list(columns)] * len(rows)
    truth = {"true": True, "false": False}
    assert documents == [{k: truth.get(v, v) for k, v in row.items()} for row in rows]

    for form in ("csv", "json", "parquet"):
        export(table, form, tmp_path / f"table.{form}", pytest.fail)
    assert (tmp_path / "table.csv").read_text() == as_text(table)
    assert (tmp_path / "table.json").read_text() == as_text(table, "json")
    frame = pl.read_parquet(tmp_path / "table.parquet")
    kinds = [str(frame.schema[name]) for name in ("seed", "mean", "alpha", "batchnorm", "stderr", "net")]
    assert kinds == ["Int64", "Float64", "Float64", "Boolean", "Null", "String"]
    assert frame.to_dicts() == documents
    assert {path.name for path in tmp_path.iterdir()} == {"results", "table.csv", "table.json", "table.parquet"}


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        ([1, 2.5], "Float64", [1.0, 2.5]),
        ([1, "a"], "String", ["1", "a"]),
        ([2**63 - 1, -(2**63)], "Int64", [2**63 - 1, -(2**63)]),
        ([2**63, 1], "Float64", [2.0**63, 1.0]),
        ([10**400, 1], "String", [str(10**400), "1"]),
        ([None, None], "Null", [None, None]),
        (["007", 'a,"b"\nc'], "String", ["007", 'a,"b"\nc']),
    ],
)
def test_a_column_that_mixes_gets_the_type_that_holds_it(
    store: Store, tmp_path: Path, values: list[Value], kind: str, read: list[Value]
) -> None:
    pl = pytest.importorskip("polars")
    put(store, Cell(Paths(), Settings()), [{"length": k, "value": value} for k, value in enumerate(values)])
    table = everything(store)[0]
    written = export(table, "parquet", tmp_path / "a.parquet", pytest.fail)
    column = pl.read_parquet(tmp_path / "a.parquet")["value"]
    assert (str(column.dtype), column.to_list()) == (kind, read)
    long = any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in values)
    assert written.rounded == ({"value"} if long else set())
    assert [row["value"] for row in json.loads(as_text(table, "json"))] == values


TRACED = """
import sys, tracemalloc
from pathlib import Path
from resexp.report.export import Export, export
from resexp.report.selection import Selection
from resexp.runs import registry

registry.experiments()
tracemalloc.start()
written = export(Export(Selection([].append).of_glob(sys.argv[1])), "csv", Path(sys.argv[2]), print)
print(written.cells, tracemalloc.get_traced_memory()[1])
"""
"""A program of its own: what other tests left behind must not be counted."""


def test_thousands_of_cells_take_no_more_memory_than_a_list_of_them(store: Store, tmp_path: Path) -> None:
    cell = variance(0)
    template = put(store, cell, [moment(block, block / 7) for block in range(40)])
    run, rows = (template / "run.json").read_text(), (template / "result.csv").read_bytes()
    for number in range(1999):
        folder = template.with_name(f"{number:016x}")
        folder.mkdir()
        (folder / "run.json").write_text(run.replace(cell.id, folder.name))
        (folder / "result.csv").write_bytes(rows)
    ended = subprocess.run(
        [sys.executable, "-c", TRACED, f"{store.root}/*/*", str(tmp_path / "table.csv")],
        capture_output=True,
        text=True,
        check=True,
    )
    cells, peak = map(int, ended.stdout.split())
    assert cells == 2000
    assert (tmp_path / "table.csv").stat().st_size > 4 * peak  # as lists of rows they would take four times the file


def test_a_long_cell_is_streamed_too(store: Store) -> None:
    put(store, variance(0), [moment(block, block / 7) for block in range(20_000)])
    table = everything(store)[0]
    with Path(os.devnull).open("w") as file:
        tracemalloc.start()
        export(table, "csv", file, pytest.fail)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1e6


def test_damaged_cells_are_left_out_whole_and_told(store: Store) -> None:
    folders = [put(store, variance(seed), [moment(1, 0.1), moment(2, 0.2)]) for seed in range(4)]
    folders.sort()
    (folders[0] / "run.json").write_text("{")
    table_file = folders[1] / "result.csv"
    table_file.write_text(table_file.read_text().replace("0.2", "0.3"))
    told: list[str] = []
    table, selection = everything(store, told)
    (folders[2] / "result.csv").unlink()  # between the two passes
    _, rows = from_csv(as_text(table, "csv", selection.damaged))
    assert {row["id"] for row in rows} == {folders[3].name}
    assert selection.left_out == {"damaged": 3}
    assert [folder.name in sentence for folder, sentence in zip(folders, told, strict=False)] == [True] * 3


def test_a_file_gives_its_entries_and_says_what_is_missing(store: Store) -> None:
    shared, failed, missing = (variance(seed) for seed in range(3))
    put(store, shared, [moment(1, 0.1)], "who stored it")
    store.save_failure(failed, Failure("ValueError", "no"))
    selection = Selection()
    plan = [*planned("b", shared), *planned("a", shared, failed, missing), *planned("a", shared)]
    _, rows = from_csv(as_text(Export(selection.of_batch(plan, store))))
    assert [row["entry"] for row in rows] == ["b", "a"]
    assert selection.left_out == {"failed": 1, "missing": 1}
    assert [len(list(Selection().of_glob(f"{store.root}/*/*", only))) for only in (None, "who*", "a")] == [1, 1, 0]


def test_a_table_takes_its_place_when_it_is_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, variance(0), [moment(1, 0.1)])
    (tmp_path / "real.csv").write_text("earlier")
    (tmp_path / "table.csv").symlink_to("real.csv")
    seen = []

    class Full(Csv):
        def row(self, fields: Sequence[str]) -> None:
            seen.append((tmp_path / "real.csv").read_text())
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module, "Csv", Full)
        with pytest.raises(ResexpError, match="No space left"):
            export(everything(store)[0], "csv", tmp_path / "table.csv", pytest.fail)
    assert seen == ["earlier"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real.csv", "results", "table.csv"]
    export(everything(store)[0], "csv", tmp_path / "table.csv", pytest.fail)
    assert (tmp_path / "table.csv").is_symlink()
    assert len((tmp_path / "real.csv").read_text().splitlines()) == 2
    for wrong in (tmp_path, tmp_path / "no/table.csv", Path(os.devnull)):
        with pytest.raises(ResexpError, match="--to"):
            check_target(wrong)
