"""Names of nets, and the nets by name. Imports torch only when a net is asked for."""

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from resexp.core.errors import UsageError
from resexp.nets.family import Arguments, Family

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Entry:
    """Where a family is (module:name in it), what it is, and names of its nets."""

    where: str
    description: str
    examples: tuple[str, ...]


FAMILIES = {
    "resnet": Entry(
        "resnet:FAMILY",
        "ResNet for ImageNet, version 1 or 2 (pre-activation)",
        ("resnet:18", "resnet:50-v2", "resnet:200-v2", "resnet:2-2-2-2-basic"),
    ),
    "cifar-resnet": Entry(
        "cifar_resnet:FAMILY",
        "ResNet for CIFAR, depth 6 n + 2, or 9 n + 2 with bottlenecks; shortcut a or b",
        ("cifar-resnet:20", "cifar-resnet:56-b", "cifar-resnet:164-v2", "cifar-resnet:20,norm=group,scheme=skipinit"),
    ),
    "plain": Entry("cifar_resnet:PLAIN", "cifar-resnet without its skips", ("plain:20", "plain:56")),
    "wrn": Entry("wide_resnet:FAMILY", "wide ResNet, depth 6 n + 4 and widening factor", ("wrn:28-10", "wrn:16-8")),
    "resnext": Entry("resnext:FAMILY", "ResNeXt, groups x channels", ("resnext:50-32x4d", "resnext:29-8x64d")),
    "shake-shake": Entry("shake_shake:FAMILY", "ResNet with two branches mixed at random", ("shake-shake:26-2x32d",)),
    "densenet": Entry(
        "densenet:FAMILY",
        "DenseNet for ImageNet, or depth-growth for CIFAR",
        ("densenet:121", "densenet:bc-100-12", "densenet:40-12"),
    ),
    "highway": Entry("highway:FAMILY", "highway network, fully connected", ("highway:10", "highway:50,gate_bias=-4")),
    "mlp": Entry(
        "mlp:FAMILY",
        "fully connected net, plain or residual, hidden layers x units",
        ("mlp:10x20", "mlp:10x20,norm=batch", "mlp:51x64,scheme=rescaled,inputs=40,outputs=10"),
    ),
    "vgg": Entry("vgg:FAMILY", "VGG", ("vgg:16", "vgg:16,norm=batch")),
    "unet": Entry("unet:FAMILY", "U-Net on images", ("unet", "unet:padded,norm=batch")),
    "unet3d": Entry("unet:VOLUMES", "3-D U-Net on volumes", ("unet3d", "unet3d:padded,width=8")),
    "vnet": Entry("vnet:FAMILY", "V-Net on volumes", ("vnet", "vnet:prototxt")),
    "unet++": Entry("unet_plus_plus:FAMILY", "U-Net++ on images", ("unet++", "unet++,supervision=true")),
    "hourglass": Entry(
        "hourglass:FAMILY", "stacked hourglass; gives a list of heatmaps", ("hourglass:2", "hourglass:8")
    ),
    "timm": Entry("external:TIMM", "any net of timm, if that is installed", ("timm:resnet50",)),
    "torchvision": Entry(
        "external:TORCHVISION", "any net of torchvision, if that is installed", ("torchvision:resnet50",)
    ),
}


def families() -> dict[str, str]:
    """Families of nets, each with what it is and examples of names."""
    return {name: f"{entry.description}: {', '.join(entry.examples)}" for name, entry in FAMILIES.items()}


def factory(name: str) -> "Callable[[], nn.Module]":
    """A function that builds the named net, with freshly drawn weights, on torch's default device."""
    family, arguments = _resolved(name)
    return partial(_built, name, family, arguments)


def input_shape(name: str) -> tuple[int, ...]:
    """Shape of one input of the named net: (channels, *space), or (units)."""
    family, arguments = _resolved(name)
    return family.shape(arguments)


def parameters(name: str) -> int:
    """Number of parameters of the named net, counted on the meta device."""
    import torch

    build = factory(name)
    with torch.device("meta"):
        return count(build())


def count(net: "nn.Module") -> int:
    """Number of parameters of a net; running statistics are none."""
    return sum(parameter.numel() for parameter in net.parameters())


def _resolved(name: str) -> tuple[Family, Arguments]:
    head, comma, options = name.partition(",")
    family_name, colon, spec = head.partition(":")
    if family_name not in FAMILIES:
        close = difflib.get_close_matches(family_name, FAMILIES, n=1)
        hint = f" (did you mean '{close[0]}{colon}{spec}{comma}{options}'?)" if close else ""
        raise UsageError(f"There is no net '{name}'{hint}{'' if close else '; families are ' + ', '.join(FAMILIES)}.")
    module, _, attribute = FAMILIES[family_name].where.partition(":")
    family: Family = getattr(importlib.import_module(f"resexp.nets.{module}"), attribute)
    try:
        return family, family.arguments(spec + comma + options)
    except ValueError as error:
        raise UsageError(f"There is no net '{name}': {error}.") from error


def _built(name: str, family: Family, arguments: Arguments) -> "nn.Module":
    try:
        return family.build(**arguments)
    except ValueError as error:
        raise UsageError(f"There is no net '{name}': {error}.") from error
