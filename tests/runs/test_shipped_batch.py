"""The files at the root: experiments.yaml is valid, and its schema is the one that the program prints."""

import json
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from resexp.runs import batch, config
from resexp.runs.schema import experiments_schema

ROOT = Path(__file__).parents[2]


def test_experiments_yaml_resolves_and_covers_its_figures_and_problems() -> None:
    loaded = config.load(ROOT / "experiments.yaml")
    assert len(batch.plan(loaded.entries)) == len(loaded.entries) >= 12
    names = " ".join(entry.name for entry in loaded.entries)
    for subject in ("11-6-a", "11-6-b", "11-6-c", "11-2", "11-5", "11-6", "11-8", "11-10"):
        assert subject in names
    assert {entry.experiment for entry in loaded.entries} == {"variance", "paths", "parameters"}


def test_the_schema_at_the_root_is_what_resexp_schema_prints_and_takes_experiments_yaml() -> None:
    text = (ROOT / "experiments.schema.json").read_text()
    assert text == json.dumps(experiments_schema(), indent=1) + "\n", "run: resexp schema > experiments.schema.json"
    Draft202012Validator(json.loads(text)).validate(yaml.safe_load((ROOT / "experiments.yaml").read_text()))
