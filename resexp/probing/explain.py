"""Exceptions out of someone's net as sentences: which layer, what it expected, what it got, where in their code."""

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from resexp.core.errors import ResexpError, UsageError
from resexp.nets.load import their_traceback

if TYPE_CHECKING:
    from resexp.probing.frames import Frame, Frames
    from resexp.probing.passes import Inputs

OURS = str(Path(__file__).resolve().parent.parent)
TORCHS = str(Path(torch.__file__).resolve().parent)


def explain_forward(error: Exception | SystemExit, frames: "Frames", inputs: "Inputs") -> ResexpError:
    """What to say of an exception in a forward pass."""
    if not isinstance(error, ResexpError) and _is_ours(error):
        raise error
    text, frame = str(error), frames.stack[-1] if frames.stack else None
    if "allocate memory" in text or "out of memory" in text:
        return ResexpError("This machine ran out of memory in the forward pass: use a smaller --batch or input.")
    if "not implemented for 'Half'" in text or "not implemented for 'BFloat16'" in text:
        return ResexpError(
            f"{_layer(frame)} cannot run in half precision on this device ({text}): return net.float() from the "
            "factory, or use --device cuda."
        )
    if isinstance(error, TypeError) and "forward()" in text and "argument" in text:
        return UsageError(
            f"The net's forward takes other arguments: {text.partition('forward() ')[2]}. Join several inputs by '+', "
            "as in --input 3x32x32+10, and name one as in --input x=3x32x32."
        )
    if isinstance(error, RuntimeError | ValueError | IndexError) and frame is not None:
        whole_numbers = not any(x.is_floating_point() for x in _tensors(inputs))
        refused = _refused(frame, text, whole_numbers)
        if refused:
            return UsageError(f"The net refuses an input of {shape_of(inputs)}: {refused}")
    return ResexpError(
        f"The net failed on an input of {shape_of(inputs)}, in {_layer(frame)}.\n{their_traceback(error, (TORCHS,))}"
    )


def _is_ours(error: BaseException) -> bool:
    """Whether an exception was raised in our own code: a bug, and not the net's."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    calls = ("output = function(*args, **kwargs)", "return net(")
    return last.filename.startswith(OURS) and not (last.line or "").startswith(calls)


def explain_backward(error: Exception, what: str) -> ResexpError:
    """What to say of an exception in a loss or a factory."""
    return ResexpError(f"The {what} failed.\n{their_traceback(error, (TORCHS,))}")


def shape_of(inputs: "Inputs") -> str:
    """Shapes of the tensors that a net gets, without the batch."""
    shapes = ["x".join(map(str, x.shape[1:])) or "single numbers" for x in _tensors(inputs)]
    return " and ".join(shapes) or "no tensor"


def _tensors(inputs: "Inputs") -> list[Tensor]:
    return [x for x in (*inputs.positional, *inputs.named.values()) if isinstance(x, Tensor)]


def _layer(frame: "Frame | None") -> str:
    if frame is None:
        return "the net"
    return f"layer '{frame.name}' ({type(frame.module).__name__})" if frame.name else type(frame.module).__name__


def _refused(frame: "Frame", text: str, whole_numbers: bool) -> str:
    """Why a layer of torch's own does not take what it got; empty where that cannot be told."""
    got = frame.shapes[0] if frame.shapes else ()
    expected = _expected(frame.module, got)
    if "indices" in text and "Long" in text and isinstance(frame.module, nn.Embedding):
        expected = f"whole numbers below {frame.module.num_embeddings}; use --input tokens:LENGTH"
    elif isinstance(frame.module, nn.Embedding) and "index out of range" in text:
        expected = f"whole numbers below {frame.module.num_embeddings}"
    elif "same dtype" in text and whole_numbers:
        expected = "floats (save the whole numbers of the input as such)"
    if not expected:
        return ""
    return f"{_layer(frame)} expects {expected}, and got a tensor of shape {'x'.join(map(str, got))} (batch first)."


def _expected(module: nn.Module, got: tuple[int, ...]) -> str:
    """What a layer of torch's own takes, where what it got is something else."""
    values: dict[str, Any] = vars(module)
    dimensions = next((d for d in (1, 2, 3) if type(module).__name__.endswith(f"{d}d")), None)
    channels = values.get("in_channels", values.get("num_features"))
    if isinstance(module, nn.Linear):
        return f"{module.in_features} features" if not got or got[-1] != module.in_features else ""
    if isinstance(module, nn.LayerNorm):
        shape = tuple(module.normalized_shape)
        return f"a shape that ends in {'x'.join(map(str, shape))}" if got[len(got) - len(shape) :] != shape else ""
    kernel = values.get("kernel_size")
    space = "x".join(map(str, kernel if isinstance(kernel, tuple) else (kernel,) * (dimensions or 1)))
    if dimensions is not None and channels is None and "Pool" in type(module).__name__ and kernel is not None:
        return f"at least {space} in space"
    if dimensions is not None and channels is not None:
        if len(got) not in {dimensions + 1, dimensions + 2} or (len(got) == dimensions + 2 and got[1] != channels):
            return f"{channels} channels and {dimensions} further dimension{'s' if dimensions > 1 else ''}"
        return f"at least {space} in space" if isinstance(kernel, tuple) else ""
    return ""
