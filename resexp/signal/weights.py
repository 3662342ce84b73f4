"""Random tensors from keyed streams.

On the CPU the bits come from SFC64 seeded with 128 mixed bits (torch's own CPU generator keeps 32 seed bits, so
that two of 100,000 layers would share their weights) and become normals by the Box-Muller transform in torch's
vectorised functions, which takes no longer than torch's own normal_. Draws are made in float32 for every dtype, so
that float32 and float64 runs see the same networks.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab

_UNIT = 2.0**-31  # takes signed 32-bit integers to (-1, 1)


class NormalSource:
    """Fills tensors with independent normals; one for each thread, for it keeps its working memory.

    Fresh memory costs more than the arithmetic here (page faults), so buffers live as long as their owner.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._radius = self._angle = self._cosine = torch.empty(0)
        self._whole = torch.empty(0)

    def draw(self, shape: tuple[int, ...], std: float, purpose: str, *position: int) -> Tensor:
        """A new tensor of independent normals, of the lab's dtype and on its device."""
        out = torch.empty(shape, dtype=self._lab.torch_dtype, device=self._lab.torch_device)
        return self.fill(out, std, purpose, *position)

    def fill(self, out: Tensor, std: float, purpose: str, *position: int) -> Tensor:
        """Fill the contiguous tensor `out` with normals of the given standard deviation; returns it.

        The numbers depend on purpose, position and the number of elements of `out`, not on its dtype.
        """
        if out.device.type != "cpu":
            generator = torch.Generator(out.device).manual_seed(self._lab.key(purpose, *position) & (2**63 - 1))
            single = out if out.dtype == torch.float32 else torch.empty_like(out, dtype=torch.float32)
            return out.copy_(single.normal_(0.0, std, generator=generator))
        half = (out.numel() + 1) // 2
        if out.dtype == torch.float32 and out.numel() == 2 * half:
            flat = out.view(-1)
            self._box_muller(std, flat[:half], flat[half:], purpose, *position)
            return out
        if self._whole.numel() != 2 * half:
            self._whole = torch.empty(2 * half)
        self._box_muller(std, self._whole[:half], self._whole[half:], purpose, *position)
        return out.copy_(self._whole[: out.numel()].view(out.shape))

    def fill_halves(self, first: Tensor, second: Tensor, std: float, purpose: str, *position: int) -> None:
        """Fill two float32 tensors of the same shape, not necessarily contiguous: on the CPU as `fill` fills both."""
        if first.device.type == "cpu":
            self._box_muller(std, first, second, purpose, *position)
            return
        both = torch.empty((2, *first.shape), device=first.device)
        self.fill(both, std, purpose, *position)
        first.copy_(both[0])
        second.copy_(both[1])

    def _box_muller(self, std: float, first: Tensor, second: Tensor, purpose: str, *position: int) -> None:
        """first, second <- std sqrt(-2 log u) (cos, sin)(a), u = |v| of a signed uniform v, a uniform on (-pi, pi).

        |v| keeps 31 bits near zero, where a float shifted to (0, 1) would keep 24, and is kept from zero itself by
        2^-32: the tails reach 6.7 standard deviations.
        """
        half = first.numel()
        if self._radius.numel() != half:
            self._radius, self._angle, self._cosine = torch.empty(3, half)
        bits = torch.from_numpy(self._lab.bit_stream(purpose, *position).random_raw(half).view("int32"))
        radius, angle = self._radius, self._angle
        radius.copy_(bits[:half]).abs_().mul_(_UNIT).clamp_min_(_UNIT / 2).log_().mul_(-2 * std * std).sqrt_()
        angle.copy_(bits[half:]).mul_(math.pi * _UNIT)
        torch.cos(angle, out=self._cosine)
        torch.mul(radius.view(first.shape), self._cosine.view(first.shape), out=first)
        torch.mul(radius.view(first.shape), angle.sin_().view(first.shape), out=second)

    def fill_matrices(self, out: Tensor, init: Initialisation, scale: float, purpose: str, *position: int) -> Tensor:
        """Fill `out` (networks, width, width) with one square weight matrix a network, inputs along dim 1."""
        width = out.shape[-1]
        std = scale * math.sqrt(init.variance(width, width))
        if not init.orthogonal:
            return self.fill(out, std, purpose, *position)
        q, r = torch.linalg.qr(self.fill(out, 1.0, purpose, *position))
        # Without these signs QR is not uniform over rotations (Mezzadri 2007).
        signs = r.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)
        return torch.mul(q, signs * (std * math.sqrt(width)), out=out)


class NormalBlocks:
    """Standard normals of many blocks, drawn a stretch of blocks at a time: to seed a stream for each costs more.

    shape: (tiles, tile, ...) of one block; blocks: how many to hold at a time, of consecutive ones.
    """

    def __init__(
        self,
        source: NormalSource,
        empty: Callable[..., Tensor],
        shape: tuple[int, ...],
        stretch: int,
        blocks: int,
        purpose: str,
        matrix: int,
    ) -> None:
        self._source, self._stretch, self._purpose, self._matrix = source, stretch, purpose, matrix
        self._slots = -(-blocks // stretch)
        self._normals = empty(self._slots, stretch, *shape)
        self._networks = (shape[0] * shape[1], *shape[2:])
        self._holds = [(range(0), -1)] * self._slots

    def at(self, tiles: range, block: int) -> Tensor:
        """Normals of a block, (networks, ...)."""
        number, within = divmod(block, self._stretch)
        slot = number % self._slots
        if self._holds[slot] != (tiles, number):
            self._draw(self._normals[slot], tiles, number)
            self._holds[slot] = (tiles, number)
        return self._normals[slot, within].view(self._networks)

    def _draw(self, out: Tensor, tiles: range, number: int) -> None:
        """Out: (stretch, tiles, tile, ...)."""
        half = self._stretch // 2
        for position, tile in enumerate(tiles):
            key = (self._purpose, tile, number, self._matrix)
            mine = out[:, position]
            if out.dtype == torch.float32 and 2 * half == self._stretch:
                self._source.fill_halves(mine[:half], mine[half:], 1.0, *key)
            else:
                mine.copy_(self._source.draw(tuple(mine.shape), 1.0, *key))
