"""JSON Schema of experiments.yaml, made from the declarations of the experiments; editors complete and check with it.

It accepts every file that `config.load` accepts, and refuses misspelt keys and wrong types.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from resexp.core.experiment import Experiment
from resexp.runs import registry
from resexp.runs.config import TOP_KEYS
from resexp.runs.entry import MOST_CELLS
from resexp.runs.settings import Settings
from resexp.runs.sweep import takes_range
from resexp.runs.yaml_entry import ENTRY_KEYS, LONGEST_PLOT, NAME_PATTERN, PLOT_PATTERN
from resexp.runs.yaml_sweep import SWEPT_SETTINGS, ZIP

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
        definitions |= _sweep(name, experiment)
    definitions["entry"] = _entry(experiments)
    return {
        "$schema": DIALECT,
        "title": "experiments.yaml",
        **_mapping(
            {
                "include": {
                    "description": TOP_KEYS["include"],
                    "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}],
                },
                "defaults": _defaults(common, experiments, definitions),
                "experiments": {
                    "description": TOP_KEYS["experiments"],
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
                    "additionalProperties": {"$ref": "#/$defs/entry"},
                },
            },
            anyOf=[{"required": ["experiments"]}, {"required": ["include"]}],
        ),
        "$defs": definitions,
    }


def _entry(experiments: dict[str, type[Experiment]]) -> Schema:
    """One entry; which parameters its `set` and `sweep` take depends on its experiment."""
    names = [{"const": name, "description": cls.summary()} for name, cls in experiments.items()]
    form: dict[str, Schema] = {
        "experiment": {"oneOf": names},
        "set": {"type": ["object", "null"]},
        "sweep": {"type": ["object", "null"]},
        "seeds": {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST_CELLS},
                {"type": "array", "minItems": 1, "items": _reference("settings", "seed")},
            ]
        },
        "plot": {"type": "string", "maxLength": LONGEST_PLOT, "pattern": f"^{PLOT_PATTERN}$"},
        "check": {"type": "boolean"},
    }
    properties = {key: {"description": meaning, **form[key]} for key, meaning in ENTRY_KEYS.items()}
    conditions = [
        {
            "if": {"properties": {"experiment": {"const": name}}, "required": ["experiment"]},
            "then": {
                "properties": {
                    "set": {"$ref": f"#/$defs/{_place(name)}"},
                    "sweep": {"$ref": f"#/$defs/{_place(name, 'sweep')}"},
                    **({} if cls.random else {"seeds": False}),
                }
            },
        }
        for name, cls in experiments.items()
    ]
    return _mapping(properties, required=["experiment"], allOf=conditions)


def _sweep(name: str, experiment: type[Experiment]) -> Schema:
    """What the `sweep` of an experiment takes, and the `zip` in it."""
    sweep, paired = _place(name, "sweep"), _place(name, "zip")
    swept: Schema = {}
    for model, place, keys in (
        (Settings, "settings", SWEPT_SETTINGS if experiment.random else ()),
        (experiment, _place(name), experiment.model_fields),
    ):
        for key in keys:
            values: list[Schema] = [{"type": "array", "minItems": 1, "items": _reference(place, key)}]
            if takes_range(model.model_fields[key].annotation):
                values.append({"type": "string"})
            swept[key] = {"description": model.model_fields[key].description, "anyOf": values}
    group = {"$ref": f"#/$defs/{paired}"}
    together = {ZIP: {"anyOf": [group, {"type": "array", "items": group}]}}
    return {
        paired: {**_mapping(_spellings(paired, swept)), "type": ["object", "null"]},
        sweep: {**_mapping(_spellings(sweep, swept) | together), "type": ["object", "null"]},
    }


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


def _place(experiment: str, key: str = "set") -> str:
    """Where an experiment's parameters stand among the definitions; no experiment's name can clash there."""
    return f"{key}.{experiment}"


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
