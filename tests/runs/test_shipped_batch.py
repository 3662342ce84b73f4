"""The files at the root: experiments.yaml is valid, and so says the schema."""

from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from resexp.runs import batch, config
from resexp.runs.schema import experiments_schema

ROOT = Path(__file__).parents[2]


def test_experiments_yaml_resolves_and_covers_its_figures_and_problems() -> None:
    loaded = config.load(ROOT / "experiments.yaml")
    assert len(list(batch.plan(loaded.entries))) == sum(entry.count for entry in loaded.entries) >= 25
    names = " ".join(entry.name for entry in loaded.entries)
    figures, problems = (2, 3, 5, 6, 13, 14), range(1, 14)
    for subject in (*(f"figure-11-{number}" for number in figures), *(f"problem-11-{number}" for number in problems)):
        assert subject in names
    assert {entry.experiment for entry in loaded.entries} == {
        "variance",
        "autocorrelation",
        "batchnorm",
        "batchnorm-backward",
        "decay-limit",
        "degradation",
        "dead-units",
        "gamma",
        "hessian",
        "independence",
        "landscape",
        "learning-rate",
        "lesion",
        "normaliser-axes",
        "normalisers",
        "overflow",
        "path-gradients",
        "paths",
        "parameters",
        "pose",
        "regularisers",
        "segmentation",
        "smoothness",
        "trainable-depth",
        "uncertainty",
        "unet-sizes",
        "unravel",
        "weight-decay",
        "width-or-depth",
    }


def test_the_schema_takes_experiments_yaml() -> None:
    Draft202012Validator(experiments_schema()).validate(yaml.safe_load((ROOT / "experiments.yaml").read_text()))
