"""What goes to stdout and what to stderr: formats, columns, sweeps, figures, and the same bytes each time."""

import csv
import io
import json
from pathlib import Path

import pytest

from .conftest import TINY, Resexp

STATISTICS = "mean,stderr,ci_low,ci_high,median,draws,theory,theory_kind,verdict"

HEADERS = {
    ("variance", *TINY): f"block,quantity,{STATISTICS}",
    ("variance", *TINY, "--depth", "1,2", "--seed", "0:1"): f"depth,seed,block,quantity,{STATISTICS}",
    ("paths", "--blocks", "3"): "length,count,share,cumulative_share,weight_residual",
    ("paths", "--blocks", "3", "--scheme", "plain,batchnorm", "--decay", "0.5"): (
        "length,count,share,cumulative_share,weight_plain,weight_batchnorm,weight_decay"
    ),
    ("paths", "--blocks", "5001"): "length,count,share,cumulative_share,weight_residual,log2_count",
    ("parameters",): "net,layer,kind,parameters",
    ("parameters", "block", "bottleneck"): "net,layer,kind,parameters",
}


@pytest.mark.parametrize("command", HEADERS, ids=" ".join)
def test_columns_are_a_public_interface(resexp: Resexp, command: tuple[str, ...]) -> None:
    ended = resexp(*command, "--no-save", "--format", "csv")
    assert ended.out.splitlines()[0] == HEADERS[command]


def test_quantities_of_variance_are_a_public_interface(resexp: Resexp) -> None:
    found = json.loads(resexp("variance", *TINY, "--no-save", "--format", "json").out)
    assert list(dict.fromkeys(row["quantity"] for row in found["rows"])) == [
        "activation_second_moment",
        "activation_batch_variance",
        "activation_mean",
        "gradient_second_moment",
    ]
    assert [row["block"] for row in found["rows"]][:3] == [0, 1, 2]
    assert {figure["quantity"] for figure in found["headline"]} >= {
        "activation_growth_per_block",
        "gradient_growth_per_block",
        "overflow_block_float16",
        "overflow_block_float32",
        "overflow_block_float64",
    }
    assert all(list(figure) == ["quantity", *STATISTICS.split(",")] for figure in found["headline"])


def test_json_is_one_object_and_a_list_for_a_sweep(resexp: Resexp) -> None:
    one = json.loads(resexp("paths", "--blocks", "3", "--format", "json").out)
    assert set(one) >= {"experiment", "parameters", "headline", "rows", "run"}
    assert (one["experiment"], one["parameters"]["blocks"], len(one["rows"])) == ("paths", 3, 4)
    assert one["run"]["versions"]["resexp"]
    sweep = json.loads(resexp("paths", "--blocks", "3,4", "--format", "json").out)
    assert [cell["parameters"]["blocks"] for cell in sweep] == [3, 4]


def test_lists_and_ranges_sweep_with_the_last_option_fastest(resexp: Resexp) -> None:
    ended = resexp("parameters", "--layers", "1:4:x2", "--width", "2,3", "--no-save")
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert list(dict.fromkeys((row["layers"], row["width"]) for row in rows)) == [
        (layers, width) for layers in "124" for width in "23"
    ]


def test_what_is_swept_to_the_same_setting_is_run_once(resexp: Resexp) -> None:
    ended = resexp("paths", "--blocks", "2,2", "--seed", "0:9", "--no-save")
    assert len(ended.out.splitlines()) == 1 + 3


def test_the_same_bytes_whatever_the_threads_the_budget_and_the_store(resexp: Resexp) -> None:
    command = ("variance", "--depth", "3", "--width", "32", "--batch", "4", "--draws", "40", "--format", "csv")
    first = resexp(*command)
    assert resexp(*command).out == first.out
    assert "read back" in resexp(*command).err
    assert "saved" in resexp(*command, "--force").err
    for more in (("--threads", "2"), ("--memory", "300KB"), ("--force",), ("--threads", "3", "--memory", "500KB")):
        assert resexp(*command, *more, "--no-save").out == first.out, more
    assert resexp(*command, "--seed", "1").out != first.out


