"""The engine against torch's autograd, and what its numbers do not depend on."""

import itertools
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
from resexp.core.network import ACTIVATIONS, COTANGENTS, ENGINES, ORDERS, Engine
from resexp.core.schemes import SCHEMES, Scheme, scheme
from resexp.signal import observer
from resexp.signal.ensemble import propagate
from resexp.signal.observer import Pass
from resexp.signal.plan import STATISTICS, plan
from resexp.signal.stack import Stack
from resexp.signal.weights import NormalSource

BASE = Stack(4, 12, 6, scheme("residual", 4), "relu-linear", Initialisation("he"), "relu", "loss")


def stack(**changes: Any) -> Stack:
    return replace(BASE, **changes)


def double(lab: Lab, shape: tuple[int, ...], std: float, purpose: str, *position: int) -> Tensor:
    return NormalSource(lab).fill(torch.empty(shape, dtype=torch.float64), std, purpose, *position)


def by_autograd(lab: Lab, s: Stack) -> tuple[list[Tensor], list[Tensor]]:
    """Activations and gradients at each block of the first tile, by torch's own modules and autograd."""
    width, tile = s.width, s.tile
    phi = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "linear": lambda x: x}[
        s.activation
    ]
    std = math.sqrt(s.init.variance(width, width))

    def norm(h: Tensor) -> Tensor:
        flat = h.transpose(0, 1).reshape(s.batch, -1)  # every unit of every network is a channel of its own
        normalised = torch.nn.functional.batch_norm(flat, None, None, training=True, eps=1e-300)
        return normalised.view(s.batch, tile, -1).transpose(0, 1)

    def branch(h: Tensor, block: int) -> Tensor:
        for matrix in range(s.matrices):
            scale = s.scheme.inner if matrix < s.matrices - 1 else 1.0
            weights = double(lab, (tile, width, width), scale * std, "weights", 0, block, matrix)
            if s.scheme.batchnorm:
                h = norm(h)
            h = phi(h @ weights) if s.order == "linear-relu" else phi(h) @ weights
        return h

    h = double(lab, (tile, s.batch, width), 1.0, "inputs", 0) @ double(lab, (tile, width, width), std, "first layer", 0)
    seen = [h.requires_grad_()]
    for block in range(s.depth):
        h = s.scheme.skip * h + s.scheme.branch * branch(h, block)
        seen.append(h)
    readout = double(lab, (tile, width, 1), math.sqrt(s.init.variance(width, 1)), "read-out", 0)
    if s.cotangent == "independent":
        scalar = (h * double(lab, (tile, s.batch, width), 1.0, "cotangent", 0)).sum()
    elif s.cotangent == "sum":
        scalar = (h @ readout).sum()
    else:
        scalar = 0.5 * (h @ readout - double(lab, (tile, s.batch, 1), 1.0, "targets", 0)).square().sum()
    return seen, list(torch.autograd.grad(scalar, seen))


def values(p: Pass) -> dict[str, np.ndarray]:
    scale = np.exp2(2.0 * p.exponent)
    return {
        "second_moment": p.second_moment * scale,
        "batch_variance": p.batch_variance * scale,
        "activation_mean": p.activation_mean * np.exp2(p.exponent),
        "gradient": p.gradient / p.gradient[-1] * np.exp2(2.0 * (p.gradient_exponent - p.gradient_exponent[-1])),
    }


SETTINGS = [
    *({"order": o, "activation": a} for o, a in itertools.product(ORDERS, ACTIVATIONS)),
    *(
        {"order": o, "scheme": scheme(s, 4), "cotangent": c}
        for o, s, c in itertools.product(ORDERS, SCHEMES, COTANGENTS)
    ),
    {"scheme": scheme("fixup", 4, alpha=0.7), "order": "two-layer"},
    {"scheme": scheme("residual", 4, alpha=3.0), "init": Initialisation("glorot"), "batch": 1},
]


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_forward_and_backward_are_autograds(changes: dict[str, Any]) -> None:
    s, lab = stack(**changes), Lab("test", dtype="float64")
    hidden, gradients = by_autograd(lab, s)
    got = values(propagate(lab, s, s.tile))
    for k, (h, g) in enumerate(zip(hidden, gradients, strict=True)):
        expected = {
            "second_moment": h.square().mean((1, 2)),
            "batch_variance": h.var(1, unbiased=False).mean(1) if s.batch > 1 else torch.zeros(s.tile),
            "activation_mean": h.mean((1, 2)),
            "gradient": g.square().mean((1, 2)) / gradients[-1].square().mean((1, 2)),
        }
        for name, numbers in expected.items():
            assert got[name][k] == pytest.approx(numbers.detach().numpy(), rel=1e-9, abs=1e-12), (name, k)


