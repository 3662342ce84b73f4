"""What --set and the environment make of the entries of a file."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resexp.core.errors import UsageError
from resexp.runs import registry
from resexp.runs.config import load, override
from resexp.runs.entry import Entry, cells
from resexp.runs.resolve import resolve

from .stand_ins import EXPERIMENTS, Net

FILE = """\
defaults: {seed: 3}
experiments:
  a:
    experiment: net
    set: {scheme: residual}
    sweep: {depth: [1, 2], zip: {width: [3, 3, 4], beta: [5, 6, 5]}}
    seeds: 2
  b: {experiment: chain, set: {depth: 8}}
"""


@pytest.fixture(autouse=True, scope="module")
def _registry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "experiments", lambda: EXPERIMENTS)
        yield


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Entry, ...]:
    path = tmp_path_factory.mktemp("override") / "experiments.yaml"
    path.write_text(FILE)
    return load(path).entries


Said = Callable[..., tuple[Entry, Entry]]


@pytest.fixture(scope="module")
def said(entries: tuple[Entry, ...]) -> Said:
    """The two entries with these assignments and this environment."""

    def said(*assignments: str, **environment: str) -> tuple[Entry, Entry]:
        first, second = override(entries, assignments, environment)
        return first, second

    return said


def values(entry: Entry, name: str) -> list[Any]:
    """Different values of a parameter over the cells of an entry."""
    data = [{**cell.experiment.model_dump(), **cell.settings.model_dump()} for cell in cells(entry)]
    return list({str(cell[name]): cell[name] for cell in data}.values())


def test_nothing_said_changes_nothing(entries: tuple[Entry, ...], said: Said) -> None:
    assert said(RESEXP_OTHER_DEPTH="1", RESEXP_NET_DPETH="1") == entries


def test_a_value_replaces_what_is_set_or_swept_where_the_parameter_exists(said: Said) -> None:
    first, second = said("depth=5", "width=7", "min-length=2")
    assert (first.parameters["depth"], first.sweeps, first.count) == (5, ("beta",), 4)
    assert second.parameters == {"depth": 5, "min_length": 2}
    assert values(first, "beta") == [5, 6]
    assert {cell.sources["depth"] for cell in cells(first)} == {"flag"}
    assert {cell.sources["beta"] for cell in cells(first)} == {"file"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("depth=1:4:x2", [1, 2, 4]),
        ("depth=10, 20,10", [10, 20]),
        ("depth=[4, 5]", [4, 5]),
        ("beta=1e-3", [1e-3]),
        ("biased=1", [True]),
        ("biased=false,true", [False, True]),
        ("model=10", ["10"]),
        ("model=null", [None]),
        ("model=a=b", ["a=b"]),
        ("lengths=1,2", [(1, 2)]),
        ("lengths=[1, 2]", [(1, 2)]),
        ("lengths=[[1], []]", [(1,), ()]),
        ("scheme=plain,residual", ["plain", "residual"]),
        ("dtype=float64,float32", ["float64", "float32"]),
        ("memory=2GB", ["2GB"]),
        ("threads=2", [2]),
        ("seed=7", [7]),
        ("seed=4,2", [4, 2]),
        ("seeds=3", [3, 4, 5]),
        ("seeds=5:7", [5, 6, 7]),
    ],
)
def test_text_is_read_as_in_a_file_or_as_an_option(said: Said, text: str, expected: list[Any]) -> None:
    first, _ = said(text)
    assert values(first, text.partition("=")[0].replace("seeds", "seed")) == expected
    assert first.count == len(list(cells(first)))


def test_the_last_assignment_counts_and_seeds_begin_with_the_seed(said: Said) -> None:
    first, _ = said("depth=1", "seeds=2", "depth=9", "seed=5")
    assert values(first, "depth") == [9]
    assert values(first, "seed") == [5, 6]


def test_an_axis_keeps_its_place_and_a_new_one_is_fastest(said: Said) -> None:
    first, _ = said("biased=true,false", "depth=7,8,9")
    assert first.sweeps == ("depth", "width", "beta", "biased")


def test_seeds_and_dtypes_of_what_is_not_random_are_not_swept(said: Said) -> None:
    first, second = said("seeds=4", "dtype=float32,float64")
    assert (first.count, second.count) == (2 * 3 * 2 * 4, 1)


def test_flags_come_before_the_environment_and_that_before_the_file(said: Said) -> None:
    first, _ = said("depth=5", RESEXP_NET_DEPTH="6", RESEXP_NET_WIDTH="10,20", RESEXP_NET_BIASED="1")
    assert (values(first, "depth"), values(first, "width"), values(first, "biased")) == ([5], [10, 20], [True])
    sources = next(cells(first)).sources
    assert [sources[name] for name in ("depth", "width", "scheme", "model")] == [
        "flag",
        "environment",
        "file",
        "default",
    ]


ENVIRONMENT = st.fixed_dictionaries(
    {},
    optional={
        "RESEXP_NET_DEPTH": st.sampled_from(["5", "1:3", "2,4"]),
        "RESEXP_NET_LENGTHS": st.sampled_from(["1", "1,2"]),
        "RESEXP_NET_BIASED": st.sampled_from(["true", "0", "yes"]),
        "RESEXP_NET_MODEL": st.sampled_from(["a", "b,c", "1"]),
        "RESEXP_NET_SEED": st.sampled_from(["5", "1:3", "2,4"]),
        "RESEXP_NET_MEMORY": st.sampled_from(["2GB"]),
    },
)


@given(ENVIRONMENT)
@settings(deadline=None)
def test_the_environment_says_what_it_says_to_a_command(environment: dict[str, str]) -> None:
    plain = Entry("a", "net", {"depth": 3, "beta": 0.5}, {"dtype": "float64"})
    (entry,) = override([plain], (), environment)
    of_a_command = resolve(Net, {}, {**plain.parameters, **plain.settings}, environment=environment)
    assert [cell.data() for cell in cells(entry)] == [cell.data() for cell in of_a_command]


@pytest.mark.parametrize(
    ("assignments", "environment", "sentences"),
    [
        (["dpeth=3"], {}, ["--set dpeth=3: 'dpeth' is not a parameter of any selected entry (did you mean 'depth'?)."]),
        (["depth"], {}, ["--set depth: has no value; write it as in --set depth=50."]),
        (["depth=0"], {}, ["--set depth=0: In the entry 'a': depth 0: must be at least 1 (blocks)."]),
        (["depth="], {}, ["--set depth=: In the entry 'a': depth has no value."]),
        (["depth=x", "beta=-1", "q"], {}, ["--set q: ", "--set depth=x: In the entry 'a': depth", "--set beta=-1: In"]),
        (["depth=1:0"], {}, ["In the entry 'a': depth 1:0: a range is start:stop"]),
        (["depth=[1"], {}, ["not valid YAML"]),
        (["depth=[]"], {}, ["depth must be a list such as [a, b]"]),
        (["lengths=1,x"], {}, ["--set lengths=1,x: In the entry 'a': lengths \"x\": must be a whole number"]),
        (["seeds=0"], {}, ["seeds 0: must be from 1 to 1,000,000"]),
        (["seeds=" + "9" * 5000], {}, ["seed"]),
        (["threads=1,2"], {}, ["must be a whole number"]),
        (["width=1000"], {}, ["--set width=1000: In the entry 'a': with depth 2, beta 5: depth 2 times width 1000"]),
        (["depth=1:5000", "width=1:500"], {}, ["--set depth=1:5000, --set width=1:500: In the entry 'a': The entry"]),
        (
            [],
            {"RESEXP_NET_DEPTH": "0"},
            ["RESEXP_NET_DEPTH=0: In the entry 'a': depth 0: must be at least 1 (blocks)."],
        ),
        (["depth=a\nb\udc80\x1b[31m"], {}, ["--set depth="]),
    ],
    ids=str,
)
def test_refuses_with_a_sentence_for_each(
    said: Said, assignments: Sequence[str], environment: dict[str, str], sentences: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        said(*assignments, **environment)
    for sentence in sentences:
        assert sentence in str(caught.value)
    assert all(len(line) < 1000 and line.isprintable() for line in str(caught.value).splitlines())


@given(st.sampled_from(["depth", "lengths", "model", "seeds", "dtype", "q"]), st.text(max_size=12))
@settings(deadline=None)
def test_any_text_is_taken_or_refused_in_sentences(entries: tuple[Entry, ...], name: str, text: str) -> None:
    try:
        first, _ = override(entries, [f"{name}={text}"], {})
    except UsageError as error:
        assert all(line.isprintable() for line in str(error).splitlines())  # noqa: PT017
    else:
        assert next(cells(first))


def test_what_is_wrong_for_many_entries_alike_is_told_once(said: Said) -> None:
    with pytest.raises(UsageError, match=r"\A--set depth=0: In the entry 'a': depth 0: [^\n]*\Z"):
        said("depth=0")


def test_files_on_the_command_line_need_no_trust(said: Said, tmp_path: Path) -> None:
    assert values(said(f"model={tmp_path}")[0], "model") == [str(tmp_path)]
