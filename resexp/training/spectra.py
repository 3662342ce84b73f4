"""What Lanczos says of the Hessians of nets, net by net, kept as it comes."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resexp.core.lab import Lab
from resexp.training.checkpoint import Checkpoint
from resexp.training.data.dataset import Examples
from resexp.training.hessian import Hessian
from resexp.training.lanczos import lanczos, signs, trace
from resexp.training.objective import classification

LEADING = 5
"""Eigenvalues that are told one by one."""


@dataclass(frozen=True)
class Spectra:
    """Numbers of nets, (nets, LEADING + 5): leading eigenvalues, the least, trace, share near zero, negativity, and the
    curvature along the convolutions' weights over the largest eigenvalue. nan where the loss is no number.

    examples: whose loss it is; steps: of Lanczos, from each of so many vectors; near: of zero, over the largest.
    """

    examples: Examples
    batch_statistics: bool
    steps: int
    vectors: int
    near: float
    checkpoint: Checkpoint

    def of(self, nets: Sequence[nn.Module], kind: str, when: str, lab: Lab) -> Tensor:
        """Numbers of these nets, as they are now. lab: tells progress."""
        kept = self.checkpoint.load()
        found = dict(kept[0]) if kept is not None else {}
        for seed, net in enumerate(nets):
            name = f"{when}/{seed}"
            if name not in found:
                found[name] = self._one(copy.deepcopy(net), lab, f"{kind} {when}", seed)
                if self.checkpoint.is_due():
                    self.checkpoint.save(found, {})
                lab.progress(seed + 1, len(nets))
        return torch.stack([found[f"{when}/{seed}"] for seed in range(len(nets))])

    def _one(self, net: nn.Module, lab: Lab, purpose: str, seed: int) -> Tensor:
        hessian = Hessian(net, self.examples, classification(), batch_statistics=self.batch_statistics)
        if not hessian.gradient().isfinite().all():
            return torch.full((LEADING + 5,), torch.nan, dtype=torch.float64)
        spectra = []
        for vector in range(self.vectors):
            generator = torch.Generator().manual_seed(lab.key(f"signs {purpose}", seed, vector) % 2**63)
            start = signs(hessian.size, generator, self.examples.inputs.device)
            spectra.append(lanczos(hessian.product, start, self.steps))
        found = spectra[0].nodes.flip(0)[:LEADING].cpu()
        leading = torch.full((LEADING,), torch.nan, dtype=torch.float64)  # fewer where Lanczos ends early
        leading[: len(found)] = found
        nodes = torch.cat([spectrum.nodes for spectrum in spectra])
        largest, least = float(nodes.max()), float(nodes.min())
        shares = [spectrum.share(-self.near * largest, self.near * largest) for spectrum in spectra]
        along = torch.cat([p.detach().flatten() * (p.dim() == 4) for p in hessian.parameters])
        curvature = along @ hessian.product(along) / along.square().sum()
        total = float(trace(spectra, hessian.size).mean())
        numbers = [least, total, sum(shares) / len(shares), -least / largest, float(curvature) / largest]
        return torch.cat([leading, torch.tensor(numbers, dtype=torch.float64)])
