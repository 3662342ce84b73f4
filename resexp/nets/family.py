"""A family of architectures: how its names are read, how its nets are built, and what goes into them.

A name is `family`, then `:` and what the family says, then options of the builder, `,key=value`:

    cifar-resnet:20,width=8,norm=group:4,scheme=skipinit
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from resexp.core.errors import nearest

if TYPE_CHECKING:
    from torch import nn

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Family:
    """`read` turns what follows the colon into arguments of `build`; both it and `input_shape` raise ValueError."""

    read: Callable[[str], Arguments]
    build: "Callable[..., nn.Module]"
    input_shape: Callable[..., tuple[int, ...]]
    options: tuple[str, ...] = ()
    """Arguments of `build` that may be given as key=value."""

    def arguments(self, text: str) -> Arguments:
        """Arguments of `build` from what follows the family's name and colon."""
        spec, *options = text.split(",")
        arguments = self.read(spec)
        for option in options:
            key, equals, value = option.partition("=")
            if key not in self.options or not equals:
                raise ValueError(f"no option '{option}'{nearest(key, self.options)}; it has {listed(self.options)}")
            arguments[key] = converted(key, value, self._annotation(key))
        return arguments

    def shape(self, arguments: Arguments) -> tuple[int, ...]:
        """Shape of one input, (channels, *space) or (units), given the arguments of `build`."""
        known = inspect.signature(self.input_shape).parameters
        return self.input_shape(**{key: value for key, value in arguments.items() if key in known})

    def _annotation(self, key: str) -> Any:
        return inspect.signature(self.build, eval_str=True).parameters[key].annotation


def converted(key: str, text: str, annotation: Any) -> Any:
    """The text of an option as what the builder takes; ValueError if it is not that."""
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        if text not in choices:
            raise ValueError(f"{key} is one of {listed(choices)}, not '{text}'{nearest(text, choices)}")
        return text
    if annotation is bool:
        if text not in ("true", "false"):
            raise ValueError(f"{key} is true or false, not '{text}'")
        return text == "true"
    if annotation in (int, int | None):
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"{key} is a positive whole number, not '{text}'")
        return int(text)
    if annotation is float:
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{key} is a number, not '{text}'") from None
    return text


def matched(pattern: str, text: str, expected: str) -> Mapping[str, str | None]:
    """Named groups of the pattern in the text; ValueError with what is expected."""
    match = re.fullmatch(pattern, text)
    if match is None:
        raise ValueError(expected)
    return match.groupdict()


def listed(names: tuple[object, ...] | list[object]) -> str:
    """`a, b and c`."""
    *first, last = map(str, names)
    return f"{', '.join(first)} and {last}" if first else last
