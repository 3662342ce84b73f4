"""Pictures as rows of a table: a row for each pixel."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from resexp.core.result import Value
from resexp.training.surface_rows import single


def pixels(quantity: str, picture: Tensor, place: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """Rows of a picture (height, width): x to the right and y down, from 0."""
    for y, line in enumerate(picture.tolist()):
        for x, value in enumerate(line):
            yield {**place, "y": y, "x": x, "quantity": quantity, **single(float(value))}