@pytest.mark.parametrize(
    "changes",
    [{"width": 40, "batch": 1}, {"width": 33, "scheme": scheme("batchnorm", 4)}, {"activation": "gelu"}],
    ids=str,
)
def test_numbers_do_not_depend_on_memory_threads_or_draws(changes: dict[str, Any]) -> None:
    s = stack(depth=10, **changes)
    rows = s.depth + 1
    reference = propagate(Lab("test"), s, 24)
    roomy = plan(Lab("test"), s, 24, rows)
    assert (roomy.group, roomy.keep_weights, roomy.packed) == (8, True, s.signs_suffice)
    tight = [plan(Lab("test", memory=m), s, 24, rows) for m in range(roomy.memory, 0, -1000) if fits(s, m)]
    ways = {(p.group, p.keep_weights, p.segment): p.memory for p in tight}
    assert ways.keys() >= {(8, False, 10), (4, False, 10 if s.signs_suffice else 4)}
    others = [propagate(Lab("test", memory=m), s, 24) for m in ways.values()]
    others += [propagate(Lab("test", threads=3), s, 24)]
    same_bytes(reference, others, propagate(Lab("test"), s, 5))


def same_bytes(reference: Pass, others: list[Pass], fewer: Pass) -> None:
    for name in set(Pass.__dataclass_fields__) - {"blocks"}:
        expected = getattr(reference, name)
        for other in others:
            assert np.array_equal(getattr(other, name), expected, equal_nan=True), name
        draws = getattr(fewer, name).shape[1]
        assert np.array_equal(getattr(fewer, name), expected[:, :draws], equal_nan=True), name


def fits(s: Stack, memory: int) -> bool:
    try:
        return plan(Lab("test", memory=memory), s, 24, s.depth + 1).memory <= memory
    except UsageError:
        return False


def test_memory_does_not_grow_with_draws_but_for_the_statistics() -> None:
    few, many = (plan(Lab("test"), stack(), draws, 5).memory for draws in (16, 16_000))
    assert many - few == (16_000 - 16) * 5 * STATISTICS


def test_what_does_not_fit_is_refused_with_the_estimate() -> None:
    with pytest.raises(UsageError, match=r"about [\d.]+ TB .* budget is 1 GB"):
        plan(Lab("test", memory=10**9), stack(width=1_000_000), 16, 5)


@pytest.mark.parametrize(("engine", "batch"), [("explicit", 6), ("law", 6), ("law", 1)])
def test_thinned_rows_are_rows_of_the_whole(engine: Engine, batch: int) -> None:
    s, blocks = stack(depth=40, batch=batch), [0, 1, 12, 13, 27, 40]
    whole, thinned = propagate(Lab("test"), s, 8, None, engine), propagate(Lab("test"), s, 8, blocks, engine)
    assert list(thinned.blocks) == blocks
    for name in set(Pass.__dataclass_fields__) - {"blocks"}:
        assert np.array_equal(getattr(thinned, name), getattr(whole, name)[blocks], equal_nan=True), name


@pytest.mark.parametrize("changes", [{}, {"order": "linear-relu-bn", "scheme": Scheme(0.0, 1.0)}], ids=str)
def test_gradients_alone_are_those_beside_the_forward_numbers(changes: dict[str, Any]) -> None:
    s = stack(depth=60, batch=5, **changes)
    both, alone = propagate(Lab("test"), s, 8), propagate(Lab("test"), s, 8, forward=False)
    assert np.array_equal(alone.gradient, both.gradient)
    assert np.array_equal(alone.gradient_exponent, both.gradient_exponent)
    assert both.second_moment.shape == alone.second_moment.shape
    assert np.isfinite(both.second_moment).all()
    assert np.isnan(alone.second_moment).all()


