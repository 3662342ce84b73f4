"""What people get wrong with a net: a clear sentence each, the layer named, their traceback and not ours."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import resexp
from resexp.core.errors import ResexpError, UsageError
from resexp.nets.load import content, factory, load_state
from resexp.nets.tensor_file import to_bytes
from tests.probing.nets import WIDTH, Layered, batch, chain

RESIDUAL: Callable[[Layered, Tensor], Tensor] = lambda b, x: x + b.branch(x)  # noqa: E731


class Returning(nn.Module):
    """A residual net that returns something of its output."""

    def __init__(self, what: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.body, self.what = chain(RESIDUAL), what

    def forward(self, x: Tensor) -> object:
        return self.what(self.body(x))


@pytest.mark.parametrize(
    "what",
    [
        lambda y: (y.argmax(1), y),
        lambda y: {"loss": None, "logits": y},
        lambda y: [{"hidden": (torch.arange(3), y)}],
        lambda y: y[:, 0],
        lambda y: y.sum(),
        lambda y: y.half(),
    ],
)
def test_whatever_a_net_returns_a_gradient_is_taken(what: Callable[[Tensor], object]) -> None:
    result = resexp.probe(Returning(what), batch(WIDTH), draws=2)
    rows = [row for row in result.rows if row["quantity"] == "gradient_norm"]
    assert len(rows) == 3
    assert all(isinstance(row["mean"], float) and row["mean"] > 0 for row in rows)


def test_no_floats_at_all() -> None:
    with pytest.raises(ResexpError, match="returns a tensor of int64"):
        resexp.probe(Returning(lambda y: y.argmax(1)), batch(WIDTH), draws=2)
    with pytest.raises(ResexpError, match="returns nothing"):
        resexp.probe(Returning(lambda _: None), batch(WIDTH), draws=2)


@pytest.mark.parametrize(
    ("net", "shape", "told"),
    [
        (nn.Sequential(nn.Linear(5, 5)), "8", r"input of 8: layer '0' \(Linear\) expects 5 features, .* shape 16x8"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3)),
            "1x9x9",
            r"layer '0' \(Conv2d\) expects 3 channels and 2 further dim.*16x1x9x9",
        ),
        (nn.Sequential(nn.Conv2d(3, 4, 7)), "3x4x4", r"at least 7x7 in space"),
        (nn.Sequential(nn.AvgPool2d(7)), "3x4x4", r"\(AvgPool2d\) expects at least 7x7 in space"),
        (nn.Sequential(nn.LayerNorm(5)), "8", r"a shape that ends in 5"),
        (nn.Sequential(nn.BatchNorm2d(4)), "3x9x9", r"\(BatchNorm2d\) expects 4 channels"),
        (nn.Sequential(nn.Embedding(9, 4)), "8", r"expects whole numbers below 9; use --input tokens:LENGTH"),
        (nn.Sequential(nn.Embedding(9, 4)), "tokens:8/20", r"expects whole numbers below 9, and got"),
        (nn.Bilinear(4, 4, 4), "4", r"missing 1 required positional argument: 'input2'. Join several inputs by '\+'"),
    ],
)
def test_an_input_that_does_not_fit(net: nn.Module, shape: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        resexp.probe(net, shape, draws=2)


def test_an_exception_in_forward_is_shown_with_their_traceback_and_not_ours() -> None:
    def broken(block: Layered, x: Tensor) -> Tensor:
        raise KeyError("no such key")

    with pytest.raises(ResexpError) as caught:
        resexp.probe(chain(broken), batch(WIDTH), draws=2)
    told = str(caught.value)
    assert "The net failed on an input of 8, in layer '0' (Layered)." in told
    assert 'raise KeyError("no such key")' in told
    assert told.endswith("KeyError: 'no such key'")
    assert "/torch/" not in told
    assert "resexp/probing" not in told


def test_nan_infinities_and_what_stays_of_them() -> None:
    result = resexp.probe(Returning(lambda y: y * float("nan")), batch(WIDTH), draws=2)
    assert any("not finite in 2 of 2 draws" in note for note in result.notes)
    assert result.rows[0]["mean"] is not None
    huge = chain(lambda b, x: x + 1e30 * b.branch(x), blocks=4)
    overflown = resexp.probe(huge, batch(WIDTH), draws=2)
    assert any("the first sum that is not is 1" in note for note in overflown.notes)
    seconds = [row["mean"] for row in overflown.rows if row["quantity"] == "activation_second_moment"]
    assert seconds[1] is not None
    assert seconds[-1] is None


def test_frozen_and_half_and_parameterless() -> None:
    frozen = chain(RESIDUAL).requires_grad_(False)
    assert any(row["quantity"] == "gradient_norm" for row in resexp.probe(frozen, batch(WIDTH), draws=2).rows)
    half = resexp.probe(chain(RESIDUAL).to(torch.bfloat16), "8", draws=2)
    assert half.headline[0]["mean"] == 2
    nothing = resexp.probe(nn.Sequential(nn.ReLU()), "8", draws=2)
    assert nothing.headline[0]["mean"] == 0
    assert not nothing.rows
    assert "No residual additions were found" in nothing.notes[0]


def test_a_loss_of_ones_own() -> None:
    result = resexp.probe(chain(RESIDUAL), batch(WIDTH), loss=lambda y: y.square().mean(), draws=2)
    assert any(row["quantity"] == "gradient_norm" for row in result.rows)
    with pytest.raises(ResexpError, match=r"The loss failed(.|\n)*ZeroDivisionError"):
        resexp.probe(chain(RESIDUAL), batch(WIDTH), loss=lambda y: y / (1 // 0), draws=2)
    with pytest.raises(ResexpError, match="single number"):
        resexp.probe(chain(RESIDUAL), batch(WIDTH), loss=lambda y: y, draws=2)


FILE = """
import beside
from torch import nn

