"""Residual additions are found in nets by hand, whatever way they are written in, and other sums are left alone."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from resexp.probing.trace import Trace
from tests.probing.nets import WIDTH, Convolutional, Layered, batch, chain, look


def in_place(block: Layered, x: Tensor) -> Tensor:
    y = block.branch(x)
    y += x
    return y


WAYS = {
    "+": lambda b, x: x + b.branch(x),
    "branch first": lambda b, x: b.branch(x) + x,
    "+=": in_place,
    "sub": lambda b, x: x - b.branch(x),
    "add with alpha": lambda b, x: torch.add(x, b.branch(x), alpha=0.5),
    "addcmul": lambda b, x: torch.addcmul(x, b.scale, b.branch(x)),
    "lerp": lambda b, x: torch.lerp(x, b.branch(x), 0.5),
    "addmm": lambda b, x: torch.addmm(x, torch.relu(x), b.matrix),
    "stack and sum": lambda b, x: torch.stack([b.branch(x), x], dim=1).sum(dim=1),
    "sum of a list": lambda b, x: sum([b.branch(x), x]),  # type: ignore[arg-type, return-value]
    "several branches": lambda b, x: x + b.branch(x) + b.other(torch.tanh(x)),
    "padded with zeros": lambda b, x: torch.cat([x[:, :4], x.new_zeros(len(x), 4)], 1) + b.branch(x),
    "pooled": lambda b, x: functional.avg_pool1d(x[:, None], 1)[:, 0] + b.branch(x),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_addition_is_found_however_it_is_written(way: str) -> None:
    found = look(chain(WAYS[way]), batch(WIDTH))  # type: ignore[arg-type]
    assert [a.sum.shortcut for a in found.additions] == ["identity"] * 2
    assert [a.name for a in found.additions] == ["0", "1"]
    assert all(a.after.gradient is not None and a.after.gradient > 0 for a in found.additions)


def gelu(block: Layered, x: Tensor) -> Tensor:
    h = block.layer(x)
    return 0.5 * h * (1 + torch.tanh(0.8 * (h + 0.044715 * h**3)))


def rotary(block: Layered, x: Tensor) -> Tensor:
    q = block.layer(x)
    turned = torch.cat([-q[:, 4:], q[:, :4]], dim=1)
    return q * torch.cos(torch.arange(8.0)) + turned * torch.sin(torch.arange(8.0))


def recurrence(block: Layered, x: Tensor) -> Tensor:
    a, b = torch.sigmoid(block.layer(x)), block.other(x)
    h = torch.zeros(len(x), 1)
    for t in range(3):
        h = a[:, t : t + 1] * h + b[:, t : t + 1]
    return h.expand(-1, WIDTH)


NOT_RESIDUAL = {
    "bias": lambda b, x: torch.relu(x) @ b.matrix + b.scale,
    "activation polynomial": gelu,
    "rotary embedding": rotary,
    "recurrence": recurrence,
    "weights": lambda b, x: x @ (b.matrix + b.layer.weight),
    "learnt activation": lambda b, x: b.layer(x + torch.sin(b.scale * x)),
}


@pytest.mark.parametrize("way", NOT_RESIDUAL)
def test_other_sums_are_none(way: str) -> None:
    found = look(chain(NOT_RESIDUAL[way]), batch(WIDTH))  # type: ignore[arg-type]
    assert not found.additions


def test_projections_and_parallel_branches_are_told_apart() -> None:
    def projected(block: Layered, x: Tensor) -> Tensor:
        return block.other(x) + block.layer(torch.relu(block.third(x)))

    def gated(block: Layered, x: Tensor) -> Tensor:
        gate = torch.sigmoid(block.other(x))
        return gate * block.branch(x) + (1 - gate) * x

    def parallel(block: Layered, x: Tensor) -> Tensor:
        return torch.tanh(block.other(x)) + torch.tanh(block.layer(x))

    assert [a.sum.shortcut for a in look(chain(projected), batch(WIDTH)).additions] == ["projection"] * 2
    for way in (gated, parallel):
        found = look(chain(way), batch(WIDTH))
        assert not found.additions
        assert found.parallel == 2


def test_tokens_and_position_embeddings() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.position = nn.Embedding(20, WIDTH), nn.Embedding(6, WIDTH)
            self.blocks = chain(WAYS["+"], blocks=3)  # type: ignore[arg-type]

        def forward(self, ids: Tensor) -> Tensor:
            return self.blocks(self.token(ids) + self.position(torch.arange(6)))

    found = look(Model(), torch.randint(20, (4, 6)))
    assert [a.name for a in found.additions] == ["blocks.0", "blocks.1", "blocks.2"]
    assert all(a.after.gradient for a in found.additions)


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer_has_an_attention_and_an_mlp_in_each_layer(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=norm_first)
    found = look(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), batch(5, 16))
    assert [a.sum.branch for a in found.additions] == ["attention", "mlp"] * 3
    assert [a.sum.shortcut for a in found.additions] == ["identity"] * 6
    assert {a.sum.norm_first for a in found.additions} == {norm_first}
    assert [a.sum.stream_norm for a in found.additions[1:]] == [not norm_first] * 5


def test_what_is_measured_is_what_autograd_says() -> None:
    net = chain(WAYS["+"], blocks=3)  # type: ignore[arg-type]
    x = batch(WIDTH)
    found = look(net, x, loss="sum")
    h, sums = x, []
    for block in net.children():
        h = block(h)
        h.retain_grad()
        sums.append(h)
    h.sum().backward()
    for addition, expected in zip(found.additions, sums, strict=True):
        values, gradient = expected.detach().double(), expected.grad
        assert gradient is not None
        assert addition.after.moments.second == pytest.approx(float(values.square().mean()), rel=1e-5)
        batch_variance = float(values.var(0, correction=0).mean())
        assert addition.after.moments.batch_variance == pytest.approx(batch_variance, rel=1e-4)
        assert addition.after.gradient == pytest.approx(float(gradient.square().mean()), rel=1e-5)


def test_in_place_operations_on_views_do_not_cut_gradients_off() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(Convolutional(lambda c: nn.InstanceNorm2d(c)) for _ in range(2)))
    x = batch(4, 6, 6)
    cut_off, kept = look(net, x), look(net, x, copy_views=True)
    assert cut_off.lost == 2  # what the copies are for
    assert kept.lost == 0
    whole = look(nn.Sequential(*(Convolutional(lambda c: nn.BatchNorm2d(c)) for _ in range(2))), x)
    assert whole.lost == 0
    assert all(a.after.gradient for a in (*kept.additions, *whole.additions))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_scripted_code_is_counted_and_autograd_functions_are_passed() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):  # type: ignore[no-untyped-def, override]
            return 2 * a

        @staticmethod
        def backward(ctx, g):  # type: ignore[no-untyped-def, override]
            return 2 * g

    plain = chain(WAYS["+"], blocks=1)[0]  # type: ignore[arg-type, index]
    x = batch(WIDTH)
    traced = torch.jit.trace(plain, x)  # type: ignore[no-untyped-call]
    hidden = look(nn.Sequential(plain, traced, chain(WAYS["+"], blocks=1)), x)  # type: ignore[arg-type]
    assert (len(hidden.additions), hidden.hidden) == (2, 1)
    passed = look(chain(lambda b, x: x + b.layer(Square.apply(x))), x)
    assert [a.sum.shortcut for a in passed.additions] == ["identity"] * 2


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(reentrant: bool) -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = chain(WAYS["+"], blocks=3)  # type: ignore[arg-type]

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks.children():
                x = checkpoint(block, x, use_reentrant=reentrant)
            return x

    found = look(Saving(), batch(WIDTH))
    assert len(found.additions) == 3
    assert bool(found.no_gradient) == reentrant
    assert all((a.after.gradient is None) == reentrant for a in found.additions)


def test_a_shortcut_that_its_own_block_rectifies_in_place_is_told() -> None:
    first = nn.Linear(WIDTH, WIDTH)
    before = look(nn.Sequential(first, chain(lambda b, x: x + b.layer(b.rectify(x)))), batch(WIDTH))
    after = look(nn.Sequential(first, chain(lambda b, x: b.rectify(x + b.layer(x)))), batch(WIDTH))
    assert [a.changed for a in before.additions] == [True, True]
    assert [a.changed for a in after.additions] == [False, False]


def test_concatenations_are_a_class_of_their_own() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, self.layer(torch.relu(x))], dim=1)

    found = look(Dense(), batch(WIDTH))
    assert (len(found.additions), found.concatenations) == (0, 1)


def test_recurrent_nets_are_entered_no_further_than_torch_goes() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.LSTM(WIDTH, WIDTH, batch_first=True) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = x + layer(x)[0]
            return x

    found = look(Model(), batch(5, WIDTH))
    assert [a.sum.branch for a in found.additions] == ["recurrent"] * 2
    assert found.recurrent == ["layers.0", "layers.1"]


def test_two_passes_do_not_take_each_others_marks() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(WIDTH, WIDTH)
            self.last: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            h = x if self.last is None else x + self.last.detach()
            self.last = self.layer(torch.relu(x))
            return h + self.last

    net = Caching()
    assert len(look(net, batch(WIDTH)).additions) == 1
    assert len(look(net, batch(WIDTH)).additions) == 1


def test_nothing_is_watched_after_a_pass() -> None:
    from torch.nn.modules import module

    net = chain(WAYS["+"])  # type: ignore[arg-type]
    look(net, batch(WIDTH))
    with pytest.raises(Exception, match=r"shape|mat1"):
        look(net, batch(WIDTH + 1))
    assert not module._global_forward_hooks
    assert not module._global_forward_pre_hooks
    assert not isinstance(torch.overrides._get_current_function_mode(), Trace)