def test_notes_and_paths_go_to_stderr_and_quiet_silences_them(resexp: Resexp) -> None:
    ended = resexp("paths", "--blocks", "2")
    assert ended.out.splitlines()[-1] == "2,1,0.25,1.0,0.25"
    assert "saved: results/paths/" in ended.err
    assert resexp("paths", "--blocks", "2", "--quiet").err == ""


def test_no_save_neither_writes_nor_reads(resexp: Resexp, tmp_path: Path) -> None:
    resexp("paths", "--blocks", "2", "--no-save")
    assert list(tmp_path.iterdir()) == []
    resexp("paths", "--blocks", "2")
    assert "read back" not in resexp("paths", "--blocks", "2", "--no-save").err


def test_dry_run_runs_and_writes_nothing(resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resexp.experiments.variance import Variance

    monkeypatch.setattr(Variance, "compute", None)
    ended = resexp("variance", *TINY, "--depth", "2,3", "--dry-run")
    assert ended.code == 0
    assert list(tmp_path.iterdir()) == []
    assert "2, 3  (flag)" in ended.out
    assert "MB" in ended.out
    assert ended.out.count("variance/") == 2


def test_what_is_stored_is_read_back_even_where_it_would_not_fit(resexp: Resexp) -> None:
    assert resexp("variance", *TINY).code == 0
    assert resexp("variance", *TINY, "--memory", "1KB").code == 0
    assert resexp("variance", *TINY, "--memory", "1KB", "--force").code == 2


@pytest.mark.parametrize("name", ["p.svg", "p.png", "figures/p.pdf"])
def test_a_figure_is_drawn(resexp: Resexp, tmp_path: Path, name: str) -> None:
    assert resexp("paths", "--blocks", "4,5", "--plot", name).code == 0
    content = (tmp_path / name).read_bytes()
    assert content.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[name[-3:]])
    assert [path.name for path in (tmp_path / name).parent.iterdir() if path.name.startswith(".")] == []


def test_a_figure_that_cannot_be_written_loses_no_result(resexp: Resexp, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = resexp("paths", "--blocks", "2", "--plot", "file/p.svg")
    assert ended.code == 1
    assert "could not be written to file/p.svg" in ended.err
    assert ended.out.splitlines()[-1] == "2,1,0.25,1.0,0.25"
    assert list(tmp_path.glob("results/paths/*/result.csv"))


def test_values_come_from_flag_then_environment_then_file_then_quick_then_default(
    resexp: Resexp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.yaml").write_text("depth: 5\nwidth: 6\nbatch: 7\nseed: 3\n")
    monkeypatch.setenv("RESEXP_VARIANCE_DEPTH", "4")
    monkeypatch.setenv("RESEXP_VARIANCE_WIDTH", "8")
    monkeypatch.setenv("RESEXP_VARIANCE_FORMAT", "json")
    ended = resexp("variance", "--depth", "2", "--settings", "s.yaml", "--quick")
    found = json.loads(ended.out)
    assert {name: found["parameters"][name] for name in ("depth", "width", "batch", "draws", "scheme")} == {
        "depth": 2,
        "width": 8,
        "batch": 7,
        "draws": 256,
        "scheme": "residual",
    }
    (stored,) = tmp_path.glob("results/variance/*/run.json")
    run = json.loads(stored.read_text())["run"]
    assert (
        run["sources"]
        | {
            "depth": "flag",
            "width": "environment",
            "batch": "file",
            "seed": "file",
            "draws": "quick",
            "scheme": "default",
        }
        == run["sources"]
    )
    assert run["seed"] == 3


def test_markdown_has_headline_and_rows(resexp: Resexp) -> None:
    lines = resexp("paths", "--blocks", "2", "--format", "markdown", "--no-save").out.splitlines()
    assert lines[0].startswith("| quantity | mean |")
    assert lines[-1] == "| 2 | 1 | 0.25 | 1 | 0.25 |"
