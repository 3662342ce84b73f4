"""What a net costs: parameters by layer and kind, operations, activations. On the meta device nothing is allocated."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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
    """Of one pass. operations: forward, twice the multiply-accumulates; activations: bytes held to go backward."""

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
    """Operations of a forward pass of `batch` inputs of this shape, and activations that training holds after it."""
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    inputs = torch.zeros(batch, *shape, device=device)
    net.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(inputs)
    try:
        held = _held(net.train(), inputs)
    except ValueError:  # batch norm in training refuses one value a channel
        held = _held(net.eval(), inputs)
    return Cost(int(counter.get_total_flops()), held)


def _held(net: nn.Module, inputs: Tensor) -> int:
    """Bytes that autograd saves for the backward pass; what shares storage counts once, weights do not."""
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage.nbytes()
        return tensor.detach()  # the tensor itself would keep its own graph alive

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = net(inputs)
        own = {t.untyped_storage()._cdata for t in (*net.parameters(), *net.buffers())}
        held = sum(size for storage, size in saved.items() if storage not in own)
        del output
    return held
