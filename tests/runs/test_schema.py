"""The JSON Schema of experiments.yaml: it agrees with what `config.load` takes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from resexp.core.errors import UsageError
from resexp.core.experiment import param
from resexp.runs import config, registry
from resexp.runs.schema import experiments_schema

from .stand_ins import Net, Silent


class Chain(Silent):
    """A stand-in with several kinds of parameter."""

    depth: int = param(10, "blocks", ge=1)
    min_length: int | None = param(None, "shortest length, in branches", positional=True)
    norm: Literal["none", "batchnorm"] = param("none", "normalisation")
    lengths: tuple[int, ...] = param((), "lengths to list")


class Grid(Silent):
    """Another, which shares depth and nothing else."""

    depth: float = param(2.0, "scale", ge=0)


@pytest.fixture(autouse=True, scope="module")
def _registry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "experiments", lambda: {"chain": Chain, "settings": Grid, "net": Net})
        yield


@pytest.fixture(scope="module")
def accepts() -> Callable[[Any], bool]:
    schema = experiments_schema()
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema, allow_nan=False))
    validator = Draft202012Validator(schema)
    return lambda content: validator.is_valid(content)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("schema") / "experiments.yaml"


def test_says_what_the_declarations_say() -> None:
    definitions = experiments_schema()["$defs"]
    chain = definitions["set.chain"]
    assert chain["description"] == "A stand-in with several kinds of parameter."
    assert chain["properties"]["depth"] == {
        "default": 10,
        "description": "blocks",
        "minimum": 1,
        "type": "integer",
    }
    assert set(chain["properties"]) == {
        *("depth", "min_length", "min-length", "norm", "lengths"),
        *config.Settings.model_fields,
    }
    assert "positional" not in json.dumps(definitions)


def test_a_sweep_takes_lists_of_what_a_parameter_takes_and_ranges_of_numbers() -> None:
    definitions = experiments_schema()["$defs"]
    swept = definitions["sweep.net"]["properties"]
    assert set(swept) == {*Net.model_fields, "dtype", "zip"}
    listed = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/set.net/properties/depth"}}
    assert swept["depth"] == {"description": "blocks", "anyOf": [listed, {"type": "string"}]}
    assert "min-length" in definitions["sweep.chain"]["properties"]
    assert "dtype" not in definitions["sweep.chain"]["properties"]
    assert set(definitions["zip.net"]["properties"]) == {*Net.model_fields, "dtype"}


def file(set_: dict[str, Any] | None = None, **entry: Any) -> dict[str, Any]:
    return {"experiments": {"a": {"experiment": "chain", "set": set_, **entry}}}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"experiment": {}},
        {"experiments": {}},
        {"experiments": {"a": None}},
        {"experiments": {"a": {"set": {}}}},
        {"experiments": {"../a": {"experiment": "chain"}}},
        {**file(), "defualts": {}},
        {**file(), "defaults": {"dpeth": 1}},
        {**file(), "defaults": {"depth": "ten"}},
        file(experiment="chian"),
        file(plto="a.svg"),
        file(plot="../a.svg"),
        file(plot="a.jpg"),
        file(check="yes"),
        file({"dpeth": 1}),
        file({"min--length": 1}),
        file({"depth": "ten"}),
        file({"depth": True}),
        file({"depth": 1.5}),
        file({"depth": 0}),
        file({"norm": "batchnrom"}),
        file({"lengths": 1}),
        file({"lengths": ["x"]}),
        file({"seed": -1}),
        file({"memory": 0}),
        file({"norm": "none"}, experiment="settings"),
        file(seeds=8),
        *(file(experiment="net", seeds=seeds) for seeds in (0, "8", 1.5, True, [], [-1], ["x"], 10**7)),
        *(file(experiment="net", sweep=sweep) for sweep in (1, {"depth": 1}, {"depth": []}, {"depth": ["x"]})),
        *(file(experiment="net", sweep={key: [1, 2]}) for key in ("dpeth", "seed", "threads", "memory", "lengths")),
        *(file(experiment="net", sweep=sweep) for sweep in ({"scheme": "1:3"}, {"dtype": ["float16"]})),
        *(file(experiment="net", sweep={"zip": zip_}) for zip_ in (1, [1], {"dpeth": [1]}, {"depth": 1}, {"zip": {}})),
        file(sweep={"dtype": ["float64"]}),
        {"include": 1},
        {"include": []},
        {"include": [1]},
        {**file(), "include": None},
    ],
    ids=str,
)
def test_refuses_what_load_refuses(accepts: Callable[[Any], bool], path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError):
        config.load(path)
    assert not accepts(content)


VALUES = st.sampled_from([1, 0, 3, 2.5, "none", "batchnorm", "float64", True, None, [1, 2], [], "4GB", "cpu"])
KEYS = st.sampled_from(["depth", "min_length", "min-length", "norm", "lengths", *config.Settings.model_fields])
VALUED = {"norm": "none", "lengths": [1], "dtype": "float64", "device": "cpu"}
SETS = (
    st.none()
    | st.dictionaries(KEYS, VALUES, max_size=2)
    | st.sets(KEYS).map(lambda keys: {key: VALUED.get(key, 5) for key in keys})
)
SWEPT = {
    "depth": st.sampled_from([[1, 2], "1:3", [2.5], "1:2:0.5", "7", []]),
    "min_length": st.sampled_from([[1, None], "1:2"]),
    "min-length": st.just([3]),
    "lengths": st.sampled_from([[[1], []], [1]]),
    "dtype": st.just(["float32", "float64"]),
    "width": st.sampled_from([[1, 2], "1:3"]),
    "scheme": st.just(["plain", "residual"]),
    "biased": st.sampled_from([[True, False], [1]]),
}
PAIRED = st.none() | st.fixed_dictionaries({}, optional=SWEPT)
SWEEPS = st.none() | st.fixed_dictionaries({}, optional={**SWEPT, "zip": PAIRED | st.lists(PAIRED, max_size=2)})
ENTRIES = st.fixed_dictionaries(
    {"experiment": st.sampled_from(["chain", "settings", "net"])},
    optional={
        "set": SETS,
        "sweep": SWEEPS,
        "seeds": st.sampled_from([1, 8, [1, 2], [0], [], 0]),
        "plot": st.sampled_from(["a.svg", "figures/a.b-c.pdf", "a..svg", "a/.svg", "b.PNG"]),
        "check": st.booleans(),
    },
)
NAMES = st.from_regex(r"[a.]{1,3}", fullmatch=True) | st.just("a-1_B")
FILES = st.fixed_dictionaries(
    {"experiments": st.dictionaries(NAMES, ENTRIES, max_size=2)},
    optional={"defaults": SETS, "include": st.sampled_from(["other.yaml", ["other.yaml", "./other.yaml"], [], 1])},
) | st.just({"include": "other.yaml"})


@pytest.mark.parametrize(
    "content",
    [
        file(experiment="net", seeds=8),
        file(experiment="net", seeds=[0, 7], sweep=None),
        file(experiment="net", sweep={"depth": "1:64:x2", "scheme": ["plain", "residual"], "lengths": [[1], []]}),
        file(experiment="net", sweep={"dtype": ["float32", "float64"], "beta": [1, 0.5], "biased": [True, False]}),
        file(experiment="net", sweep={"zip": {"depth": [1, 1], "width": "1:2"}}),
        file(experiment="net", sweep={"zip": [{"depth": [1, 2], "width": [3, 4]}, None, {"beta": [1]}]}),
        file(sweep={"min-length": [1, None]}),
        {"include": "other.yaml"},
        {**file(), "include": ["other.yaml", "./other.yaml"]},
    ],
    ids=str,
)
def test_accepts_sweeps_seeds_and_includes(accepts: Callable[[Any], bool], path: Path, content: Any) -> None:
    path.with_name("other.yaml").write_text("experiments: {other: {experiment: net}}")
    path.write_text(yaml.safe_dump(content))
    assert config.load(path)
    assert accepts(content)


@given(FILES)
@settings(max_examples=200, deadline=None)
def test_accepts_what_load_accepts(accepts: Callable[[Any], bool], path: Path, content: Any) -> None:
    path.with_name("other.yaml").write_text("experiments: {other: {experiment: net}}")
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        config.load(path)
    except UsageError:
        return
    assert accepts(content)
