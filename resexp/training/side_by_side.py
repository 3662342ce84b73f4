"""Several nets of one architecture as one net: grouped convolutions in place of many small ones.

The channels of net 1 come first, then those of net 2, and so on. A convolution of C channels becomes one of nets * C
channels in `nets` times as many groups, batch normalisation one over all channels, a linear layer a batched product.
What a net computes is what it computes alone, to rounding: no number of one net enters another. In the layout
channels-last, one wide operation takes a fraction of the time of many narrow ones (benchmarks/training.py).

Layers that are known: convolutions, batch, ghost, group and instance normalisation, linear layers, everything without
parameters that acts on each element or on space alone, and containers; the residual blocks of resexp.nets with
shortcuts A and B, SkipInit, ReZero and Fixup; U-Nets and hourglasses. A net of anything else is refused, and trained
alone.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resexp.nets.batch_norms import BatchRenorm, GhostBatchNorm
from resexp.nets.hourglass import Hourglass, StackedHourglass
from resexp.nets.recipe import Multiplier, ScalarBias
from resexp.nets.residual import Residual, ResidualNet, ZeroPad
from resexp.nets.unet import UNet

Rule = Callable[[Sequence[nn.Module]], nn.Module]


class CannotJoinError(Exception):
    """Nets that cannot be made one; the message says which layer is why."""


@dataclass(frozen=True)
class Link:
    """A tensor of the joined net, (nets * n, ...), and the nets' own, (n, ...) each, that it is made of."""

    name: str
    joined: Tensor
    own: Sequence[Tensor]

    def of(self, net: int) -> Tensor:
        """The part of one net, in the shape of its own tensor."""
        if self.joined.shape == self.own[0].shape:
            return self.joined
        return torch.unflatten(self.joined, 0, (len(self.own), -1))[net].view_as(self.own[net])


class SideBySide(nn.Module):
    """Nets of one architecture as one: (batch, nets, *input) to (batch, nets, *output).

    It starts from the nets' weights and moves away from them; `write_back` gives the nets what it has become.
    Raises CannotJoinError for several nets that cannot be made one; a single net is taken as it is.
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.count = len(nets)
        self.net = nets[0] if len(nets) == 1 else joined(nets)
        if any(parameter.dim() == 4 for parameter in self.net.parameters()):
            self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        states = [net.state_dict(keep_vars=True) for net in nets]
        found = self.net.state_dict(keep_vars=True)
        self.links = [Link(name, tensor, [state[name] for state in states]) for name, tensor in found.items()]

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (batch, nets, *output) for inputs (batch, nets, *input); those of a list stand last, as one axis."""
        h = x.flatten(1, 2)
        if h.dim() == 4:
            h = h.contiguous(memory_format=torch.channels_last)
        out = self.net(h)
        out = torch.stack(out, -1) if isinstance(out, list) else out
        return torch.unflatten(out, 1, (self.count, -1))

    @torch.no_grad()
    def write_back(self) -> None:
        """Give each net its weights and buffers as they are now."""
        if self.count > 1:
            for link in self.links:
                for number, tensor in enumerate(link.own):
                    tensor.copy_(link.of(number))


def joined(nets: Sequence[nn.Module]) -> nn.Module:
    """One module that is all of these. Raises CannotJoinError."""
    kind = type(nets[0])
    if any(type(net) is not kind for net in nets):
        raise CannotJoinError(f"{', '.join(sorted({type(net).__name__ for net in nets}))} are not the same layer")
    if kind not in RULES:
        raise CannotJoinError(f"{kind.__name__} is not known to keep the channels of several nets apart")
    return RULES[kind](nets)


def _composed(nets: Sequence[nn.Module]) -> nn.Module:
    """A container: its children joined. Its own forward must treat channels alike."""
    first = nets[0]
    if any(net._modules.keys() != first._modules.keys() for net in nets):
        raise CannotJoinError(f"{type(first).__name__} has other children in each net")
    children = {name: joined([net.get_submodule(name) for net in nets]) for name in first._modules}
    whole = copy.copy(first)
    whole._modules = dict(children)
    return whole


