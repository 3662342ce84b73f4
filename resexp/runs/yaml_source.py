"""YAML with positions: a file in, a tree of values that know their line and column out.

Scalars follow the core schema of YAML 1.2, as editors and JSON do: 1e-3 is a number, `yes`, `off` and 2024-01-01
are text. Nothing here builds a Python object, and every size (file, depth, aliases, numbers) has a bound.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from resexp.core.errors import UsageError

LARGEST_FILE = 1_000_000
"""Bytes."""
DEEPEST = 16
"""Levels of nesting, aliases followed."""
MOST_WRITTEN = 100_000
"""Values, keys among them, written in one file: reading them takes seconds."""
MOST_REPEATED = 10_000
"""Values that aliases may add to those written in the file."""
LARGEST_INTEGER = 2**63 - 1

Scalar = str | int | float | bool | None


class Position(NamedTuple):
    """Where something stands in the file, counted from one."""

    line: int
    column: int


@dataclass(frozen=True)
class Located:
    """A value and where it stands."""

    value: "Scalar | tuple[Located, ...] | Members"
    position: Position

    def data(self) -> Any:
        """The value as plain Python data; sequences are tuples."""
        if isinstance(self.value, tuple):
            return tuple(item.data() for item in self.value)
        if isinstance(self.value, dict):
            return {name: member.node.data() for name, member in self.value.items()}
        return self.value


@dataclass(frozen=True)
class Member:
    """One key of a mapping: where the key stands, and its value."""

    key: Position
    node: Located


Members = dict[str, Member]


@dataclass
class Problems:
    """What is wrong in a file, and where."""

    path: Path
    found: dict[Position, list[str]] = field(default_factory=dict)

    def add(self, position: Position, sentence: str, *, follows: bool = True) -> None:
        """Note a problem. follows: it may be a consequence of another one here, which then stands alone."""
        sentences = self.found.setdefault(position, [])
        if not (sentences and follows) and sentence not in sentences:
            sentences.append(sentence)

    def lines(self) -> list[str]:
        """A line for each problem, in the order of the file."""
        return [
            f"{self.path}:{position.line}:{position.column}: {shortened(' '.join(sentence.split()), 600)}"
            for position in sorted(self.found)
            for sentence in self.found[position]
        ]

    def raise_any(self) -> None:
        """Raise one UsageError that names every problem, if there is one."""
        if self.found:
            raise UsageError("\n".join(self.lines()))


def read(path: Path) -> str:
    """Text of the file; UsageError where it is missing, not a file, too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: this is a folder; name the YAML file in it.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{path}: cannot be read: {reason}.") from None
    if len(content) > LARGEST_FILE:
        raise UsageError(f"{path}: is larger than {LARGEST_FILE // 1_000_000} MB, the most a settings file may be.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        position = Position(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise _fatal(path, position, "is not UTF-8 text; save the file as UTF-8.") from None


def parse(text: str, problems: Problems) -> Located | None:
    """The document in the text, or None where it has no value.

    Broken syntax raises UsageError at once; whatever leaves the rest readable is added to `problems`.
    """
    try:
        root = _Loader(text).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = _position(mark) if mark else Position(1, 1)
        raise _fatal(problems.path, position, _syntax_sentence(text, position, error)) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        position = Position(before.count("\n") + 1, error.position - before.rfind("\n"))
        sentence = f"The character U+{ord(text[error.position]):04X} is not allowed in YAML."
        raise _fatal(problems.path, position, sentence) from None
    except (ValueError, OverflowError) as error:  # PyYAML's own number parsing: "\UFFFFFFFF", %YAML 999...
        raise UsageError(f"{problems.path}: is not valid YAML: {error}.") from None
    if root is None or (isinstance(root, ScalarNode) and root.tag == _NULL):
        return None
    return _locate(root, problems)


def scalar(text: str) -> Scalar:
    """What the text would be as a plain scalar of a file. Raises ValueError, whose message goes on after the text."""
    if _half_a_character(text):
        raise ValueError("is half of a character")
    for _, pattern, convert in _SCALARS.values():
        if re.fullmatch(pattern, text):
            return convert(text)
    return text


def _fatal(path: Path, position: Position, sentence: str) -> UsageError:
    return UsageError(f"{path}:{position.line}:{position.column}: {shortened(sentence, 600)}")


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


class _Refusal(yaml.MarkedYAMLError):
    """Valid YAML that this project does not take."""


def _syntax_sentence(text: str, position: Position, error: yaml.MarkedYAMLError) -> str:
    if isinstance(error, _Refusal):
        return str(error.problem)
    lines = text.splitlines()
    line = lines[position.line - 1] if position.line <= len(lines) else ""
    if "\t" in line[: position.column]:
        indented = "is indented with a tab" if not line[: line.index("\t")].strip() else "has a tab"
        return f"Line {position.line} {indented} where YAML allows only spaces; replace the tab with spaces."
    context = f" {error.context}" if error.context else ""
    if context and error.context_mark:
        context += f" that begins on line {error.context_mark.line + 1}"
    return f"This is not valid YAML: {error.problem}{context}."


@dataclass(frozen=True)
class _Extent:
    """How large a node is once its aliases are followed."""

    size: int
    depth: int


class _Loader(yaml.SafeLoader):
    """SafeLoader up to the tree of nodes, with YAML 1.2's scalars and bounds on depth and on aliases."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own name; emptied of YAML 1.1's)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._written = 0
        self._open = 0
        self._extents: dict[Node, _Extent] = {}

    def document(self) -> Node | None:
        """The only document of the text, or None."""
        self.get_event()  # type: ignore[no-untyped-call]
        if self.check_event(yaml.StreamEndEvent):
            return None
        root = self.compose_document()
        if not self.check_event(yaml.StreamEndEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _Refusal(None, None, "A second document begins here; a settings file holds one.", mark)
        return root

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Compose one node, refusing it before it grows out of bounds."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            alias = super().compose_node(parent, index)
            if alias not in self._extents:
                raise _Refusal(None, None, "This alias stands inside the value it refers to.", mark)
            return alias
        self._written += 1
        self._open += 1
        if self._open > DEEPEST:
            raise _Refusal(None, None, f"Values are nested more than {DEEPEST} levels deep here.", mark)
        if self._written > MOST_WRITTEN:
            raise _Refusal(None, None, f"The file has more than {MOST_WRITTEN} values; split it.", mark)
        node = super().compose_node(parent, index)
        self._open -= 1
        if node is not None:
            self._extents[node] = self._measure(node, mark)
        return node

    def _measure(self, node: Node, mark: Any) -> _Extent:
        children = [self._extents[child] for child in _children(node)]
        extent = _Extent(1 + sum(c.size for c in children), 1 + max((c.depth for c in children), default=0))
        if extent.depth > DEEPEST or extent.size > self._written + MOST_REPEATED:
            raise _Refusal(None, None, "The aliases in this value repeat too much; write it out.", mark)
        return extent


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


_TAG = "tag:yaml.org,2002:"
_TEXT, _NULL, _BOOL, _INT, _FLOAT = (_TAG + name for name in ("str", "null", "bool", "int", "float"))


def _whole_number(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > LARGEST_INTEGER:
        raise ValueError(f"is too large; whole numbers go up to {LARGEST_INTEGER}")
    return int(text)


def _finite_number(text: str) -> float:
    value = float("inf" if text.lower().endswith("inf") else text.lower().replace(".nan", "nan"))
    if value != value or abs(value) == float("inf"):
        raise ValueError("is not a finite number")
    return value


_SCALARS: dict[str, tuple[str, str, Callable[[str], Scalar]]] = {
    # tag: (first characters, pattern, conversion); int comes before float, whose pattern takes integers too
    _NULL: ("~nN", r"~|null|Null|NULL|", lambda text: None),
    _BOOL: ("tTfF", r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    _INT: ("-+0123456789", r"[-+]?[0-9]+", _whole_number),
    _FLOAT: (
        "-+.0123456789",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _finite_number,
    ),
}

for _tag, (_first, _pattern, _) in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})\\Z"), [*_first, *([""] if _tag == _NULL else [])])


def _locate(node: Node, problems: Problems) -> Located:
    """The node as a located value; a wrong one is noted and stands in as text."""
    position = _position(node.start_mark)
    if isinstance(node, ScalarNode):
        try:
            return Located(_scalar(node), position)
        except ValueError as error:
            problems.add(position, f"{shortened(node.value)} {error}.")
            return Located(node.value, position)
    expected = "map" if isinstance(node, MappingNode) else "seq"
    if node.tag != _TAG + expected:
        problems.add(position, f"The tag {_tag_name(node)} is not allowed here; leave it out.")
    if isinstance(node, MappingNode):
        return Located(_members(node, problems), position)
    return Located(tuple(_locate(item, problems) for item in node.value), position)


def _scalar(node: ScalarNode) -> Scalar:
    text: str = node.value
    if _half_a_character(text):
        raise ValueError("is half of a character")
    if node.tag == _TEXT:
        return text
    if node.tag not in _SCALARS:
        raise ValueError(f"has the tag {_tag_name(node)}, which is not allowed here; leave it out")
    _, pattern, convert = _SCALARS[node.tag]
    if not re.fullmatch(pattern, text):
        raise ValueError(f"does not fit its tag {_tag_name(node)}")
    return convert(text)


def _half_a_character(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _members(node: MappingNode, problems: Problems) -> Members:
    members: Members = {}
    for key, value in node.value:
        position = _position(key.start_mark)
        located = _locate(value, problems)
        if not isinstance(key, ScalarNode):
            problems.add(position, "A key must be text, not a list or a mapping.")
        elif key.tag != _TEXT:
            problems.add(
                position, f"The key {shortened(key.value) or '(empty)'} must be text; put it in quotes or rename it."
            )
        elif key.value == "<<":
            sentence = "Merge keys (<<) are not supported; use `defaults:` for shared settings."
            problems.add(position, sentence)
        elif not key.value.isprintable() or len(key.value) > 100:
            problems.add(position, "A key must be printable text of at most 100 characters.")
        elif key.value in members:
            first = members[key.value].key.line
            problems.add(position, f"'{key.value}' stands twice: on line {first} and on line {position.line}.")
        else:
            members[key.value] = Member(position, located)
    return members


def _tag_name(node: Node) -> str:
    return shortened(str(node.tag).replace(_TAG, "!!"))


def shortened(text: str, longest: int = 60) -> str:
    """The text fit for one line of a terminal."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: longest + 1])
    return text if len(text) <= longest else text[: longest - 3] + "..."
