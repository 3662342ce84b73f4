"""Loads what `--data` names. Files that are missing or damaged raise UsageError: which, expected size, found size."""

from collections.abc import Callable

from resexp.training.data import cifar10, digits, idx, image_folder, mnist1d
from resexp.training.data.dataset import Data
from resexp.training.data.source import Source, parse

LOADERS: dict[str, Callable[[Source], Data]] = {
    "digits": lambda _: digits.load(),
    "mnist1d": lambda _: mnist1d.load(),
    "cifar10": cifar10.load,
    "mnist": idx.load,
    "folder": image_folder.load,
}


def load(text: str, limit: int | None = None) -> Data:
    """The data set that the text names, of each part at most `limit` examples. Raises UsageError where it is not there.

    Inputs have mean 0 and variance 1 in each channel over all training examples, whatever the limit.
    """
    source = parse(text)
    return LOADERS[source.kind](source).limited(limit)
