"""JSON Schema of experiments.yaml, made from the declarations of the experiments; editors complete and check with it.

It accepts every file that `config.load` accepts, and refuses misspelt keys and wrong types.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from resexp.core.experiment import Experiment
from resexp.runs import registry
from resexp.runs.config import ENTRY_KEYS, LONGEST_PLOT, NAME_PATTERN, PLOT_PATTERN, TOP_KEYS
from resexp.runs.settings import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def experiments_schema() -> Schema:
    """Schema of experiments.yaml (JSON Schema, draft 2020-12) for the experiments that are installed."""
    experiments = registry.experiments()
    definitions: Schema = {}
    settings = _properties("settings", Settings, definitions)
    common = {key: _reference("settings", key) for key in settings}
    definitions["settings"] = {"properties": settings}
    for name, experiment in experiments.items():
        place = _place(name)
        known = common | _spellings(place, _properties(place, experiment, definitions))
        definitions[place] = {
            **_mapping(known, title=name, description=experiment.summary()),
            "type": ["object", "null"],
        }
    definitions["entry"] = _entry(experiments)
    return {
        "$schema": DIALECT,
        "title": "experiments.yaml",
        **_mapping(
            {
                "defaults": _defaults(common, experiments, definitions),
                "experiments": {
                    "description": TOP_KEYS["experiments"],
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
                    "additionalProperties": {"$ref": "#/$defs/entry"},
                },
            },
            required=["experiments"],
        ),
        "$defs": definitions,
    }


def _entry(experiments: dict[str, type[Experiment]]) -> Schema:
    """One entry; which parameters its `set` takes depends on its experiment."""
    names = [{"const": name, "description": cls.summary()} for name, cls in experiments.items()]
    form: dict[str, Schema] = {
        "experiment": {"oneOf": names},
        "set": {"type": ["object", "null"]},
        "plot": {"type": "string", "maxLength": LONGEST_PLOT, "pattern": f"^{PLOT_PATTERN}$"},
        "check": {"type": "boolean"},
    }
    properties = {key: {"description": meaning, **form[key]} for key, meaning in ENTRY_KEYS.items()}
    conditions = [
        {
            "if": {"properties": {"experiment": {"const": name}}, "required": ["experiment"]},
            "then": {"properties": {"set": {"$ref": f"#/$defs/{_place(name)}"}}},
        }
        for name in experiments
    ]
    return _mapping(properties, required=["experiment"], allOf=conditions)


def _defaults(common: Schema, experiments: Iterable[str], definitions: Schema) -> Schema:
    """Common settings, and every parameter as any of the experiments that have it takes it."""
    takers: dict[str, list[Schema]] = {}
    for name in experiments:
        for key in definitions[_place(name)]["properties"]:
            takers.setdefault(key, []).append(_reference(_place(name), key))
    parameters = {key: {"anyOf": references} for key, references in takers.items() if key not in common}
    return {
        **_mapping(common | parameters),
        "type": ["object", "null"],
        "description": TOP_KEYS["defaults"],
    }


def _place(experiment: str) -> str:
    """Where an experiment's parameters stand among the definitions; no experiment's name can clash there."""
    return f"set.{experiment}"


def _properties(place: str, model: type[BaseModel], definitions: Schema) -> Schema:
    """Schema of each field of a model; what the fields refer to moves to `definitions`."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{place}.{{model}}")
    for key, definition in schema.get("$defs", {}).items():
        definitions[f"{place}.{key}"] = definition
    properties: dict[str, Schema] = schema.get("properties", {})
    # `positional` is for the command line, and a title that repeats the name hides the description in editors
    return {
        key: {word: value for word, value in field.items() if word not in {"title", "positional"}}
        for key, field in properties.items()
    }


def _spellings(place: str, properties: Schema) -> Schema:
    """The properties under both spellings, min_length and min-length."""
    hyphened = {key.replace("_", "-"): _reference(place, key) for key in properties if "_" in key}
    return properties | hyphened


def _reference(definition: str, key: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}/properties/{key}"}


def _mapping(properties: Schema, **more: Any) -> Schema:
    """Schema of a mapping with these keys and no others."""
    return {**more, "type": "object", "properties": properties, "additionalProperties": False}
