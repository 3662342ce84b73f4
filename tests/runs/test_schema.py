"""The JSON Schema of experiments.yaml: it agrees with what `config.load` takes."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from resexp.core.errors import UsageError
from resexp.core.experiment import param
from resexp.core.result import Value
from resexp.core.table import Table
from resexp.runs import config, registry
from resexp.runs.schema import experiments_schema


class Silent(Table):
    """An experiment without rows."""

    axes = ("x",)
    columns = ("x",)

    def table(self) -> Iterable[dict[str, Value]]:
        return ()


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
        patch.setattr(registry, "experiments", lambda: {"chain": Chain, "settings": Grid})
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
ENTRIES = st.fixed_dictionaries(
    {"experiment": st.sampled_from(["chain", "settings"])},
    optional={
        "set": SETS,
        "plot": st.sampled_from(["a.svg", "figures/a.b-c.pdf", "a..svg", "a/.svg", "b.PNG"]),
        "check": st.booleans(),
    },
)
FILES = st.fixed_dictionaries(
    {
        "experiments": st.dictionaries(
            st.from_regex(r"[a.]{1,3}", fullmatch=True) | st.just("a-1_B"), ENTRIES, max_size=2
        )
    },
    optional={"defaults": SETS},
)


@given(FILES)
@settings(max_examples=200, deadline=None)
def test_accepts_what_load_accepts(accepts: Callable[[Any], bool], path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content))
    try:
        config.load(path)
    except UsageError:
        return
    assert accepts(content)
