"""A folder of images as tensors, with limits on what a file may unpack to."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from resexp.core.errors import MissingError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
MOST_PIXELS = 50_000_000
MOST_BYTES = 64 * 1024 * 1024
MOST_FILES = 100_000
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Folder:
    """Images under a folder, in the order of their paths; shape: (channels, height, width) of the tensors."""

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[0] not in {1, 3}:
            raise UsageError(
                f"--input {folder}@{'x'.join(map(str, shape))}: images are 3xHEIGHTxWIDTH, or 1x for grey."
            )
        if not folder.is_dir():
            raise UsageError(f"--input {folder}: there is no such folder.")
        found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        self.paths = sorted(path for path, _ in zip(found, range(MOST_FILES), strict=False))
        self.shape = shape
        if not self.paths:
            raise UsageError(f"--input {folder}: there is no image in it ({', '.join(sorted(SUFFIXES))}).")

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, order: "Tensor") -> "Tensor":
        """The images of these numbers, (images, *shape)."""
        import torch

        return torch.stack([self._tensor(self.paths[int(k)]) for k in order])

    def _tensor(self, path: Path) -> "Tensor":
        import numpy as np
        import torch

        channels, height, width = self.shape
        with _opened(path) as image:
            image.draft("RGB", (width, height))  # a large JPEG is unpacked at the size that is needed
            try:
                image = image.convert("RGB" if channels == 3 else "L").resize((width, height))
            except Exception as error:  # noqa: BLE001  (decoders raise what they like)
                raise UsageError(f"{path} cannot be read as an image: {error}") from None
        pixels = torch.from_numpy(np.array(image, dtype=np.float32) / 255.0).reshape(height, width, channels)
        mean, deviation = (torch.tensor(x if channels == 3 else (sum(x) / 3,)) for x in IMAGENET)
        return ((pixels - mean) / deviation).permute(2, 0, 1)


def _opened(path: Path) -> Any:
    """The image, once its header says that it is not too large to unpack."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingError(f"{path}: images need Pillow: pip install pillow.") from None
    if path.stat().st_size > MOST_BYTES:
        raise UsageError(f"{path} is larger than {MOST_BYTES // 2**20} MiB, the most that is read.")
    try:
        image = Image.open(path, formats=FORMATS)
        pixels = image.width * image.height
    except Exception as error:  # noqa: BLE001  (decoders raise what they like)
        raise UsageError(f"{path} cannot be read as an image: {error}") from None
    if pixels > MOST_PIXELS:
        image.close()
        raise UsageError(f"{path} unpacks to {pixels:,} pixels, and {MOST_PIXELS:,} are the most.")
    return image