def _chain(nets: Sequence[nn.Module]) -> nn.Module:
    """A Sequential. ReLUs write in place what only they see: a layer's output, which its own gradient does not need."""
    whole = _composed(nets)
    for before, (name, layer) in zip(whole._modules.values(), list(whole._modules.items())[1:], strict=False):
        if type(layer) is nn.ReLU and isinstance(before, IN_PLACE_AFTER):
            whole._modules[name] = nn.ReLU(inplace=True)
    return whole


def _widened(nets: Sequence[nn.Module], **changed: object) -> nn.Module:
    """The same layer with the parameters and buffers of all nets behind each other, and these attributes changed."""
    wide = copy.copy(nets[0])
    wide._parameters, wide._buffers = {}, {}
    for name in nets[0]._parameters:
        own = [net._parameters[name] for net in nets]
        wide.register_parameter(name, nn.Parameter(_chained(own)) if own[0] is not None else None)
    for name in nets[0]._buffers:
        kept = [net._buffers[name] for net in nets]
        counts = kept[0] is not None and not kept[0].is_floating_point()
        wide.register_buffer(name, None if kept[0] is None else kept[0].clone() if counts else _chained(kept))
    for attribute, value in changed.items():
        setattr(wide, attribute, value)
    return wide


def _chained(own: Sequence[Tensor | None]) -> Tensor:
    """Tensors of all nets behind each other; of single numbers a vector."""
    tensors = [tensor.detach() for tensor in own if tensor is not None]
    if len(tensors) < len(own) or any(tensor.shape != tensors[0].shape for tensor in tensors):
        raise CannotJoinError("the nets' parameters have different shapes")
    return torch.stack(tensors) if tensors[0].dim() == 0 else torch.cat(tensors)


def _convolution(nets: Sequence[nn.Module]) -> nn.Module:
    first, count = nets[0], len(nets)
    assert isinstance(first, nn.modules.conv._ConvNd)
    settings = {(c.stride, c.padding, c.output_padding, c.dilation, c.groups, c.padding_mode) for c in nets}
    if len(settings) > 1:
        raise CannotJoinError("convolutions differ")
    wide = {name: count * getattr(first, name) for name in ("groups", "in_channels", "out_channels")}
    return _widened(nets, **wide)


def _normaliser(nets: Sequence[nn.Module]) -> nn.Module:
    """Normalisers with a number a channel."""
    features = getattr(nets[0], "num_features", 0)
    return _widened(nets, num_features=len(nets) * features) if features else _widened(nets)


def _group_norm(nets: Sequence[nn.Module]) -> nn.Module:
    first = nets[0]
    assert isinstance(first, nn.GroupNorm)
    return _widened(nets, num_groups=len(nets) * first.num_groups, num_channels=len(nets) * first.num_channels)


def _linear(nets: Sequence[nn.Module]) -> nn.Module:
    return LinearSideBySide(_widened(nets), len(nets))


def _zero_pad(nets: Sequence[nn.Module]) -> nn.Module:
    first = nets[0]
    assert isinstance(first, ZeroPad)
    return ZeroPadSideBySide(first, len(nets))


def _scalar_bias(nets: Sequence[nn.Module]) -> nn.Module:
    return ScalarBiasSideBySide(_widened(nets))


def _multiplier(nets: Sequence[nn.Module]) -> nn.Module:
    return MultiplierSideBySide(_widened(nets))


def _residual(nets: Sequence[nn.Module]) -> nn.Module:
    first = nets[0]
    assert isinstance(first, Residual)
    whole = _composed(nets)
    if isinstance(first.alpha, float):
        return whole
    whole.__class__ = ResidualSideBySide
    whole._parameters = dict(_widened(nets)._parameters)
    return whole


def _alike(nets: Sequence[nn.Module]) -> nn.Module:
    """A layer without parameters that acts on elements, or on space."""
    if any(net.extra_repr() != nets[0].extra_repr() for net in nets):
        raise CannotJoinError(f"{type(nets[0]).__name__} is another in each net")
    return copy.copy(nets[0])


