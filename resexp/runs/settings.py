"""Settings common to all experiments: what a run takes from its surroundings rather than from its subject."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, field_validator

from resexp.core.errors import UsageError, nearest
from resexp.core.experiment import explain_problem
from resexp.core.lab import quarter_of_memory

_UNITS = {"": 1, "B": 1, "K": 10**3, "KB": 10**3, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9, "T": 10**12}
_UNITS["TB"] = 10**12
_MEMORY_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "integer", "exclusiveMinimum": 0}]}


class Settings(BaseModel):
    """Seed, device, dtype and budgets of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, description="seed of all random numbers", ge=0, lt=2**63)
    device: str = Field("auto", description="where to compute: auto, cpu, cuda, cuda:N or mps")
    dtype: Literal["float32", "float64"] = Field("float32", description="floating-point type of the networks")
    threads: int = Field(1, description="processor cores to use; the numbers do not depend on it", ge=1, le=1024)
    memory: Annotated[str | int, WithJsonSchema(_MEMORY_SCHEMA)] = Field(
        "auto", description="most memory to use, as in 2GB; auto: a quarter of this machine's"
    )

    @field_validator("device")
    @classmethod
    def _device_has_a_known_name(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError(f"is not a device{nearest(device, ('auto', 'cpu', 'cuda', 'mps'))}")
        return device

    @field_validator("memory")
    @classmethod
    def _memory_is_a_size(cls, memory: str | int) -> str | int:
        memory_bytes(memory)
        return memory

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Validate settings; raise one UsageError that names every wrong one."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [explain_problem(cls, "the common settings", dict(p)) for p in error.errors()]
            raise UsageError("\n".join(problems)) from None


def memory_bytes(memory: str | int) -> int:
    """Bytes of a size such as 500MB, 2GB or auto. Raises ValueError where it is none."""
    if memory == "auto":
        return quarter_of_memory()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?[bB]?)", str(memory).strip())
    if not match or float(match[1]) == 0:
        raise ValueError("is not a size such as 500MB")
    return int(float(match[1]) * _UNITS[match[2].upper()])
