"""Batch normalisation by hand against autograd, in float64."""

import pytest
import torch
from torch import Tensor

from resexp.nets.by_hand import DividedBy, backward, forward


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))


@pytest.mark.parametrize("divided_by", ["deviation", "root"])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_backward_is_that_of_autograd(divided_by: DividedBy, eps: float) -> None:
    z, gamma, delta = (drawn(*shape).requires_grad_() for shape in ((7, 3), (3,), (3,)))
    u = drawn(7, 3) + 1
    h, saved = forward(z, gamma, delta, eps, divided_by)
    for ours, theirs in zip(backward(u, saved), torch.autograd.grad(h, (z, gamma, delta), u), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_root_is_batch_normalisation_of_torch() -> None:
    z, gamma, delta = drawn(7, 3), drawn(3), drawn(3)
    h, _ = forward(z, gamma, delta, 1e-5, "root")
    theirs = torch.nn.functional.batch_norm(z, None, None, gamma, delta, training=True, eps=1e-5)
    torch.testing.assert_close(h, theirs, rtol=1e-12, atol=1e-12)


def test_the_two_equations_differ_where_the_deviation_is_small() -> None:
    """At s = eps = 1e-5 one divides by 2e-5, the other by 3.2e-3."""
    z = 1e-5 * torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    deviation, root = (forward(z, one, zero, 1e-5, way)[0][1].item() for way in ("deviation", "root"))
    assert deviation == pytest.approx(0.5)
    assert root == pytest.approx(1e-5 / (1e-10 + 1e-5) ** 0.5)


def test_equal_activations_have_a_gradient_where_autograd_has_none() -> None:
    z, one = torch.ones(4, 1, dtype=torch.float64, requires_grad=True), torch.ones(1, dtype=torch.float64)
    u = drawn(4, 1)
    h, saved = forward(z, one, one, 0.1, "deviation")
    assert torch.autograd.grad(h, z, u)[0].isnan().all()
    torch.testing.assert_close(backward(u, saved)[0], (u - u.mean()) / 0.1)
