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

_UNIT = 2.0**-31  # takes signed 32-bit integers to [-1, 1]


class NormalSource:
    """Fills tensors with independent normals; one for each thread, for it keeps its working memory.

    Fresh memory costs more than the arithmetic here (page faults), so buffers live as long as their owner and have the
    size of its largest draw.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._uniforms = self._cosine = self._whole = torch.empty(0)
        self._least = torch.tensor(_UNIT**2 / 4)

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
        if self._whole.numel() < 2 * half:
            self._whole = torch.empty(2 * half)
        self._box_muller(std, self._whole[:half], self._whole[half : 2 * half], purpose, *position)
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
        """first, second <- std sqrt(-log u^2) (cos, sin)(a), u^2 = v^2 + 2^-64, v and a / pi uniform on [-1, 1].

        |v| keeps 31 bits near zero, where a float shifted to (0, 1) would keep 24, and u is kept from zero itself: the
        tails reach 6.7 standard deviations.
        """
        half = first.numel()
        if self._cosine.numel() < half:
            self._uniforms, self._cosine = torch.empty(2 * half), torch.empty(half)
        uniforms, cosine = self._uniforms[: 2 * half], self._cosine[:half]
        radius, angle = uniforms[:half], uniforms[half:]
        uniforms.copy_(torch.from_numpy(self._lab.bit_stream(purpose, *position).random_raw(half).view("int32")))
        torch.addcmul(self._least, radius, radius, value=_UNIT**2, out=radius).log_().mul_(-std * std).sqrt_()
        torch.cos(angle.mul_(math.pi * _UNIT), out=cosine)
        angle.sin_()
        if first.dim() > 1:
            radius, cosine, angle = (x.view(first.shape) for x in (radius, cosine, angle))
        torch.mul(radius, cosine, out=first)
        torch.mul(radius, angle, out=second)

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
    """Standard normals of many blocks. A stretch of blocks shares a stream: to seed one for each costs more.

    shape: (tiles, tile, ...) of one block; depth: blocks in all; segment: how many to hold at a time, and to draw one
    after another: between blocks the generator's working memory would leave the cache.
    """

    def __init__(
        self,
        source: NormalSource,
        empty: Callable[..., Tensor],
        shape: tuple[int, ...],
        stretch: int,
        depth: int,
        segment: int,
        purpose: str,
        matrix: int,
    ) -> None:
        self._source, self._stretch, self._purpose, self._matrix = source, stretch, purpose, matrix
        self._slots, self._stretches = -(-segment // stretch), -(-depth // stretch)
        self._normals = empty(self._slots, stretch, *shape)
        # Views of each block, made once: to make them anew takes as long as a pass over a block.
        of_blocks = self._normals.view(self._slots, stretch, shape[0] * shape[1], *shape[2:])
        self._blocks: list[list[Tensor]] = [list(slot) for slot in of_blocks]
        self._holds = (-1, -1)

    def at(self, tiles: range, block: int) -> Tensor:
        """Normals of a block, (networks, ...)."""
        number, within = divmod(block, self._stretch)
        segment, slot = divmod(number, self._slots)
        if self._holds != (tiles.start, segment):
            first = segment * self._slots
            for position, stretch in enumerate(range(first, min(first + self._slots, self._stretches))):
                self._draw(self._normals[position], tiles, stretch)
            self._holds = (tiles.start, segment)
        return self._blocks[slot][within]

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
