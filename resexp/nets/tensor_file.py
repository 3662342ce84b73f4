"""Tensors in a file of the safetensors format, which holds numbers and nothing that could run.

    8 bytes: length of the head, little-endian; the head, JSON: {name: {dtype, shape, data_offsets: [begin, end]}};
    the numbers, little-endian, one tensor after another

Source: the format's description, github.com/huggingface/safetensors.
"""

import json
import math
import struct
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
TYPES = {name: dtype for dtype, name in NAMES.items()}
LONGEST_HEAD = 2**24
assert sys.byteorder == "little", "tensors are stored as they lie in memory"


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The file of these tensors."""
    head: dict[str, object] = {}
    parts: list[bytes] = []
    place = 0
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous().flatten()
        part = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        offsets = [place, place + len(part)]
        head[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        parts.append(part)
        place += len(part)
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def from_bytes(content: bytes) -> dict[str, Tensor]:
    """The tensors of a file. Raises ValueError where it is not whole."""
    try:
        (length,) = struct.unpack_from("<Q", content)
        if length > min(LONGEST_HEAD, len(content) - 8):
            raise ValueError("the head is longer than the file")
        head = json.loads(content[8 : 8 + length])
        numbers = memoryview(content)[8 + length :]
        return {name: _tensor(entry, numbers) for name, entry in head.items() if name != "__metadata__"}
    except (struct.error, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no file of tensors ({error})") from None


def _tensor(entry: Mapping[str, Any], numbers: memoryview) -> Tensor:
    dtype, shape = TYPES[entry["dtype"]], tuple(map(int, entry["shape"]))
    begin, end = map(int, entry["data_offsets"])
    size = math.prod(shape) * dtype.itemsize
    if not 0 <= begin <= end <= len(numbers) or end - begin != size:
        raise ValueError("a tensor is not as long as its shape says")
    if not size:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(numbers[begin:end]), dtype=dtype).view(shape)
