"""Products with random weights, W[i, j] ~ N(0, std^2): with real matrices, or by their law alone.

The law of a product. Let A (batch, width) be what goes in, A A' = L L', and X = A W. The columns of W are independent
normals, so X = std L Z with Z (batch, width) standard normal. Given X (all that later layers see of W), what W does to
directions orthogonal to the rows of A is still free, so that for a gradient G of the output, G G' = M M',

    G W' = std [M H + (G Z' - M H A' L'^-1) L^-1 A],     H (batch, width) standard normal, fresh:

the part along A is known from Z, the rest is new. For one input L = |a|. Exact in law, forward, backward and jointly,
whatever the layers between, as long as entries of W are independent normals: 2 batch width normals instead of width^2.
It samples the statistics of a network, not a network: there is no W to ask anything else of.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from resexp.signal.layers import Scratch

# Rows of A may be linearly dependent (equal inputs, dead units). Then A A' is singular, and what this adds to its
# diagonal, as a share of the mean, stays below the rounding of float32 in L.
RIDGE = 1e-14
SMALLEST = 1e-200


class Product(Protocol):
    """A layer that multiplies by weights, and may add the product to a skip connection in one operation."""

    def forward(self, x: Tensor) -> Tensor:
        """X @ W."""

    def add_to(self, h: Tensor, x: Tensor, skip: float, branch: float) -> Tensor | None:
        """H <- skip h + branch x @ W; returns the norms of x, (networks,), where they fell off."""

    def backward(self, g: Tensor, norm: Tensor | None = None) -> Tensor:
        """G @ W transposed; leaves g as it is. norm: of g, (networks,), where it is known."""


class Multiply:
    """x @ W with one weight matrix a network; weights() returns W of the networks and block at hand."""

    def __init__(self, weights: Callable[[], Tensor], scratch: Scratch) -> None:
        self._weights, self._scratch = weights, scratch

    def forward(self, x: Tensor) -> Tensor:
        """X @ W."""
        return torch.bmm(x, self._weights(), out=self._scratch.beside(x))

    def add_to(self, h: Tensor, x: Tensor, skip: float, branch: float) -> Tensor | None:
        """H <- skip h + branch x @ W; no norms."""
        h.baddbmm_(x, self._weights(), beta=skip, alpha=branch)
        return None

    def backward(self, g: Tensor, norm: Tensor | None = None) -> Tensor:
        """G @ W transposed."""
        return torch.bmm(g, self._weights().mT, out=self._scratch.beside(g))


class LawOfProduct:
    """x @ W and g @ W' in law.

    forward_normals, backward_normals: return Z and H of the networks and block at hand, (networks, batch, width);
    keep: x is changed later and has to be copied for the backward pass.
    """

    def __init__(
        self,
        std: float,
        forward_normals: Callable[[], Tensor],
        backward_normals: Callable[[], Tensor],
        scratch: Scratch,
        *,
        keep: bool,
    ) -> None:
        self._std, self._scratch, self._keep = std, scratch, keep
        self._forward_normals, self._backward_normals = forward_normals, backward_normals

    def forward(self, x: Tensor) -> Tensor:
        """Std L Z."""
        self._see(x)
        return torch.bmm(self._root_of_gram, self._normals, out=self._scratch.beside(x)).mul_(self._std)

    def add_to(self, h: Tensor, x: Tensor, skip: float, branch: float) -> Tensor | None:
        """H <- skip h + branch std L Z; no norms."""
        self._see(x)
        h.baddbmm_(self._root_of_gram, self._normals, beta=skip, alpha=branch * self._std)
        return None

    def _see(self, x: Tensor) -> None:
        self._input = x.clone() if self._keep else x
        self._root = root_of_gram(x)
        self._root_of_gram = self._root.to(x.dtype)
        self._normals = self._forward_normals()

    def backward(self, g: Tensor, norm: Tensor | None = None) -> Tensor:
        """Std [M H + (G Z' - M H A' L'^-1) L^-1 A]."""
        a, root = self._input.double(), self._root  # float64: rows of A that nearly coincide divide by little
        free = torch.bmm(root_of_gram(g).to(g.dtype), self._backward_normals(), out=self._scratch.beside(g))  # M H
        seen = torch.bmm(free.double(), a.mT)  # M H A', (networks, batch, batch)
        along = torch.linalg.solve_triangular(root, seen.mT, upper=False).mT  # M H A' L'^-1
        along = torch.bmm(g, self._normals.mT).double() - along
        coefficients = torch.linalg.solve_triangular(root, along, upper=False, left=False)
        return free.add_(torch.bmm(coefficients, a)).mul_(self._std)


def root_of_gram(x: Tensor) -> Tensor:
    """Lower triangular L of x x' = L L', in float64, (networks, batch, batch); x: (networks, batch, width)."""
    double = x.double()
    gram = torch.bmm(double, double.mT)
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal.add_(diagonal.mean(1, keepdim=True), alpha=RIDGE).add_(SMALLEST)
    root: Tensor = torch.linalg.cholesky(gram)
    return root


class LawOfProductOfOne(LawOfProduct):
    """The same for a batch of one, where every small matrix is a number."""

    def forward(self, x: Tensor) -> Tensor:
        """Std |a| z."""
        self._see(x)
        return torch.mul(self._normals, self._length, out=self._scratch.beside(x)).mul_(self._std)

    def add_to(self, h: Tensor, x: Tensor, skip: float, branch: float) -> Tensor | None:
        """H <- skip h + branch std |a| z; returns |a|."""
        self._see(x)
        if skip != 1.0:
            h.mul_(skip)
        h.addcmul_(self._normals, self._length, value=branch * self._std)
        length: Tensor = self._length.view(-1)
        return length

    def _see(self, x: Tensor) -> None:
        self._input = x.clone() if self._keep else x
        self._length = torch.linalg.vector_norm(x, dim=2, keepdim=True)  # (networks, 1, 1)
        self._normals = self._forward_normals()

    def backward(self, g: Tensor, norm: Tensor | None = None) -> Tensor:
        """Std [|g| h + (g.z - |g| h.a / |a|) a / |a|]."""
        a, beside = self._input, self._scratch.beside(g)
        inverse = self._length.reciprocal().nan_to_num_(posinf=0.0)
        known = torch.mul(g, self._normals, out=beside).sum(2, keepdim=True)
        length = _norms(g) if norm is None else norm
        length = torch.mul(length, self._std).view(-1, 1, 1)
        free = self._backward_normals()
        seen = torch.mul(free, a, out=beside).sum(2, keepdim=True).mul_(inverse)
        along = known.addcmul_(seen, length, value=-1.0 / self._std).mul_(inverse)
        return torch.mul(free, length, out=beside).addcmul_(a, along, value=self._std)


def _norms(x: Tensor) -> Tensor:
    """Norm of each network's x, (networks,): the operation that also notes it, for the same digits."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=(1, 2))
    return norms
