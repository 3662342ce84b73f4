"""From the located tree of a YAML file to mappings of parameters; what is wrong is noted at its place."""

from collections.abc import Collection, Sequence
from typing import Any

from resexp.core.errors import nearest
from resexp.runs.complaints import shown
from resexp.runs.yaml_source import Located, Members, Position, Problems


def mapping(node: Located, what: str, problems: Problems, *, empty_allowed: bool = True) -> Members:
    """Members of a mapping; a note in `problems` and none where it is something else."""
    if isinstance(node.value, dict):
        return node.value
    if node.value is not None or not empty_allowed:
        problems.add(node.position, f"{what} must be a mapping (lines of `key: value`), not {kind(node)}.")
    return {}


def spelled(node: Located, what: str, problems: Problems) -> Members:
    """Members of a mapping of parameters, hyphens in their names made underscores."""
    members: Members = {}
    for key, member in mapping(node, what, problems).items():
        name = key.replace("-", "_")
        if name in members:
            lines = f"on line {members[name].key.line} and on line {member.key.line}"
            problems.add(member.key, f"'{name}' stands twice, spelled with '-' and with '_': {lines}.")
        members.setdefault(name, member)
    return members


def refuse_unknown(members: Members, known: Collection[str], what: str, problems: Problems) -> None:
    """Note each key that is not known, with the nearest one that is."""
    for key, member in members.items():
        if key not in known:
            problems.add(member.key, f"'{key}' is not {what}{nearest(key, known)}.")


def place(node: Located, steps: Sequence[int | str]) -> Position:
    """Position of the value that a pydantic location leads to inside the node, or of the nearest one around it."""
    for step in steps:
        if isinstance(step, int) and isinstance(node.value, tuple) and step < len(node.value):
            node = node.value[step]
        elif isinstance(step, str) and isinstance(node.value, dict) and step in node.value:
            node = node.value[step].node
    return node.position


def data(members: Members) -> dict[str, Any]:
    """The values as plain data."""
    return {name: member.node.data() for name, member in members.items()}


def kind(node: Located) -> str:
    """What stands there, in words."""
    if node.value is None:
        return "empty"
    names = {dict: "a mapping", tuple: "a list", bool: "true or false", str: "text"}
    name = names.get(type(node.value), "a number")
    return f"{name} ({shown(node.value)})" if isinstance(node.value, str | int | float) else name
