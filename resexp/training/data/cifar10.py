"""CIFAR-10 from a folder: 50,000 training and 10,000 test images of 3 x 32 x 32 pixels in ten classes.

The binary version is preferred: six files `*.bin` of 10,000 records, each a label and 3,072 pixels, a byte each. The
version for Python is a pickle, and a pickle can run anything: only arrays, texts, numbers and lists are read from it.

Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexp.training.data.dataset import Data, standardised
from resexp.training.data.files import damaged, folder_of, missing, read_exactly
from resexp.training.data.source import Source

Bytes = NDArray[np.uint8]
Part = tuple[Bytes, Bytes]

SHAPE, CLASSES = (3, 32, 32), 10
PIXELS = 3 * 32 * 32
RECORDS = 10_000
MOST_BYTES = 64 * 1024 * 1024
TRAIN, TEST = tuple(f"data_batch_{number}" for number in range(1, 6)), ("test_batch",)


def load(source: Source) -> Data:
    """CIFAR-10, from the binary version where there is one. Raises UsageError for a missing or damaged file."""
    for inside, ending, read in (("cifar-10-batches-bin", ".bin", _binary), ("cifar-10-batches-py", "", _pickled)):
        folder = folder_of(source, inside)
        if any((folder / f"{name}{ending}").exists() for name in (*TRAIN, *TEST)):
            parts = (
                [read(source, folder / f"{name}{ending}") for name in names]  # of each file
                for names in (TRAIN, TEST)
            )
            train, test = (tuple(map(np.concatenate, zip(*part, strict=True))) for part in parts)
            return standardised("cifar10", (train[0], train[1]), (test[0], test[1]), classes=CLASSES, mirrors=True)
    raise missing(source, folder_of(source) / f"{TRAIN[0]}.bin", f"{RECORDS * (1 + PIXELS):,} bytes")


def _binary(source: Source, path: Path) -> Part:
    """Images (records, 3, 32, 32) and labels (records,) of one file."""
    content = np.frombuffer(read_exactly(source, path, RECORDS * (1 + PIXELS)), dtype=np.uint8)
    records = content.reshape(RECORDS, 1 + PIXELS)
    return _checked(source, path, records[:, 1:], records[:, 0])


def _pickled(source: Source, path: Path) -> Part:
    expected = f"a dict with {RECORDS:,} labels and {RECORDS:,} x {PIXELS:,} bytes"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise damaged(source, path, expected, f"{path.stat().st_size:,} bytes")
        content = ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        images, labels = np.asarray(content[b"data"]), np.asarray(content[b"labels"])
    except FileNotFoundError:
        raise missing(source, path, expected) from None
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        size = path.stat().st_size
        raise damaged(source, path, expected, f"{size:,} bytes that are none ({error})") from None
    if images.shape != (RECORDS, PIXELS) or images.dtype != np.uint8 or labels.shape != (RECORDS,):
        found = f"{images.dtype} {images.shape} and {len(labels):,} labels"
        raise damaged(source, path, expected, found)
    return _checked(source, path, images, labels)


def _checked(source: Source, path: Path, images: Bytes, labels: NDArray[np.generic]) -> Part:
    numbers = np.asarray(labels, dtype=np.int64)
    if numbers.min() < 0 or numbers.max() >= CLASSES:
        raise damaged(source, path, f"labels 0 to {CLASSES - 1}", f"label {numbers.max()}")
    return images.reshape(len(images), *SHAPE), numbers.astype(np.uint8)


class ArraysOnly(pickle.Unpickler):
    """Reads pickles of plain data and NumPy arrays; whatever else a pickle asks for is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """What an array is rebuilt by. Raises UnpicklingError for all else."""
        if (module, name) in {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}:
            return _empty_array  # the true one would take any size from the file
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return _byte_type
        if (module, name) == ("_codecs", "encode"):
            return _as_bytes
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no data")


def _empty_array(*_: object) -> Bytes:
    """An array that the pickle then fills."""
    return np.empty(0, dtype=np.uint8)


def _as_bytes(text: str, _: object = None) -> bytes:
    """Bytes that Python 3 wrote for Python 2."""
    return text.encode("latin1")


def _byte_type(name: object, *_: object) -> np.dtype[Any]:
    """The only type of number that is needed."""
    if name not in {"u1", b"u1"}:
        raise pickle.UnpicklingError(f"it has numbers of type {name!r}")
    return np.dtype(np.uint8)
