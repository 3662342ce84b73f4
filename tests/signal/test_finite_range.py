"""Networks that are computed in one number format until they leave its range."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from resexp.core.errors import UsageError
from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab
from resexp.core.schemes import Scheme, scheme
from resexp.signal.finite_range import FiniteNet, first_blocks_out, largest_of_one, memory
from resexp.signal.weights import NormalSource

LAB = Lab("overflow", seed=5)
HE = Initialisation("he")


def net(number_format: str, depth: int, scales: Scheme, init: Initialisation = HE, batch: int = 1) -> FiniteNet:
    return FiniteNet(depth, 32, batch, scales, init, number_format)


def drawn(n: FiniteNet) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """Block 0, the weights of all blocks and the cotangent of the first tile, numbers of the format in float32."""
    source, std = NormalSource(LAB), math.sqrt(n.init.variance(n.width, n.width))
    signal, matrix = (n.tile, n.batch, n.width), (n.tile, n.width, n.width)

    def draw(shape: tuple[int, ...], std: float, purpose: str, *position: int) -> torch.Tensor:
        return source.draw(shape, std, purpose, 0, *position).to(n.format).float()

    h = (draw(signal, 1.0, "inputs") @ draw(matrix, std, "first layer")).to(n.format).float()
    return h, [draw(matrix, std, "weights", block) for block in range(n.depth)], draw(signal, 1.0, "cotangent")


@pytest.mark.parametrize(("number_format", "depth"), [("float16", 60), ("bfloat16", 340), ("float32", 340)])
@pytest.mark.parametrize("end", ["overflow", "underflow"])
def test_is_what_torch_does_in_that_type(number_format: str, depth: int, end: str) -> None:
    """Against skip h + relu(h) @ W as anyone writes it, whose sums may round otherwise.

    At the small end sums are taken in float32: bfloat16 products of some processors put subnormal numbers to zero.
    """
    scales, init = (Scheme(1.0, 1.0), HE) if end == "overflow" else (Scheme(0.0, 1.0), Initialisation("glorot"))
    n = net(number_format, depth, scales, init)
    found = first_blocks_out(LAB, n, 8)
    h, weights, _ = drawn(n)
    h = h.to(n.format)
    sums_in = n.format if end == "overflow" else torch.float32
    largest = [h.abs().amax((1, 2))]
    for w in weights:
        h = scales.skip * h + (h.relu().to(sums_in) @ w.to(sums_in)).to(n.format)
        largest.append(h.abs().amax((1, 2)))
    magnitude, tiny = torch.stack(largest), torch.finfo(n.format).smallest_normal
    for signal, x in (("activation", magnitude), ("square", magnitude.square())):
        out = ~x.isfinite() if end == "overflow" else x < tiny
        expected = out.int().argmax(0).numpy()
        assert expected.min() > 10
        assert np.abs(found[signal, end] - expected).max() <= 2  # type: ignore[index]
        assert np.abs(found[signal, end] - expected).mean() <= 0.5  # type: ignore[index]


def test_gradient_is_the_one_of_autograd() -> None:
    """In float64, which holds what float32 does not: the first block whose gradient is too large for float32."""
    n = net("float32", 190, Scheme(1.0, 1.5))
    found = first_blocks_out(LAB, n, 8)["gradient", "overflow"]
    h, weights, cotangent = drawn(n)
    blocks = [h.double().requires_grad_()]
    for w in weights:
        blocks.append(blocks[-1] + 1.5 * blocks[-1].relu() @ w.double())
    gradients = torch.autograd.grad(blocks[-1], blocks, cotangent.double())
    largest = torch.stack([g.abs().amax((1, 2)) for g in reversed(gradients)])
    assert (largest[-1] > torch.finfo(torch.float32).max).all()
    assert found.tolist() == (largest > torch.finfo(torch.float32).max).int().argmax(0).tolist()


def test_batch_normalisation_is_that_of_torch() -> None:
    n = net("float16", 120, Scheme(1.0, 20.0, batchnorm=True), batch=8)
    found = first_blocks_out(LAB, n, 8)
    assert ("gradient", "overflow") not in found
    h, weights, _ = drawn(n)
    h = h.double()
    largest = [h.abs().amax((1, 2))]
    for w in weights:
        z = (h - h.mean(1, keepdim=True)) / h.std(1, correction=0, keepdim=True)
        h = h + 20.0 * z.relu() @ w.double()
        largest.append(h.abs().amax((1, 2)))
    expected = (torch.stack(largest).square() > 65504).int().argmax(0).numpy()
    assert expected.min() > 3
    assert np.abs(found["square", "overflow"] - expected).max() <= 2


def test_a_number_depends_on_its_network_alone() -> None:
    """Not on how many there are, on threads, on memory (weights drawn twice), nor on the depth that is left."""
    n = net("float16", 80, scheme("residual", 80))
    eight = first_blocks_out(LAB, n, 8)
    small = replace(LAB, threads=2, memory=2_000_000)
    more = first_blocks_out(small, n, 20)
    for key, blocks in eight.items():
        assert np.array_equal(blocks, more[key][:8], equal_nan=True)
    shorter = first_blocks_out(LAB, replace(n, depth=60), 8)
    assert np.array_equal(eight["activation", "overflow"], shorter["activation", "overflow"])


def test_curve_of_a_network_ends_where_it_leaves() -> None:
    n = net("float16", 80, scheme("residual", 80))
    found, curves = first_blocks_out(LAB, n, 8), largest_of_one(LAB, n)
    for signal, magnitude in curves.items():
        assert len(magnitude) == found[signal, "overflow"][0]
        assert magnitude.max() <= 65504 < 8 * magnitude[-1]


def test_what_stays_inside_has_no_number() -> None:
    found = first_blocks_out(LAB, net("float16", 30, scheme("skipinit", 30)), 8)
    assert all(np.isnan(blocks).all() for blocks in found.values())


def test_memory_is_refused_with_its_size() -> None:
    n = net("float64", 1000, Scheme(1.0, 1.0), batch=64)
    assert memory(replace(LAB, memory=10**9), n) < 10**9
    with pytest.raises(UsageError, match=r"about 17\.7 MB"):
        memory(replace(LAB, memory=1_000_000), n)


def test_progress_is_told_within_a_tile_and_reaches_the_end() -> None:
    told = list[tuple[int, int]]()
    lab = Lab("overflow", progress=lambda done, total: told.append((done, total)))
    n = net("float16", 100, scheme("residual", 100))  # out of range long before the last block
    first_blocks_out(lab, n, 16)
    assert told[0][0] < n.steps
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (2 * n.steps, 2 * n.steps)


def test_an_interrupt_ends_all_tiles_after_their_block() -> None:
    looked = list[str]()

    class Counted(Lab):
        def bit_stream(self, purpose: str, *position: int) -> np.random.SFC64:
            looked.append(purpose)
            return super().bit_stream(purpose, *position)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    lab = Counted("overflow", threads=2, progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        first_blocks_out(lab, net("float32", 1000, scheme("rescaled", 1000)), 32)
    assert looked.count("weights") < 100
