"""The forward pass against torch's own operations, and what its numbers do not depend on."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from resexp.core.errors import UsageError
from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab
from resexp.core.network import ORDERS
from resexp.core.schemes import SCHEMES, scheme
from resexp.signal import forward
from resexp.signal.ensemble import propagate
from resexp.signal.forward import Block, ForwardPass, memory, read_off, seconds
from resexp.signal.stack import Stack
from resexp.signal.weights import NormalSource

BASE = Stack(4, 12, 6, scheme("residual", 4), "relu-linear", Initialisation("he"), "relu", "independent")


def stack(**changes: Any) -> Stack:
    return replace(BASE, **changes)


def by_torch(lab: Lab, s: Stack, tile: int) -> list[tuple[Tensor, list[Tensor], Tensor, Tensor]]:
    """h, outputs of the ReLUs, f(h) and what follows, of each block."""

    def draw(rows: int, std: float, purpose: str, *position: int) -> Tensor:
        return NormalSource(lab).draw((s.tile, rows, s.width), std, purpose, tile, *position)

    std, scales, seen = math.sqrt(s.init.variance(s.width, s.width)), s.scheme, []
    h = draw(s.batch, 1.0, "inputs") @ draw(s.width, std, "first layer")
    for block in range(s.depth):
        x, relus, matrix = h, list[Tensor](), 0
        for kind in s.layers():
            if kind == "norm":
                x = (x - x.mean(1, keepdim=True)) / x.std(1, unbiased=False, keepdim=True)
            elif kind == "activate":
                x = torch.relu(x)
                relus.append(x)
            else:
                inner = scales.inner if matrix < s.matrices - 1 else 1.0
                x = x @ draw(s.width, inner * std, "weights", block, matrix)
                matrix += 1
        after = scales.skip * h + scales.branch * x
        seen.append((h, relus, x, after))
        h = after
    return seen


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", SCHEMES)
def test_blocks_are_torchs(order: str, name: Any) -> None:
    s, lab = stack(order=order, scheme=scheme(name, 4)), Lab("test", dtype="float64")
    expected = by_torch(lab, s, 3)
    for got, (skip, relus, branch, after) in zip(ForwardPass(lab, s).run(3), expected, strict=True):
        assert torch.allclose(got.skip, skip, rtol=1e-9, atol=1e-12)
        assert torch.allclose(got.branch, branch, rtol=1e-9, atol=1e-12)
        assert torch.allclose(got.after, after, rtol=1e-9, atol=1e-12)
        assert len(got.activated) == len(relus) == s.matrices
        for mine, theirs in zip(got.activated, relus, strict=True):
            assert torch.equal(mine > 0, theirs > 0)


def growth(block: Block) -> dict[str, Tensor]:
    squares = [x.square().mean((1, 2)) for x in (block.skip, block.branch, block.after)]
    return {"growth": squares[2] / squares[0], "share": squares[1] / squares[0]}


def test_networks_are_those_of_the_engine() -> None:
    s, lab = stack(depth=7), Lab("test", dtype="float64")
    squares = propagate(lab, s, 16).second_moment
    assert read_off(lab, s, 16, growth)["growth"] == pytest.approx(squares[1:] / squares[:-1], rel=1e-9)


@pytest.mark.parametrize("changes", [{"width": 40, "batch": 1}, {"scheme": scheme("batchnorm", 4)}], ids=str)
def test_numbers_do_not_depend_on_threads_or_draws(changes: dict[str, Any]) -> None:
    s, told = stack(**changes), list[tuple[int, int]]()
    many = read_off(Lab("test", progress=lambda *step: told.append(step)), s, 24, growth)
    assert told[-1] == (12, 12)
    threaded, few = read_off(Lab("test", threads=3), s, 24, growth), read_off(Lab("test"), s, 5, growth)
    for name, numbers in many.items():
        assert numbers.shape == (4, 24)
        assert np.array_equal(threaded[name], numbers)
        assert np.array_equal(few[name], numbers[:, :5])


def test_bringing_back_changes_no_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    s = stack(depth=25, batch=3)
    plain = read_off(Lab("test"), s, 8, growth)  # 2^25 is no reason yet to bring anything back
    monkeypatch.setattr(forward, "FAR", 1.5)
    brought_back = read_off(Lab("test"), s, 8, growth)
    for name, numbers in plain.items():
        assert np.array_equal(brought_back[name], numbers)
    assert max(block.after.abs().max() for block in ForwardPass(Lab("test"), s).run(0)) < 100
    assert np.isfinite(read_off(Lab("test"), stack(depth=1500, batch=1), 8, growth)["growth"]).all()


def test_an_error_in_one_tile_ends_the_others() -> None:
    def fail(block: Block) -> dict[str, Tensor]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_off(Lab("test", threads=2), stack(depth=10**6), 64, fail)


def test_memory_grows_with_the_numbers_alone_and_what_does_not_fit_is_refused() -> None:
    lab = Lab("test")
    shallow, deep = (memory(lab, stack(depth=depth), 16, 3) for depth in (10, 1000))
    assert deep - shallow == 990 * 16 * 3 * forward.STATISTICS
    with pytest.raises(UsageError, match=r"width 1000000, .*: about [\d.]+ TB .* budget is 1 GB"):
        memory(Lab("test", memory=10**9), stack(width=1_000_000), 16, 3)
    assert 0 < seconds(lab, stack(depth=1000), 64, growth) < 100