def spread(numbers: Tensor, h: Tensor) -> Tensor:
    """A number a net, (nets), at all its channels, to be broadcast against h (batch, nets * channels, *space)."""
    return numbers.repeat_interleave(h.shape[1] // len(numbers)).view(1, -1, *[1] * (h.dim() - 2))


class LinearSideBySide(nn.Module):
    """(batch, nets * inputs) to (batch, nets * outputs)."""

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, wide: nn.Module, count: int) -> None:
        super().__init__()
        self._parameters, self.count = wide._parameters, count

    def forward(self, x: Tensor) -> Tensor:
        """W x + b, each net with its own."""
        weight = torch.unflatten(self.weight, 0, (self.count, -1))  # (nets, outputs, inputs)
        out = torch.unflatten(x, 1, (self.count, -1)).transpose(0, 1) @ weight.transpose(1, 2)  # (nets, batch, outputs)
        if self.bias is not None:
            out = out + torch.unflatten(self.bias, 0, (self.count, 1, -1))
        return out.transpose(0, 1).flatten(1)


class ZeroPadSideBySide(nn.Module):
    """Shortcut A, whose new channels stand behind each net's own."""

    def __init__(self, one: ZeroPad, count: int) -> None:
        super().__init__()
        self.one, self.count = one, count

    def forward(self, h: Tensor) -> Tensor:
        """From h (batch, nets * channels, *space) to (batch, nets * (channels + new), *space / stride)."""
        strided = h[(slice(None), slice(None), *[slice(None, None, self.one.stride)] * (h.dim() - 2))]
        parts = torch.unflatten(strided, 1, (self.count, -1))
        out = h.new_zeros(len(h), *strided.shape[2:], self.count, parts.shape[2] + self.one.new_channels)
        out = out.movedim((-2, -1), (1, 2))  # channels-last in memory
        out[:, :, : parts.shape[2]] = parts
        return out.flatten(1, 2)


class ScalarBiasSideBySide(nn.Module):
    """h + b, b one number a net."""

    bias: nn.Parameter

    def __init__(self, wide: nn.Module) -> None:
        super().__init__()
        self._parameters = wide._parameters

    def forward(self, h: Tensor) -> Tensor:
        """Return h + b."""
        return h + spread(self.bias, h)


class MultiplierSideBySide(nn.Module):
    """a h, a one number a net."""

    weight: nn.Parameter

    def __init__(self, wide: nn.Module) -> None:
        super().__init__()
        self._parameters = wide._parameters

    def forward(self, h: Tensor) -> Tensor:
        """Return a h."""
        return spread(self.weight, h) * h


class ResidualSideBySide(Residual):
    """A block whose learned alpha is one number a net."""

    def _join(self, h: Tensor, short: Tensor) -> Tensor:
        assert isinstance(self.alpha, Tensor)
        branch: Tensor = self.branch(h)
        branch = spread(self.alpha, branch) * branch
        if self.skip == 0.0:
            return branch
        return (short if self.skip == 1.0 else self.skip * short) + branch


class UNetSideBySide(UNet):
    """A U-Net whose maps of the way down stand beside each net's own."""

    count: int

    def _beside(self, way: Tensor, x: Tensor) -> Tensor:
        parts = [torch.unflatten(h, 1, (self.count, -1)) for h in (way, x)]
        return torch.cat(parts, 2).flatten(1, 2)


def _unet(nets: Sequence[nn.Module]) -> nn.Module:
    whole = _composed(nets)
    whole.__class__ = UNetSideBySide
    whole.count = len(nets)  # type: ignore[assignment]
    return whole


CONTAINERS = (nn.ModuleList, ResidualNet, Hourglass, StackedHourglass)
IN_PLACE_AFTER = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm)
CHANNELWISE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
WITHOUT_PARAMETERS = (
    *(nn.Identity, nn.Flatten, nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Softplus),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.Upsample),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d),
)

RULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys(CONTAINERS, _composed),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution),
    **dict.fromkeys((*CHANNELWISE, GhostBatchNorm, BatchRenorm), _normaliser),
    **dict.fromkeys(WITHOUT_PARAMETERS, _alike),
    nn.Sequential: _chain,
    nn.GroupNorm: _group_norm,
    nn.Linear: _linear,
    Residual: _residual,
    UNet: _unet,
    ScalarBias: _scalar_bias,
    Multiplier: _multiplier,
    ZeroPad: _zero_pad,
}
"""How layers of each type are joined; a subclass is another type."""