class Net(nn.Module):
    def __init__(self, width=beside.WIDTH):
        super().__init__()
        self.layer = nn.Linear(width, width)
    def forward(self, x):
        return x + self.layer(x)

def fails():
    raise OSError("no weights here")

def seven():
    return 7

there_already = Net()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("WIDTH = 6\n")
    return tmp_path


def test_factories_are_loaded(folder: Path) -> None:
    assert factory(f"{folder}/net.py:Net")().layer.in_features == 6  # type: ignore[union-attr]
    assert factory(f"{folder}/net.py:Net(width=3)")().layer.in_features == 3  # type: ignore[union-attr]
    assert isinstance(factory(f"{folder}/net.py:there_already")(), nn.Module)
    assert isinstance(factory("resexp.probing.examples:residual_mlp")(), nn.Module)
    assert isinstance(factory("resexp.probing.examples:residual_mlp(3, width=8)")(), nn.Module)


def test_what_is_no_factory_is_told(folder: Path) -> None:
    for text, told in {
        f"{folder}/net.py": "name the factory in the file, .* It defines Net, fails, seven",
        f"{folder}/net.py:Nett": r"has no 'Nett' \(did you mean 'Net'\?\)",
        f"{folder}/no.py:Net": "there is no file",
        f"{folder}/net.py:seven": "gives int, not a torch.nn.Module",
        f"{folder}/net.py:Net(open)": "arguments must be numbers",
        "nowhere.at.all:net": "there is no module 'nowhere'",
        "resexp.probing.examples:residual_mpl": r"did you mean 'residual_mlp'\?",
        "resnte:50": r"did you mean 'resnet:50'\?",
    }.items():
        with pytest.raises(UsageError, match=told):
            factory(text)()
    with pytest.raises(ResexpError, match=r"(?s)fails failed.*net.py.*OSError: no weights here"):
        factory(f"{folder}/net.py:fails")()


def test_the_content_of_a_factory_changes_with_its_file(folder: Path) -> None:
    before = content(f"{folder}/net.py:Net")
    (folder / "net.py").write_text(FILE + "\n# changed\n")
    assert content(f"{folder}/net.py:Net") != before
    assert content("torch.nn:Identity").startswith("torch 2")
    assert content("resnet:50") == content("resexp.probing.examples:residual_mlp") == ""


def test_state_files_are_read_as_tensors_only(tmp_path: Path) -> None:
    net = nn.Linear(3, 3)
    torch.save({"state_dict": net.state_dict()}, tmp_path / "good.pt")
    other = nn.Linear(3, 3)
    load_state(other, tmp_path / "good.pt")
    assert torch.equal(other.weight, net.weight)
    (tmp_path / "good.safetensors").write_bytes(to_bytes(net.state_dict()))
    third = nn.Linear(3, 3)
    load_state(third, tmp_path / "good.safetensors")
    assert torch.equal(third.weight, net.weight)
    (tmp_path / "torn.safetensors").write_bytes(to_bytes(net.state_dict())[:-4])
    with pytest.raises(UsageError, match=r"torn\.safetensors cannot be read: a tensor is not as long"):
        load_state(third, tmp_path / "torn.safetensors")
    torch.save(net, tmp_path / "module.pt")
    with pytest.raises(UsageError, match="no file of plain tensors"):
        load_state(other, tmp_path / "module.pt")
    for wrong in (nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 3))):
        with pytest.raises(UsageError, match="does not fit the net"):
            load_state(wrong, tmp_path / "good.pt")


class Quits(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise SystemExit(7)


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sparse.mm(x.to_sparse(), self.layer.weight)


def test_a_net_that_ends_the_process_ends_itself_alone() -> None:
    with pytest.raises(ResexpError, match="SystemExit: 7"):
        resexp.probe(Quits(), str(WIDTH), draws=2)


def test_sparse_signals_do_not_disturb() -> None:
    assert resexp.probe(Sparse(), str(WIDTH), draws=2).headline[0]["mean"] == 1


def test_lazy_layers_are_told(tmp_path: Path) -> None:
    path = tmp_path / "lazy.py"
    path.write_text("from torch import nn\ndef net(): return nn.Sequential(nn.LazyLinear(4))\n")
    with pytest.raises(UsageError, match=r"0\.weight has no shape yet"):
        factory(f"{path}:net")()
