"""Covariances of two signals over the inputs of a batch, squared, without the bias of a small sample."""

from torch import Tensor


def over(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Numerator / denominator, 0 where the denominator is zero."""
    return (numerator / denominator).masked_fill_(denominator == 0, 0.0)


def squared_covariances(h: Tensor, f: Tensor) -> dict[str, Tensor]:
    """Unbiased Cov(h_i, f_i)^2 and Var h_i Var f_i over the inputs of a batch, means over units; (networks,) each.

    h, f: (networks, inputs, units), four inputs at least.

    And both over the network's own mean variances. The squared sample covariance and the product of the sample
    variances of n inputs each have both expectations in them, and k22 / n, k22 the joint fourth cumulant, whose
    unbiased estimator (a k-statistic) is known; two linear equations give the two.
    """
    n = h.shape[1]
    u, w = h - h.mean(1, keepdim=True), f - f.mean(1, keepdim=True)
    uu, ww = u.square().sum(1).double(), w.square().sum(1).double()  # (networks, units)
    u *= w
    uw, uuww = u.sum(1).double(), u.square().sum(1).double()
    fourth = (n + 1) * uuww - (n - 1) / n * (uu * ww + 2 * uw**2)
    k22_over_n = fourth / ((n - 1) * (n - 2) * (n - 3))
    c2, vw = (uw / (n - 1)) ** 2 - k22_over_n, uu * ww / (n - 1) ** 2 - k22_over_n
    determinant = (n - 2) * (n + 1) / (n - 1) ** 2
    square = ((c2 - vw / (n - 1)) / determinant).mean(1)
    product = ((n * vw - 2 * c2) / ((n - 1) * determinant)).mean(1)
    scale = uu.mean(1) * ww.mean(1) / (n - 1) ** 2
    return {
        "squared_covariance": square,
        "product_of_variances": product,
        "squared_covariance_scaled": over(square, scale),
        "product_of_variances_scaled": over(product, scale),
    }
