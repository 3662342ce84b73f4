"""A folder of images with a folder for each class, all brought to one size.

Where there are folders `train` and `test` (or `val`), these are the parts; otherwise one image in five of each class is
for the test. Images are unpacked within limits (core/images.py).
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from resexp.core.errors import UsageError
from resexp.core.images import MOST_FILES, SUFFIXES, Folder
from resexp.training.data.dataset import Data, standardised, stratified
from resexp.training.data.files import folder_of
from resexp.training.data.source import Source

MOST_BYTES = 8 * 2**30


def load(source: Source) -> Data:
    """Images of the source's shape. Raises UsageError where there are no classes, or a file is no image."""
    root = folder_of(source)
    test_root = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if test_root is not None and (root / "train").is_dir():
        names = _classes(source, root / "train")
        train, test = (_read(source, part, names) for part in (root / "train", test_root))
    else:
        names = _classes(source, root)
        images, labels = _read(source, root, names)
        first, second = stratified(labels)
        train, test = (images[first], labels[first]), (images[second], labels[second])
    return standardised("folder", train, test, classes=len(names), mirrors=True)


def _classes(source: Source, root: Path) -> list[str]:
    """Names of the folders with images in them."""
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and _has_images(path))
    if len(names) < 2:
        raise UsageError(
            f"--data {source}: {root} needs a folder of images for each of two classes or more; "
            f"{len(names)} with images found ({', '.join(sorted(SUFFIXES))})."
        )
    return names


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES and path.is_file() for path in folder.rglob("*"))


def _read(source: Source, root: Path, names: list[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images (examples, *shape) and labels (examples,) of the classes under a folder."""
    absent = [name for name in names if not (root / name).is_dir() or not _has_images(root / name)]
    if absent:
        raise UsageError(f"--data {source}: {root} has no images of {', '.join(absent[:3])}.")
    folders = [Folder(root / name, source.shape) for name in names]
    count = sum(map(len, folders))
    needed = count * int(np.prod(source.shape)) * 4
    if count > MOST_FILES or needed > MOST_BYTES:
        raise UsageError(
            f"--data {source}: {count:,} images of {'x'.join(map(str, source.shape))} take {needed / 2**30:.1f} GiB; "
            f"at most {MOST_FILES:,} and {MOST_BYTES / 2**30:.0f} GiB are kept in memory. Use a smaller size after @."
        )
    images = np.concatenate([folder.take(torch.arange(len(folder))).numpy() for folder in folders])
    return images, np.repeat(np.arange(len(folders)), [len(folder) for folder in folders])
