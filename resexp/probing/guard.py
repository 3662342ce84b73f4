"""Keeps a pass within the memory budget: looks at what the process holds whenever a large tensor appears."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from resexp.core.errors import ResexpError

LARGE = 1 << 20
"""Bytes of a tensor that are worth a look at the memory."""
_STATM = Path("/proc/self/statm")


@dataclass
class Guard:
    """budget: bytes that may be held beyond what was held at the start, on the device the net is on."""

    budget: int
    device: torch.device
    before: int = field(init=False)

    def __post_init__(self) -> None:
        """Take what is held now as the start."""
        self.before = self._held()

    def check(self, made: Tensor) -> None:
        """Raise ResexpError where the budget is exceeded; made: the tensor that was just made."""
        if made.numel() * made.element_size() < LARGE:  # sparse tensors have no nbytes
            return
        held = self._held() - self.before
        if held > self.budget:
            raise ResexpError(
                f"The net holds {held / 1e6:,.0f} MB in the middle of its forward pass and --memory allows "
                f"{self.budget / 1e6:,.0f} MB: use a smaller --batch or input, or more --memory."
            )

    def _held(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        try:
            return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError, ValueError):  # no such file outside Linux: nothing to go by
            return 0
