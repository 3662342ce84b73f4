"""Nets of timm and torchvision by name, where those packages are installed; random weights."""

import importlib
from types import ModuleType
from typing import Any

from torch import nn

from resexp.core.errors import MissingError, nearest
from resexp.nets.family import Arguments, Family


def package(name: str, *, part: str) -> ModuleType:
    """A package that need not be there."""
    try:
        return importlib.import_module(part)
    except ImportError as error:
        raise MissingError(f"{name} is not installed here ({error}); pip install {name}.") from error


def read_timm(text: str) -> Arguments:
    """A name that timm lists."""
    timm: Any = package("timm", part="timm")
    return {"model": known(text, timm.list_models(), "timm")}


def build_timm(*, model: str, classes: int = 1000) -> nn.Module:
    """timm.create_model without weights."""
    timm: Any = package("timm", part="timm")
    net: nn.Module = timm.create_model(model, pretrained=False, num_classes=classes)
    return net


def shape_timm(model: str) -> tuple[int, ...]:
    """What timm says the net takes."""
    timm: Any = package("timm", part="timm.models")
    config = timm.get_pretrained_cfg(model)
    return tuple(config.input_size) if config else (3, 224, 224)


def read_torchvision(text: str) -> Arguments:
    """A name that torchvision.models lists."""
    models: Any = package("torchvision", part="torchvision.models")
    return {"model": known(text, models.list_models(), "torchvision")}


def build_torchvision(*, model: str, classes: int = 1000) -> nn.Module:
    """torchvision.models.get_model without weights."""
    models: Any = package("torchvision", part="torchvision.models")
    net: nn.Module = models.get_model(model, weights=None, num_classes=classes)
    return net


def shape_torchvision() -> tuple[int, ...]:
    """An ImageNet crop."""
    return 3, 224, 224


def known(name: str, names: list[str], where: str) -> str:
    """The name, if it is one of the names."""
    if name not in names:
        raise ValueError(f"{where} has no model '{name}'{nearest(name, names)}")
    return name


TIMM = Family(read_timm, build_timm, shape_timm, ("classes",))
TORCHVISION = Family(read_torchvision, build_torchvision, shape_torchvision, ("classes",))
