"""Someone's own net, by where its factory is: `file.py:factory`, `package.module:factory`, or a name of the zoo.

A factory is called without arguments, or with literal ones: `timm:create_model('resnet18')`. What it names may also be
a class, or a module that is there already. Loading runs its code; state files are read as plain tensors only.
"""

import ast
import hashlib
import importlib
import importlib.util
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from resexp.core.errors import MissingError, ResexpError, UsageError, nearest

if TYPE_CHECKING:
    from torch import nn

OURS = str(Path(__file__).resolve().parent.parent)


@dataclass(frozen=True)
class Spec:
    """Where a net's factory is. place: file, module, or empty for the zoo; name: attribute, or name in the zoo.

    arguments: as written, or None where nothing is to be passed.
    """

    text: str
    place: str
    name: str
    arguments: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether the factory is in a file of its own."""
        return self.place.endswith(".py")


def parse(text: str) -> Spec:
    """Read a spec; nothing is loaded. Raises UsageError for one that names no factory."""
    from resexp.nets.zoo import FAMILIES

    call = text[text.index("(") + 1 : -1] if text.endswith(")") and "(" in text else None
    head = text if call is None else text[: text.index("(")]
    place, colon, name = head.rpartition(":")
    if head.endswith(".py"):
        raise UsageError(f"{text}: name the factory in the file, as in {head}:make_net.{_defined(Path(head))}")
    if place.endswith(".py") or (colon and (call is not None or ("." in place and place not in FAMILIES))):
        if not name.isidentifier():
            raise UsageError(f"{text}: after the colon comes the name of a factory, as in {place}:make_net.")
        return Spec(text, place, name, call)
    return Spec(text, "", text)


def factory(text: str) -> "Callable[[], nn.Module]":
    """A function that builds the net. Raises UsageError or ResexpError where there is none."""
    spec = parse(text)
    if not spec.place:
        from resexp.nets import zoo

        return zoo.factory(spec.text)
    found = _attribute(spec)
    arguments, named = _arguments(spec)

    def build() -> "nn.Module":
        from torch import nn

        net = found
        if isinstance(found, type) or not isinstance(found, nn.Module):
            with _folder_of(spec), their_errors(f"The factory {spec.text}"):
                net = found(*arguments, **named)
        if not isinstance(net, nn.Module):
            raise UsageError(f"{spec.text} gives {type(net).__name__}, not a torch.nn.Module.")
        lazy = next((name for name, p in net.named_parameters() if isinstance(p, nn.UninitializedParameter)), None)
        if lazy is not None:
            raise UsageError(f"{spec.text}: {lazy} has no shape yet; run the net once on an example in the factory.")
        return net

    return build


def callable_of(text: str) -> Callable[..., Any]:
    """A function by `file.py:name` or `package.module:name`, such as a loss."""
    spec = parse(text)
    if not spec.place or spec.arguments is not None:
        raise UsageError(f"{text}: write it as file.py:function or package.module:function.")
    found = _attribute(spec)
    if not callable(found):
        raise UsageError(f"{text} is a {type(found).__name__}, not a function.")
    return found  # type: ignore[no-any-return]


def default_input(text: str) -> str:
    """What one example for the net looks like: what the zoo says, or the factory's own attribute `input`."""
    spec = parse(text)
    if not spec.place:
        from resexp.nets import zoo

        return "x".join(map(str, zoo.input_shape(spec.text)))
    said = getattr(_attribute(spec), "input", "")
    return said if isinstance(said, str) else ""


def content(text: str) -> str:
    """What tells two versions of a factory's code apart: a digest of its file, a package's version; nothing of ours."""
    spec = parse(text)
    if spec.is_file:
        try:
            return hashlib.sha256(Path(spec.place).read_bytes()).hexdigest()[:16]
        except OSError:
            return ""
    head = spec.place.partition(".")[0] or spec.text.partition(":")[0]
    if spec.place.startswith("resexp.") or (not spec.place and head not in {"timm", "torchvision"}):
        return ""
    distribution = packages_distributions().get(head, [head])[0]
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return ""


def _attribute(spec: Spec) -> Any:
    module = _module(spec)
    if not hasattr(module, spec.name):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UsageError(f"{spec.place} has no '{spec.name}'{nearest(spec.name, names)}.")
    return getattr(module, spec.name)


