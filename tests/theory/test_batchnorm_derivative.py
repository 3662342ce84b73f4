import numpy as np
import pytest
import torch

from resexp.theory import batchnorm_derivative as theory


@pytest.mark.parametrize("by", ["deviation", "root"])
@pytest.mark.parametrize("s", [1e-7, 1e-3, 2.0])
def test_factors_are_the_singular_values_of_autograd(by, s):
    """One zero for the mean, `along` once, and `across` for every direction that is left."""
    eps, gamma = 1e-3, 1.7
    direction = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = s * direction / direction.std(correction=0)

    def normalised(z):
        variance = (z - z.mean()).square().mean()
        f5 = variance.sqrt() + eps if by == "deviation" else (variance + eps).sqrt()
        return gamma * (z - z.mean()) / f5

    found = torch.linalg.svdvals(torch.autograd.functional.jacobian(normalised, z))
    across, along = theory.across(s, gamma, eps, by), theory.along(s, gamma, eps, by)
    assert found.tolist() == pytest.approx([*[across] * 4, along, 0.0], rel=1e-9, abs=1e-12 * across)


def test_by_steps_is_the_backward_pass_of_torch():
    generator = torch.Generator().manual_seed(1)
    z, u = (torch.randn(9, 1, dtype=torch.float64, generator=generator) for _ in range(2))
    z.requires_grad_()
    gamma = torch.tensor([0.6], dtype=torch.float64)
    h = torch.nn.functional.batch_norm(z, None, None, gamma, None, training=True, eps=0.1)
    right = torch.autograd.grad(h, z, u)[0].numpy()
    steps = theory.by_steps(z.detach().numpy(), u.numpy(), 0.6, 0.1, "root")
    np.testing.assert_allclose(steps, right, rtol=1e-12, atol=1e-14)
