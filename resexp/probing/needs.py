"""Memory that a pass over a net takes, found without running it: on torch's meta device, which keeps shapes only."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from resexp.probing.inputs import Examples
from resexp.probing.output import choose
from resexp.probing.state import seeded

SHARE = 1.05
"""What allocation and the numbers kept of each addition add."""


def estimate(make: Callable[[], nn.Module], examples: Examples, *, training: bool, number: int) -> int | None:
    """Bytes at the peak of a forward and backward pass; None for a net that does not run without numbers.

    number: bytes of one number in the type that nets are computed in.
    """
    saved: dict[int, int] = {}
    largest = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal largest
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage.nbytes()
        largest = max(largest, storage.nbytes())
        return tensor.detach()  # the tensor itself would keep its own graph alive

    try:
        with seeded(0), torch.device("meta"):
            net = make().train(training)
        if any(t.device.type != "meta" for t in (*net.parameters(), *net.buffers())):
            return None
        inputs = examples.make(net, torch.Generator()).through(_signal)
        with seeded(0), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, _never):
            output = choose(net(*inputs.positional, **inputs.named)).tensor
    except (Exception, SystemExit):  # noqa: BLE001  (whatever the reason is, the real pass will tell it better)
        return None
    own = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in (*net.parameters(), *net.buffers())}
    activations = sum(size for storage, size in saved.items() if storage not in own)
    state = sum(own.values())
    wide = number / 4 if output.dtype == torch.float32 else 1.0
    return int(SHARE * wide * (state + activations + 2 * largest + 2 * output.nbytes))


def _signal(x: Tensor) -> Tensor:
    return x.requires_grad_().clone() if x.is_floating_point() else x


def _never(x: Tensor) -> Tensor:
    return x