def _module(spec: Spec) -> ModuleType:
    if not spec.is_file:
        try:
            return importlib.import_module(spec.place)
        except ModuleNotFoundError as error:
            if error.name and (spec.place == error.name or spec.place.startswith(error.name + ".")):
                raise UsageError(f"{spec.text}: there is no module '{error.name}' here.") from None
            raise MissingError(f"{spec.text} needs '{error.name}', which is not installed.") from error
        except Exception as error:
            raise ResexpError(f"{spec.place} cannot be imported.\n{their_traceback(error)}") from error
    path = Path(spec.place).resolve()
    if not path.is_file():
        raise UsageError(f"{spec.text}: there is no file {spec.place}.")
    name = f"_resexp_net_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    described = importlib.util.spec_from_file_location(name, path)
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    sys.modules[name] = module  # dataclasses and pickles look themselves up there
    with _folder_of(spec), their_errors(f"{spec.place}, where the net is,"):
        described.loader.exec_module(module)
    return module


@contextmanager
def _folder_of(spec: Spec) -> Iterator[None]:
    """Let a file import what lies beside it."""
    if not spec.is_file:
        yield
        return
    folder = str(Path(spec.place).resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextmanager
def their_errors(what: str) -> Iterator[None]:
    """Errors of someone else's code as ResexpError, with their traceback and not ours."""
    try:
        yield
    except (ResexpError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise ResexpError(f"{what} failed.\n{their_traceback(error)}") from error


def their_traceback(error: BaseException, also: tuple[str, ...] = ()) -> str:
    """The traceback without our own frames. also: beginnings of further files to leave out."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith((OURS, "<frozen", *also))]
    head = ["Traceback (most recent call last):\n", *traceback.format_list(theirs)] if theirs else []
    return "".join([*head, *traceback.format_exception_only(error)]).rstrip()


def _arguments(spec: Spec) -> tuple[list[Any], dict[str, Any]]:
    """Literal arguments of a call. Raises UsageError where they are something else."""
    if not spec.arguments:
        return [], {}
    try:
        call = ast.parse(f"f({spec.arguments})", mode="eval").body
        assert isinstance(call, ast.Call)
        named = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg is not None}
        return [ast.literal_eval(argument) for argument in call.args], named
    except (SyntaxError, ValueError, AssertionError):
        raise UsageError(f"{spec.text}: arguments must be numbers, texts, lists and the like.") from None


def _defined(path: Path) -> str:
    """Which functions and classes a file defines, read without running it."""
    try:
        body = ast.parse(path.read_text()).body
    except (OSError, SyntaxError, ValueError):
        return ""
    kinds = ast.FunctionDef | ast.ClassDef
    names = [node.name for node in body if isinstance(node, kinds) and not node.name.startswith("_")]
    return f" It defines {', '.join(names[:8])}." if names else ""


def load_state(net: "nn.Module", path: Path) -> None:
    """Read a net's weights from a .pt, .pth or .safetensors file, as plain tensors: no code in it is run."""
    state = _state(path)
    try:
        with warnings.catch_warnings():  # on the meta device, where memory is estimated, names and shapes are compared
            warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
            missing, unexpected = net.load_state_dict(state, strict=False)
    except RuntimeError as error:
        told = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise UsageError(f"{path} does not fit the net: {told}") from None
    if missing or unexpected:
        names = ", ".join([*missing, *unexpected][:3])
        raise UsageError(
            f"{path} does not fit the net: {len(missing)} missing, {len(unexpected)} unknown ({names}...)."
        )


def why_unread(error: Exception) -> str:
    """Why a file was not read as tensors, without torch's own hint to read it as code."""
    told = str(error).partition("\n")[0]
    return "it is damaged, or holds more than tensors." if "weights_only" in told else told


def _state(path: Path) -> dict[str, Any]:
    import torch

    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    if path.suffix == ".safetensors":
        from resexp.nets.tensor_file import from_bytes

        try:
            return dict(from_bytes(path.read_bytes()))
        except ValueError as error:
            raise UsageError(f"{path} cannot be read: {error}.") from None
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  (a damaged file can raise anything)
        raise UsageError(
            f"{path} is no file of plain tensors, and nothing else is loaded: {why_unread(error)}"
        ) from None
    state = loaded.get("state_dict", loaded.get("model", loaded)) if isinstance(loaded, dict) else None
    if not isinstance(state, dict):
        raise UsageError(f"{path} holds a {type(loaded).__name__}, not a net's state.")
    return state
