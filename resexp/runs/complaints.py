"""What is wrong with values, in sentences for people who read a file rather than a command line."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from resexp.core.errors import UsageError
from resexp.core.experiment import explain_problem

_OPTION = re.compile(r"(?<!\S)--(?=[a-z])")
"""Dashes of an option in a sentence made for the command line; a key of the file has none."""


class Complaint(NamedTuple):
    """What is wrong. where: names the value, and steps into it; None where it is the combination of values."""

    where: tuple[int | str, ...] | None
    sentence: str


def complaints(model: type[BaseModel], values: Mapping[str, Any], *, strict: bool = True) -> list[Complaint]:
    """What the model has against the values; strict: text does not stand for a number."""
    try:
        model.model_validate(values, strict=strict)
    except UsageError as error:
        return [Complaint(None, _OPTION.sub("", str(error)))]
    except ValidationError as error:
        return [_complaint(model, values, dict(details)) for details in error.errors(include_url=False)]
    return []


def about(model: type[BaseModel], name: str, value: Any, *, strict: bool = True) -> list[Complaint]:
    """What the model has against one value, whatever the others may be."""
    return [complaint for complaint in complaints(model, {name: value}, strict=strict) if complaint.where is not None]


def _complaint(model: type[BaseModel], values: Mapping[str, Any], problem: dict[str, Any]) -> Complaint:
    text = shown(problem.get("input"))
    # the nearest choice is sought for the bare word
    problem["input"] = text.strip('"') if problem["type"] == "literal_error" else text
    sentence = _OPTION.sub("", explain_problem(model, "this entry", problem))
    located = bool(problem["loc"]) and problem["loc"][0] in values
    return Complaint(problem["loc"] if located else None, sentence)


def shown(value: object) -> str:
    """The value as it could stand in the file, on one line."""
    if value is None:
        return "(empty)"
    text = json.dumps(value, ensure_ascii=not str(value).isprintable(), default=str)
    return text if len(text) <= 60 else text[:57] + "..."
