"""Eigenvalues of a symmetric matrix that is known by its products with vectors alone.

Lanczos from a unit vector v: after m products, Q' A Q = T is tridiagonal, with Q orthonormal and v its first column.
The eigenvalues of T are nodes, and the squared first components of its eigenvectors weights, of a quadrature

    v' f(A) v = sum over k of weight[k] f(node[k]),   exact for polynomials f of degree 2 m - 1

so that n times its mean over random v is the trace of f(A): the trace (Hutchinson's estimator: v'Av is exact), and
shares of the eigenvalues in an interval, smoothed. The outermost nodes approach the outermost eigenvalues first.

All vectors are kept, and each new one is made orthogonal to all of them twice, in float64: without that, rounding
brings copies of eigenvalues that are found already. Where no direction is left, Lanczos ends early, and is exact.

Sources: Golub and Meurant 2010; Ubaru et al. 2017; Ghorbani et al. 2019 for Hessians of networks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""From v (n,) to A v (n,), float64 both."""

NOTHING_LEFT = 1e-13
"""Norm of what is new in a product, over the largest of T, below which Lanczos has found all that v reaches."""


@dataclass(frozen=True)
class Spectrum:
    """What Lanczos found from one vector. nodes: (m,), ascending; weights: (m,), their sum is 1; bounds: (m,).

    bounds: each node is that close to an eigenvalue, or closer, but for rounding.
    """

    nodes: Tensor
    weights: Tensor
    bounds: Tensor

    def moment(self, power: int) -> float:
        """V' A^power v, exact up to power 2 m - 1."""
        return float((self.weights * self.nodes**power).sum())

    def share(self, low: float, high: float) -> float:
        """Share of the weight on nodes from low to high, both included."""
        return float(self.weights[(self.nodes >= low) & (self.nodes <= high)].sum())


def lanczos(product: Product, start: Tensor, steps: int) -> Spectrum:
    """At most `steps` products, at most as many as start (n,) has numbers."""
    steps = min(steps, len(start))
    basis = torch.zeros(steps, len(start), dtype=torch.float64, device=start.device)
    diagonal, beside = [], []  # of T
    v = start.double() / start.double().norm()
    for step in range(steps):
        basis[step] = v
        w = product(v)
        diagonal.append(float(v @ w))
        found = basis[: step + 1]
        for _ in range(2):
            w = w - found.T @ (found @ w)
        beside.append(float(w.norm()))
        if beside[-1] <= NOTHING_LEFT * max(map(abs, (*diagonal, *beside))):
            beside[-1] = 0.0
            break
        v = w / beside[-1]
    inner = torch.tensor(beside[:-1], dtype=torch.float64)
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + torch.diag(inner, 1) + torch.diag(inner, -1)
    nodes, vectors = torch.linalg.eigh(matrix)
    return Spectrum(nodes, vectors[0].square(), beside[-1] * vectors[-1].abs())


def signs(size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """A random vector (size,) of 1 and -1, float64; the generator is the processor's."""
    return (torch.randint(0, 2, (size,), generator=generator, dtype=torch.float64) * 2 - 1).to(device)


def trace(spectra: Sequence[Spectrum], size: int) -> Tensor:
    """An estimate of the trace from each spectrum that started from `signs`, (spectra,): their mean is unbiased."""
    return size * torch.tensor([spectrum.moment(1) for spectrum in spectra], dtype=torch.float64)
