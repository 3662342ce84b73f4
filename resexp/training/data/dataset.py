"""A data set in memory: inputs and targets of training and test examples, as tensors."""

import hashlib
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.errors import UsageError


@dataclass(frozen=True)
class Examples:
    """inputs: (examples, channels, *space) or (examples, units); targets: (examples,) labels, or (examples, ...)."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, which: Tensor | slice) -> "Examples":
        """Some of the examples, by their numbers."""
        return Examples(self.inputs[which], self.targets[which])

    def to(self, device: torch.device, dtype: torch.dtype) -> "Examples":
        """The same on a device; inputs, and targets that are no labels, in that dtype."""
        targets = self.targets.to(device, dtype) if self.targets.is_floating_point() else self.targets.to(device)
        return Examples(self.inputs.to(device, dtype), targets)


@dataclass(frozen=True)
class Data:
    """A data set. classes: 0 where targets are no labels; mirrors: whether a mirror image is of the same class."""

    name: str
    train: Examples
    test: Examples
    classes: int
    mirrors: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, (channels, *space) or (units)."""
        return tuple(self.train.inputs.shape[1:])

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """The same on a device and in a dtype."""
        return replace(self, train=self.train.to(device, dtype), test=self.test.to(device, dtype))

    def limited(self, most: int | None) -> Self:
        """At most so many training and so many test examples, always the same ones."""
        if most is None:
            return self
        kept = (part.take(torch.from_numpy(shuffled(len(part))[:most])) for part in (self.train, self.test))
        return replace(self, train=next(kept), test=next(kept))

    def as_images(self) -> Self:
        """Sequences (channels, length) as images (channels, 1, length), for nets of 2-D convolutions.

        Raises UsageError where inputs are neither.
        """
        if len(self.shape) == 3:
            return self
        if len(self.shape) != 2:
            raise UsageError(f"--data {self.name}: this experiment takes images, and these are vectors.")
        parts = (Examples(part.inputs.unsqueeze(2), part.targets) for part in (self.train, self.test))
        return replace(self, train=next(parts), test=next(parts))

    def as_vectors(self) -> Self:
        """Inputs as vectors (units), for fully connected nets."""
        parts = (Examples(part.inputs.flatten(1), part.targets) for part in (self.train, self.test))
        return replace(self, train=next(parts), test=next(parts))


def standardised(
    name: str,
    train: tuple[NDArray[np.generic], NDArray[np.generic]],
    test: tuple[NDArray[np.generic], NDArray[np.generic]],
    *,
    classes: int,
    mirrors: bool = False,
) -> Data:
    """A data set whose channels have mean 0 and variance 1 over the training examples.

    train, test: inputs (examples, channels, *space) of any number type, and labels (examples,).
    """
    inputs = [torch.from_numpy(np.array(part[0], dtype=np.float32)) for part in (train, test)]
    labels = [torch.from_numpy(np.array(part[1], dtype=np.int64)) for part in (train, test)]
    for channel in range(inputs[0].shape[1]):  # one at a time, since float64 takes twice the room
        deviation, mean = torch.std_mean(inputs[0][:, channel].double(), correction=0)
        for x in inputs:
            x[:, channel].sub_(mean.float()).div_(deviation.float() if deviation > 0 else 1.0)
    return Data(name, Examples(inputs[0], labels[0]), Examples(inputs[1], labels[1]), classes, mirrors)


def shuffled(count: int) -> NDArray[np.int64]:
    """The numbers below `count` in an order that looks random and is the same everywhere and always."""
    keys = [hashlib.blake2b(b"%d" % number, digest_size=8).digest() for number in range(count)]
    return np.array(sorted(range(count), key=keys.__getitem__), dtype=np.int64)


def stratified(labels: NDArray[np.generic], every: int = 5) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of training and test examples, the latter one in `every`, with all classes in proportion."""
    order = shuffled(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    test = np.zeros(len(order), dtype=bool)
    test[::every] = True
    return np.sort(order[~test]), np.sort(order[test])
