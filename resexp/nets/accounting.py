"""What a net costs: parameters by layer and kind, operations, activations. On the meta device nothing is allocated."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Part:
    """One parameter tensor. kind: weights, biases, gammas, betas, or other."""

    layer: str
    kind: str
    parameters: int


@dataclass(frozen=True)
class Cost:
    """Of one forward pass. operations: twice the multiply-accumulates; activations: bytes of all layers' outputs."""

    operations: int
    activations: int


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """The net without memory for its weights."""
    with torch.device("meta"):
        return build()


def parts(net: nn.Module) -> Iterator[Part]:
    """The parameter tensors of a net, one after another; a shared one is counted where it comes first."""
    seen: set[int] = set()
    for name, module in net.named_modules():
        for parameter_name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                layer = name.replace(".parametrizations", "") or "net"
                yield Part(layer, _kind(module, parameter_name, parameter), parameter.numel())


def _kind(module: nn.Module, name: str, parameter: Tensor) -> str:
    norm = isinstance(module, NORMS) or (name in {"weight", "bias"} and "Norm" in type(module).__name__)
    if norm:
        return "gammas" if name == "weight" else "betas"
    if "bias" in name:
        return "biases"
    return "weights" if parameter.dim() > 1 or "weight" in name else "other"


def cost(net: nn.Module, shape: Sequence[int], batch: int) -> Cost:
    """Operations and activation bytes of a forward pass of `batch` inputs of this shape, in evaluation mode."""
    net.eval()
    total = 0

    def see(_: nn.Module, __: Any, output: Any) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel() * output.element_size()

    leaves = [module for module in net.modules() if not any(True for _ in module.children())]
    handles = [leaf.register_forward_hook(see) for leaf in leaves]
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(torch.zeros(batch, *shape, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return Cost(int(counter.get_total_flops()), total)
