"""MNIST, and what comes in the same files: `train-images-idx3-ubyte` and three more, packed by gzip or not.

A file has four bytes, 0, 0, 8 for bytes, and the number of dimensions, then each dimension as a big-endian 32-bit
number, then the bytes.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resexp.core.errors import UsageError
from resexp.training.data.dataset import Data, standardised
from resexp.training.data.files import damaged, folder_of, missing
from resexp.training.data.source import Source

MOST_BYTES = 2**30
PARTS = (("train-images", "train-labels"), ("t10k-images", "t10k-labels"))


def load(source: Source) -> Data:
    """Images (1, height, width) from a folder of idx files. Raises UsageError for a missing or damaged file."""
    folder = folder_of(source)
    train, test = (_part(source, folder, *names) for names in PARTS)
    if train[0].shape[1:] != test[0].shape[1:]:
        raise UsageError(f"--data {source}: training images are {train[0].shape[1:]}, test images {test[0].shape[1:]}.")
    classes = int(max(train[1].max(), test[1].max())) + 1
    return standardised("mnist", train, test, classes=classes)


def _part(
    source: Source, folder: Path, images_name: str, labels_name: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images_path, images = _read(source, folder, images_name, 3)
    labels_path, labels = _read(source, folder, labels_name, 1)
    if len(images) != len(labels) or not len(images):
        raise damaged(
            source, labels_path, f"a label for each of {len(images):,} images in {images_path.name}", f"{len(labels):,}"
        )
    return images[:, None], labels


def _read(source: Source, folder: Path, name: str, dimensions: int) -> tuple[Path, NDArray[np.uint8]]:
    """The array of one file."""
    names = [f"{name}{sign}idx{dimensions}-ubyte{ending}" for sign in "-." for ending in ("", ".gz")]
    path = next((folder / one for one in names if (folder / one).is_file()), None)
    if path is None:
        raise missing(source, folder / names[0], "or the same as .gz, a file")
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes([0, 0, 8, dimensions]):
                raise damaged(
                    source, path, f"the head {bytes([0, 0, 8, dimensions]).hex()}", head[:4].hex() or "nothing"
                )
            shape = struct.unpack(f">{dimensions}I", head[4:])
            size = math.prod(shape)
            if size > MOST_BYTES:
                raise UsageError(f"--data {source}: {path} says it holds {size:,} bytes; {MOST_BYTES:,} are the most.")
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(source, path, "a whole file", f"one that cannot be unpacked ({error})") from None
    if len(content) != size:
        found = f"{len(head) + len(content):,}" if len(content) < size else "more"
        raise damaged(source, path, f"{len(head) + size:,} bytes", found)
    return path, np.frombuffer(content, dtype=np.uint8).reshape(shape)
