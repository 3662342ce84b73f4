"""resexp probe: what the command says of known nets."""

import json
from pathlib import Path
from typing import Any

import pytest

from resexp.core.errors import ResexpError
from resexp.core.lab import Lab
from resexp.experiments.probe import Probe
from resexp.runs import config
from resexp.runs.cell import Cell
from resexp.runs.settings import Settings
from resexp_cli.main import main

MLP = "resexp.probing.examples:residual_mlp"
NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x)
        return x
"""


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["probe", *arguments, "--no-save"])
    output = capsys.readouterr()
    assert ended.value.code == code, output.err
    return output.out if code == 0 else output.err


def figures(document: dict[str, Any]) -> dict[str, Any]:
    return {figure["quantity"]: figure for figure in document["headline"]}


def test_the_sentence_that_people_come_for(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(told(capsys, MLP, "--draws", "32", "--seed", "1", "--format", "json"))
    growth = figures(document)["activation_growth_per_block"]
    assert growth["ci_low"] < growth["theory"] == pytest.approx(2.0, abs=0.05)
    assert growth["theory_kind"] == "limit"
    advice = document["notes"][0]
    assert f"grows {growth['mean']:.3g}x per block over 16 blocks" in advice
    assert advice.endswith("scale the branches by 1/sqrt(16) = 0.25, or normalise first.")
    laws = {family["quantity"]: family["sentence"] for family in document["families"]}
    assert laws["stage_1_forward"].startswith("exponential; ")
    assert laws["stage_1_backward"].startswith("exponential; ")
    assert "residual" in laws["stage_1_forward"]
    judged = {f["quantity"]: f["verdict"] for f in document["families"]}["second_moment_over_expected"]
    assert judged == "agree"
    overflow = figures(document)["overflow_block_float16"]
    assert 25 < overflow["ci_low"] < overflow["ci_high"] < 35


def test_scaled_branches_need_no_advice() -> None:
    result = Probe.parse({"model": f"{MLP}(scale=0.25)", "input": "64", "draws": 16}).compute(Lab("probe"))
    assert not any("scale the branches" in note for note in result.notes)


def test_a_prenorm_transformer_lists_attention_and_mlp(capsys: pytest.CaptureFixture[str]) -> None:
    model = "resexp.probing.examples:prenorm_transformer(depth=3)"
    document = json.loads(
        told(capsys, model, "--input", "tokens:8", "--draws", "4", "--batch", "4", "--format", "json")
    )
    names = [row["name"] for row in document["rows"] if row["quantity"] == "gradient_norm"]
    assert names == ["into 1", *(f"{k} ({kind})" for k in (1, 2, 3) for kind in ("attention", "mlp"))]
    assert [row["block"] for row in document["rows"] if row["quantity"] == "gradient_norm"] == [0, 1, 1, 2, 2, 3, 3]
    laws = [f["sentence"] for f in document["families"] if f["quantity"] == "stage_1_forward"]
    assert "undecided (4 values" in laws[0]
    assert "pre-norm" in laws[0]


def test_a_net_of_the_zoo_needs_no_input(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--batch", "2", "--draws", "2", "--format", "json", "--no-line")
    document = json.loads(told(capsys, "cifar-resnet:20,width=4", *options))
    counts = [f["mean"] for f in document["headline"][:3]]
    assert counts == [9, 9, 0]
    assert [row["stage"] for row in document["rows"] if row["quantity"] == "gradient_norm"].count(2) >= 3


def test_evaluation_mode_takes_running_statistics() -> None:
    def growth(mode: str) -> Any:
        given = {"model": "cifar-resnet:20,width=4", "batch": 4, "draws": 2, "line": False, "mode": mode}
        rows = Probe.parse(given).compute(Lab("probe")).rows
        seconds = [row["mean"] for row in rows if row["quantity"] == "activation_second_moment"]
        return seconds[-1] / seconds[0]  # type: ignore[operator]

    assert growth("eval") > 10 * growth("train")


def test_a_file_is_run_from_the_command_line_but_not_from_yaml(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.py"
    path.write_text(NET)
    document = json.loads(told(capsys, f"{path}:Net", "--input", "8", "--draws", "2", "--format", "json"))
    assert document["headline"][0]["mean"] == 2
    batch = tmp_path / "batch.yaml"
    batch.write_text(f"experiments:\n  mine:\n    experiment: probe\n    set: {{model: '{path}:Net', input: '8'}}\n")
    with pytest.raises(ResexpError, match="use --trust"):
        config.load(batch)
    assert config.load(batch, trust=True).entries[0].experiment == "probe"


def test_another_version_of_the_file_is_another_cell(tmp_path: Path) -> None:
    path = tmp_path / "net.py"

    def identity(text: str) -> str:
        path.write_text(text)
        return Cell(Probe.parse({"model": f"{path}:Net", "input": "8"}), Settings()).id

    assert identity(NET) == identity(NET)
    assert identity(NET) != identity(NET.replace("x + layer(x)", "x + 2 * layer(x)"))


def test_weights_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from resexp.probing.examples import residual_mlp

    torch.save(residual_mlp().state_dict(), tmp_path / "weights.pt")
    options = ("--draws", "2", "--format", "json", "--weights")
    document = json.loads(told(capsys, MLP, *options, str(tmp_path / "weights.pt")))
    assert not [row for row in document["rows"] if row["quantity"] == "second_moment_over_expected"]
    assert "no file" in told(capsys, MLP, *options, str(tmp_path / "none.pt"), code=2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["resnte:50"], "did you mean 'resnet:50'?"),
        ([MLP, "--input", "5"], "expects 64 features"),
        ([MLP, "--input", "3xx"], "'3xx' is no input"),
        (["torch.nn:Identity"], "--input: say what one example"),
        ([MLP, "--memory", "1KB"], "use a smaller --batch or --input"),
        ([MLP, "--loss", "lables"], "write it as file.py:function"),
    ],
)
def test_what_is_wrong_is_told(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence in " ".join(told(capsys, *arguments, code=2).split())