@pytest.mark.parametrize("order", ["linear-relu-bn", "linear-bn-relu"])
@pytest.mark.parametrize("scales", [Scheme(0.0, 1.0), Scheme(0.0, 0.5), Scheme(1.0, 0.5)], ids=str)
def test_without_a_skip_signals_change_memory_and_no_number(order: Any, scales: Scheme) -> None:
    """Against the same written with torch's own operations, layer by layer, and its autograd."""
    s, lab = stack(order=order, scheme=scales, cotangent="independent"), Lab("test", dtype="float64")
    shape, std = (s.tile, s.batch, s.width), math.sqrt(s.init.variance(s.width, s.width))

    def normed(x: Tensor) -> Tensor:
        variance = x.var(1, unbiased=False, keepdim=True)
        return (x - x.mean(1, keepdim=True)) / (variance + 1e-200).sqrt()  # a unit that is off for all examples gives 0

    def weights(purpose: str, *position: int) -> Tensor:
        return double(lab, (s.tile, s.width, s.width), std, purpose, 0, *position)

    h = double(lab, shape, 1.0, "inputs", 0) @ weights("first layer")
    seen = [h.requires_grad_()]
    for block in range(s.depth):
        x = h @ weights("weights", block, 0)
        x = normed(torch.relu(x)) if order == "linear-relu-bn" else torch.relu(normed(x))
        h = scales.skip * h + scales.branch * x
        seen.append(h)
    gradients = torch.autograd.grad((h * double(lab, shape, 1.0, "cotangent", 0)).sum(), seen)
    p = propagate(lab, s, s.tile)
    for k, (activations, gradient) in enumerate(zip(seen, gradients, strict=True)):
        assert p.second_moment[k] == pytest.approx(activations.detach().square().mean((1, 2)).numpy(), rel=1e-9)
        assert p.gradient[k] == pytest.approx(gradient.square().mean((1, 2)).numpy(), rel=1e-9)


def test_a_group_that_fails_ends_the_others() -> None:
    def progress(done: int, total: int) -> None:
        if done > total / 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        propagate(Lab("test", threads=2, progress=progress), stack(depth=1000), 64)


@pytest.mark.parametrize("changes", [{}, {"activation": "linear"}, {"order": "linear-relu"}], ids=str)
def test_rescaling_by_powers_of_two_changes_no_digit(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """25 blocks stay within float32 without it; so rescaled at every block they must give the same digits."""
    s = stack(depth=25, width=16, **changes)
    monkeypatch.setattr(observer, "rescaling_period", lambda _: 10**9)
    without = values(propagate(Lab("test"), s, 8))
    monkeypatch.setattr(observer, "rescaling_period", lambda _: 1)
    monkeypatch.setattr(observer, "RESCALE_BEYOND", 2.0)
    rescaled = propagate(Lab("test"), s, 8)
    assert rescaled.exponent[-1].min() > 5
    assert np.abs(rescaled.gradient_exponent[0]).min() > 5
    for name, numbers in values(rescaled).items():
        assert np.array_equal(numbers, without[name]), name


@pytest.mark.parametrize("engine", ENGINES)
def test_depth_has_no_limit(engine: Engine) -> None:
    """2000 blocks double the second moment beyond float64, in float32 too, within a few bytes a block."""
    s = stack(depth=2000, width=32, batch=1)
    lab = Lab("test", memory=5_000_000)
    p = propagate(lab, s, 8, range(0, 2001, 100), engine)
    log2 = np.log2(p.second_moment) + 2 * p.exponent
    assert np.isfinite(log2).all()
    assert np.diff(log2, axis=0).mean() / 100 == pytest.approx(0.9, abs=0.05)  # less than 1: finite width
    assert log2[-1].min() > 1024
    assert np.isfinite(p.gradient).all()
    assert 2 * p.gradient_exponent[0].max() > 1024


def test_log2_of_deep_networks_is_that_of_a_direct_computation() -> None:
    """500 blocks in float64, which still holds them without any rescaling."""
    s, lab = stack(depth=500, width=24, batch=1), Lab("test", dtype="float64")
    hidden, gradients = by_autograd(lab, s)
    p = propagate(lab, s, s.tile)
    got = np.log2(p.second_moment) + 2.0 * p.exponent, np.log2(p.gradient) + 2.0 * p.gradient_exponent
    direct = [np.log2(np.stack([x.detach().square().mean((1, 2)).numpy() for x in xs])) for xs in (hidden, gradients)]
    assert p.exponent[-1].min() > 100
    assert np.abs(got[0] - direct[0]).max() < 1e-9
    assert np.abs((got[1] - got[1][-1]) - (direct[1] - direct[1][-1])).max() < 1e-9


def test_schemes_are_what_their_papers_say() -> None:
    root = math.sqrt(0.5)
    assert scheme("residual", 9) == Scheme(1, 1)
    assert scheme("rescaled", 9) == Scheme(root, root)
    assert scheme("stable", 9).branch == pytest.approx(1 / 3)
    assert scheme("fixup", 9) == Scheme(1, 0, inner=pytest.approx(1 / 3))
    assert scheme("plain", 9, alpha=0.5) == Scheme(0, 0.5)
