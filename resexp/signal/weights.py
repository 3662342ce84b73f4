"""Random tensors from keyed streams.

On the CPU the bits come from SFC64 seeded with 128 mixed bits (torch's own CPU generator keeps 32 seed bits, so
that two of 100,000 layers would share their weights) and become normals by the Box-Muller transform in torch's
vectorised functions, which takes no longer than torch's own normal_. Draws are made in float32 for every dtype, so
that float32 and float64 runs see the same networks.
"""

import math

import torch
from torch import Tensor

from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab

_INTEGER_TO_UNIT = 2.0**-31


class NormalSource:
    """Fills tensors with independent normals; one for each thread, for it keeps its working memory.

    Fresh memory costs more than the arithmetic here (page faults), so buffers live as long as their owner.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._uniform = torch.empty(0)
        self._whole = torch.empty(0)

    def fill(self, out: Tensor, std: float, purpose: str, *position: int) -> Tensor:
        """Fill the contiguous tensor `out` with normals of the given standard deviation; returns it.

        The numbers depend on purpose, position and the number of elements of `out`, not on its dtype.
        """
        if out.device.type != "cpu":
            generator = torch.Generator(out.device).manual_seed(self._lab.key(purpose, *position) & (2**63 - 1))
            single = out if out.dtype == torch.float32 else torch.empty_like(out, dtype=torch.float32)
            return out.copy_(single.normal_(0.0, std, generator=generator))
        half = (out.numel() + 1) // 2
        if self._uniform.numel() != 2 * half:
            self._uniform, self._whole = torch.empty(2 * half), torch.empty(2 * half)
        bits = self._lab.bit_stream(purpose, *position).random_raw(half)
        uniform = self._uniform.copy_(torch.from_numpy(bits.view("int32")))  # signed whole numbers
        radius, angle = uniform[:half], uniform[half:]
        # |u| keeps 31 bits near zero where a shifted u would keep 24: the tails reach 6.6 standard deviations.
        radius.abs_().mul_(_INTEGER_TO_UNIT).clamp_min_(_INTEGER_TO_UNIT / 2)
        radius.log_().mul_(-2 * std * std).sqrt_()
        angle.mul_(math.pi * _INTEGER_TO_UNIT)
        direct = out.dtype == torch.float32 and out.numel() == 2 * half
        flat = out.view(-1) if direct else self._whole
        torch.cos(angle, out=flat[:half]).mul_(radius)
        torch.sin(angle, out=flat[half:]).mul_(radius)
        return out if direct else out.copy_(flat[: out.numel()].view(out.shape))

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
