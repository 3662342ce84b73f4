"""experiments.yaml: what is taken, and that everything else is refused with its place and in one sentence."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resexp.core.errors import UsageError
from resexp.runs import config, registry, yaml_entry, yaml_sweep

from .stand_ins import EXPERIMENTS


@pytest.fixture(autouse=True, scope="module")
def _registry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "experiments", lambda: EXPERIMENTS)
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "experiments.yaml"


GOOD = """\
# a comment
defaults:
  seed: 3
  depth: 20
  beta: 1e-3
experiments:
  first-1.x:
    experiment: chain
    set: {min-length: 5, lengths: [1, 2], dtype: float64, beta: 2, memory: 4GB}
    plot: figures/first.svg
    check: true
  second:
    experiment: grid
    set:
  third:
    experiment: chain
    set: {label: 2024-01-01, norm: none}
"""


def test_reads_entries_with_defaults_under_set(path: Path) -> None:
    path.write_text(GOOD)
    batch = config.load(path)
    assert batch.path == path
    first, second, third = batch.entries
    assert first == config.Entry(
        name="first-1.x",
        experiment="chain",
        parameters={"depth": 20, "beta": 2, "min_length": 5, "lengths": (1, 2)},
        settings={"seed": 3, "dtype": "float64", "memory": "4GB"},
        plot="figures/first.svg",
        check=True,
        file=path,
        line=7,
    )
    assert (second.parameters, second.settings, second.plot, second.check) == ({"depth": 20}, {"seed": 3}, None, False)
    assert third.parameters == {"depth": 20, "beta": 1e-3, "label": "2024-01-01", "norm": "none"}


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(path: Path) -> None:
    path.write_text(GOOD)
    plain = config.load(path)
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert config.load(path) == plain


def test_selects_by_glob(path: Path) -> None:
    path.write_text(GOOD)
    batch = config.load(path)
    assert config.select(batch, None) == batch.entries
    assert [entry.name for entry in config.select(batch, "*ir*")] == ["first-1.x", "third"]
    with pytest.raises(UsageError, match=r"'secnd' \(did you mean 'second'\?\)"):
        config.select(batch, "secnd")


def entry(settings: str, **more: str) -> str:
    """A file whose only entry has these settings, from column 11 of line 4 on."""
    lines = [f"    {key}: {value}" for key, value in more.items()]
    return "\n".join(["experiments:", "  a:", "    experiment: chain", f"    set: {settings}", *lines, ""])


def net(*lines: str) -> str:
    """A file whose only entry is random and has these lines, from column 5 of line 4 on."""
    return "\n".join(["experiments:", "  a:", "    experiment: net", *(f"    {line}" for line in lines), ""])


BAD = {
    # name: (text, line:column, phrases)
    "empty": ("", "1:1", ["empty", "experiments:"]),
    "only comments": ("# a\n# b\n", "1:1", ["empty"]),
    "only an empty document": ("---\n...\n", "1:1", ["empty"]),
    "top level list": ("- a\n", "1:1", ["must be a mapping", "a list"]),
    "top level text": ("hello", "1:1", ["must be a mapping", 'text ("hello")']),
    "misspelt top key": (GOOD.replace("defaults:", "defualts:"), "2:1", ["'defualts'", "'defaults'"]),
    "no experiments": ("defaults: {}\n", "1:1", ["`experiments:` is missing"]),
    "experiments empty": ("experiments:\n", "1:1", ["no entries"]),
    "experiments list": ("experiments: [a]\n", "1:14", ["`experiments` must be a mapping", "a list"]),
    "entry empty": ("experiments:\n  a:\n", "2:5", ["'a' must be a mapping", "empty"]),
    "misspelt entry key": (entry("{}", plto="a.svg"), "5:5", ["'plto'", "did you mean 'plot'"]),
    "no experiment": ("experiments:\n  a: {set: {}}\n", "2:3", ["'a' needs the key `experiment:`"]),
    "misspelt experiment": (
        "experiments:\n  a: {experiment: chian}\n",
        "2:19",
        ["no experiment 'chian'", "did you mean 'chain'"],
    ),
    "experiment a number": ("experiments:\n  a: {experiment: 1}\n", "2:19", ["an experiment's name", "a number (1)"]),
    "misspelt parameter": (entry("{dpeth: 3}"), "4:11", ["'dpeth' is not a parameter of chain", "'depth'"]),
    "parameter of another": (entry("{lenghts: [1]}"), "4:11", ["did you mean 'lengths'"]),
    "text for whole number": (entry('{depth: "10"}'), "4:18", ['depth "10"', "whole number", "(blocks)"]),
    "bool for whole number": (entry("{depth: true}"), "4:18", ["depth true", "whole number"]),
    "fraction for whole number": (entry("{depth: 1.5}"), "4:18", ["depth 1.5", "whole number"]),
    "date for whole number": (entry("{depth: 2024-01-01}"), "4:18", ["2024-01-01", "whole number"]),
    "nothing for whole number": (entry("{depth: }"), "4:17", ["depth (empty)", "whole number"]),
    "mapping for whole number": (entry("{depth: {a: 1}}"), "4:18", ["whole number"]),
    "number for text": (entry("{label: 1}"), "4:18", ["label 1", "text"]),
    "out of range": (entry("{depth: 0}"), "4:18", ["depth 0: must be at least 1 (blocks)"]),
    "choice": (entry("{norm: batchnrom}"), "4:17", ["one of none, batchnorm", "did you mean 'batchnorm'"]),
    "item of a list": (entry("{lengths: [1, x]}"), "4:24", ["lengths", '"x"', "whole number"]),
    "scalar for a list": (entry("{lengths: 1}"), "4:20", ["must be a list"]),
    "combination": (entry("{min_length: 11}"), "4:5", ["min-length 11 is more than depth 10"]),
    "negative seed": (entry("{seed: -1}"), "4:17", ["seed -1: must be at least 0"]),
    "wrong dtype": (entry("{dtype: float16}"), "4:18", ["float32, float64"]),
    "no threads": (entry("{threads: 0}"), "4:20", ["threads 0: must be at least 1"]),
    "both spellings": (entry("\n      min-length: 1\n      min_length: 2"), "6:7", ["on line 5 and on line 6"]),
    "nan": (entry("{beta: .nan}"), "4:17", [".nan is not a finite number"]),
    "infinity": (entry("{beta: -.inf}"), "4:17", ["-.inf is not a finite number"]),
    "overflow": (entry("{beta: 1e999}"), "4:17", ["1e999 is not a finite number"]),
    "large integer": (entry("{depth: 9223372036854775808}"), "4:18", ["too large"]),
    "huge integer": (entry("{depth: " + "9" * 9000 + "}"), "4:18", ["too large"]),
    "huge text": (entry("{norm: " + "9x" * 9000 + "}"), "4:17", ["one of none, batchnorm"]),
    "check text": (entry("{}", check="yes"), "5:12", ["`check` must be true or false", '"yes"']),
    "plot a number": (entry("{}", plot="1"), "5:11", ["`plot` must be a plain file name", "a number"]),
    "plot outside": (entry("{}", plot="../a.svg"), "5:11", ["inside the results folder"]),
    "plot far outside": (entry("{}", plot="a/../../b.svg"), "5:11", ["inside the results folder"]),
    "plot absolute": (entry("{}", plot="/tmp/a.svg"), "5:11", ["inside the results folder"]),
    "plot of windows": (entry("{}", plot="'C:\\a.svg'"), "5:11", ["inside the results folder"]),
    "plot extension": (entry("{}", plot="a.jpg"), "5:11", [".png, .svg or .pdf"]),
    "plot long": (entry("{}", plot="a" * 250 + ".svg"), "5:11", ["inside the results folder"]),
    "plot hidden": (entry("{}", plot=".svg"), "5:11", ["inside the results folder"]),
    "plot newline": (entry("{}", plot='"a.svg\\n"'), "5:11", ["inside the results folder"]),
    "plot twice": (
        "experiments:\n  a: {experiment: grid, plot: x.svg}\n  b: {experiment: grid, plot: x.svg}\n",
        "3:3",
        ["'b' and 'a' both plot into 'x.svg'"],
    ),
    "defaults list": (GOOD.replace("defaults:", "defaults: [1]\nx:"), "2:11", ["`defaults` must be a mapping"]),
    "misspelt default": (GOOD.replace("  depth:", "  deph:"), "4:3", ["'deph'", "did you mean 'depth'"]),
    "wrong default": (GOOD.replace("depth: 20", "depth: x"), "4:10", ["In the entry 'first-1.x': depth", "number"]),
    "default for one entry only": (GOOD.replace("depth: 20", "depth: 200"), "4:10", ["'second'", "at most 100"]),
    "wrong default that nobody takes": (
        "defaults: {norm: 1}\nexperiments:\n  a: {experiment: grid}\n",
        "1:18",
        ["norm 1: must be one of"],
    ),
    "wrong setting in defaults": (GOOD.replace("seed: 3", "seed: 1.5"), "3:9", ["whole number"]),
    "sweep a list": (net("sweep: [1]"), "4:12", ["`sweep` must be a mapping"]),
    "sweep of a misspelt parameter": (net("sweep: {dpeth: [1]}"), "4:13", ["'dpeth' is not a param", "'depth'"]),
    "sweep of one value": (net("sweep: {depth: 5}"), "4:20", ["`depth` must be a list", "or a range", "a number (5)"]),
    "sweep of text by a range": (net('sweep: {scheme: "1:3"}'), "4:21", ["`scheme` must be a list, as in [a, b], not"]),
    "sweep of nothing": (net("sweep: {depth: []}"), "4:20", ["`depth` has no values"]),
    "sweep of a wrong value": (net("sweep: {depth: [1, 0, x]}"), "4:24", ["depth 0: must be at least 1"]),
    "sweep of another wrong value": (net("sweep: {depth: [1, 0, x]}"), "4:27", ['depth "x"', "whole number"]),
    "sweep down": (net("sweep: {depth: 5:1}"), "4:20", ["depth 5:1: a range is start:stop"]),
    "sweep of halves": (net("sweep: {depth: 1:2:0.5}"), "4:20", ["depth 1.5: must be a whole number"]),
    "sweep that stands still": (net("sweep: {beta: 1:2:1e-40}"), "4:19", ["the step is lost"]),
    "sweep without end": (net("sweep: {beta: 1:2:1e-9}"), "4:19", ["more than 10,000 values"]),
    "sweep of too large a number": (net("sweep: {depth: 1:1e30:x10}"), "4:20", ["too large"]),
    "sweep of lists by a list": (net("sweep: {lengths: [1, 2]}"), "4:23", ["must be a list, as in"]),
    "sweep of lists by a value": (net("sweep: {lengths: 1:3}"), "4:22", ["must be a list of lists"]),
    "sweep of an item": (net("sweep: {lengths: [[1], [1, x]]}"), "4:32", ["whole number"]),
    "sweep of a value twice": (net("sweep: {beta: [1, 2, 1.0]}"), "4:26", ["beta 1.0 stands twice"]),
    "sweep of the seed": (net("sweep: {seed: [1, 2]}"), "4:13", ["`seeds:`"]),
    "sweep of threads": (net("sweep: {threads: [1, 2]}"), "4:13", ["'threads' cannot be swept", "`set`"]),
    "sweep of a wrong dtype": (net("sweep: {dtype: [float16]}"), "4:21", ["float32, float64"]),
    "sweep of dtype without chance": (entry("{}", sweep="{dtype: [float64]}"), "5:13", ["'dtype' cannot be swept"]),
    "sweep of what is set": (
        net("set: {depth: 2}", "sweep: {depth: [2]}"),
        "5:13",
        ["'depth' stands in `set` (line 4, column 11) and in `sweep`"],
    ),
    "zip of what is swept": (
        net("sweep: {depth: [2], zip: {depth: [2]}}"),
        "4:31",
        ["'depth' stands in `sweep` (line 4, column 13) and in `zip`"],
    ),
    "zip of what is paired": (
        net("sweep: {zip: [{depth: [2]}, {depth: [2]}]}"),
        "4:34",
        ["'depth' stands in `zip` (line 4, column 20) and in `zip`"],
    ),
    "zip of unequal lengths": (
        net("sweep: {zip: {depth: 1:3, width: [1, 2]}}"),
        "4:38",
        ["depth has 3 and width 2"],
    ),
    "zip of a pair twice": (
        net("sweep: {zip: {depth: [1, 1, 1], width: [1, 2, 1]}}"),
        "4:33",
        ["depth 1, width 1 stands twice"],
    ),
    "zip a number": (net("sweep: {zip: 1}"), "4:18", ["`zip` must be a mapping"]),
    "zip in a zip": (net("sweep: {zip: {zip: {}}}"), "4:19", ["'zip' is not a parameter"]),
    "swept combination": (
        net("set: {scheme: residual}", "sweep: {depth: [1, 300], width: [2, 4]}"),
        "5:5",
        ["with depth 300, width 4: depth 300 times width 4 is more than 1000"],
    ),
    "default in a swept combination": (
        "defaults: {scheme: residual}\n" + net("sweep: {depth: [1, 251]}"),
        "5:5",
        ["with depth 251: "],
    ),
    "too many cells": (net("sweep: {depth: 1:5000, width: 1:500}"), "4:5", ["2,500,000 cells; 1,000,000 are"]),
    "too many cells by seeds": (net("sweep: {depth: 1:5000}", "seeds: 1000"), "4:5", ["5,000,000 cells"]),
    "seeds text": (net("seeds: 1:3"), "4:12", ["`seeds` must be a whole number or a list"]),
    "seeds a fraction": (net("seeds: 8.0"), "4:12", ["`seeds` must be a whole number"]),
    "seeds true": (net("seeds: true"), "4:12", ["`seeds` must be a whole number"]),
    "no seeds": (net("seeds: 0"), "4:12", ["must be from 1 to 1,000,000"]),
    "huge number of seeds": (net("seeds: 1000001"), "4:12", ["must be from 1 to 1,000,000"]),
    "seeds beyond the largest": (net("seeds: 2", "set: {seed: 9223372036854775807}"), "4:12", ["not so many"]),
    "empty seeds": (net("seeds: []"), "4:12", ["`seed` has no values"]),
    "negative seed in a list": (net("seeds: [1, -1]"), "4:16", ["seed -1: must be at least 0"]),
    "seed twice": (net("seeds: [1, 2, 1]"), "4:19", ["seed 1 stands twice"]),
    "seeds beside a seed": (
        net("set: {seed: 1}", "seeds: [1, 2]"),
        "5:5",
        ["'seed' stands in `set` (line 4, column 11)"],
    ),
    "seeds without chance": (entry("{}", seeds="8"), "5:5", ["chain has no random numbers", "leave `seeds` out"]),
    "code in set": (net("set: {model: a.py}"), "4:11", ["'model' names code that net runs; use --trust"]),
    "code in a sweep": (net("sweep: {model: [a.py, b.py]}"), "4:13", ["use --trust"]),
    "code in a zip": (net("sweep: {zip: {model: [a.py]}}"), "4:19", ["use --trust"]),
    "code in defaults": ("defaults: {model: a.py}\n" + net("seeds: 2"), "1:12", ["use --trust"]),
    "include a number": ("include: 1\n", "1:10", ["`include` must be a file name", "a number (1)"]),
    "include nothing": ("include: []\n", "1:10", ["`include` names no file"]),
    "include a missing file": ("include: [x.yaml]\n", "1:11", ['"x.yaml": there is no such file']),
    "include a folder": ("include: .\n", "1:10", ["this is a folder"]),
    "include a device": ("include: /dev/zero\n", "1:10", ["no regular file"]),
    "include itself": ("include: ./experiments.yaml\n", "1:10", ["includes this file"]),
    "include a name that is none": ('include: "a\\0b"\n', "1:10", ["cannot be read"]),
    "include a long name": ("include: " + "a" * 5000 + "\n", "1:10", ["cannot be read"]),
    "twice at the top": (entry("{}") + "experiments: {}\n", "5:1", ["'experiments'", "on line 1 and on line 5"]),
    "twice an entry": (GOOD.replace("  third:", "  second:"), "15:3", ["'second'", "on line 12 and on line 15"]),
    "twice a parameter": (entry("{depth: 1, depth: 2}"), "4:21", ["'depth' stands twice"]),
    "tab for indentation": ("experiments:\n\ta: 1\n", "2:1", ["tab", "Line 2", "spaces"]),
    "tab after spaces": ("experiments:\n  a:\n  \texperiment: chain\n", "3:3", ["tab", "Line 3"]),
    "syntax": ("experiments:\n  a: {experiment: chain\n  b: [\n", "3:4", ["not valid YAML"]),
    "unclosed quote": ('experiments: "abc\n', "2:1", ["not valid YAML", "line 1"]),
    "undefined alias": ("experiments: *a\n", "1:14", ["undefined alias"]),
    "alias in itself": ("experiments: &a [*a]\n", "1:18", ["inside the value it refers to"]),
    "alias bomb": (
        "a0: &a0 [1,1]\n" + "".join(f"a{k}: &a{k} [*a{k - 1},*a{k - 1}]\n" for k in range(1, 100)),
        "13:6",
        ["aliases", "repeat too much"],
    ),
    "deep nesting": ("experiments: " + "[" * 10_000, "1:29", ["16 levels deep"]),
    "deep block nesting": ("- " * 10_000, "1:33", ["16 levels deep"]),
    "python object": (entry("!!python/object:os.system {}"), "4:10", ["!!python/object:os.system"]),
    "python tag on text": (entry('{label: !!python/name:os.system ""}'), "4:18", ["!!python/name:os.system"]),
    "local tag": (entry("{label: !file /etc/passwd}"), "4:18", ["tag !file"]),
    "binary": (entry("{label: !!binary aGk=}"), "4:18", ["tag !!binary"]),
    "tag that does not fit": (entry("{depth: !!int x}"), "4:18", ["does not fit its tag !!int"]),
    "half a character": (entry('{label: "\\uD800"}'), "4:18", ["half of a character"]),
    "merge key": (entry("{<<: {depth: 2}}"), "4:11", ["Merge keys", "defaults:"]),
    "number as a key": (entry("{1: 2}"), "4:11", ["The key 1 must be text"]),
    "bool as a name": ("experiments:\n  true: {experiment: chain}\n", "2:3", ["The key true must be text"]),
    "list as a key": ("experiments:\n  ? [a]\n  : {experiment: chain}\n", "2:5", ["A key must be text"]),
    "unprintable key": (entry('{"a\\e[31m": 2}'), "4:11", ["printable"]),
    "two documents": (GOOD + "---\n" + GOOD, "18:1", ["second document"]),
    "control character": ("experiments:\n  \x07", "2:3", ["U+0007"]),
    "number too long for PyYAML": ('a: "\\UFFFFFFFF"', "", ["not valid YAML"]),
} | {
    f"name {name}": (f"experiments:\n  {name}: {{experiment: chain}}\n", "2:3", ["cannot name results"])
    for name in ("../a", "a/b", "a..b", '".."', ".a", '""', '"a b"', "é", '"a\\\\b"', "/a")
}


@pytest.mark.parametrize(("text", "place", "phrases"), BAD.values(), ids=BAD)
def test_refuses_with_place_and_sentence(path: Path, text: str, place: str, phrases: list[str]) -> None:
    path.write_text(text, encoding="utf-8", newline="")
    started = time.perf_counter()
    with pytest.raises(UsageError) as caught:
        config.load(path)
    assert time.perf_counter() - started < 1
    lines = [line for line in str(caught.value).splitlines() if line.startswith(f"{path}:{place}")]
    assert lines, str(caught.value)
    assert all(phrase in lines[0] for phrase in phrases), lines[0]
    assert lines[0].endswith(".")
    assert all(len(line) < 1000 and line.isprintable() for line in str(caught.value).splitlines())


def test_tells_all_problems_at_once_in_the_order_of_the_file(path: Path) -> None:
    path.write_text(
        "defaults: {sed: 1}\n"
        "experiments:\n"
        "  a..b: {}\n"
        "  c: {experiment: chain, set: {depth: 0, bta: 1, norm: x}, polt: a.svg}\n"
        "  d: {experiment: grid, set: {depth: 1.0, depth: 2}}\n"
    )
    with pytest.raises(UsageError) as caught:
        config.load(path)
    places = [line.removeprefix(f"{path}:").partition(": ")[0] for line in str(caught.value).splitlines()]
    assert places == ["1:12", "3:3", "3:3", "4:39", "4:42", "4:56", "4:60", "5:38", "5:43"]


def test_what_is_swept_takes_no_default(path: Path) -> None:
    path.write_text(
        "defaults: {depth: 200}\n"
        "experiments:\n"
        "  a: {experiment: chain}\n"
        "  b: {experiment: grid, sweep: {depth: [1, 2]}}\n"
    )
    assert [entry.parameters for entry in config.load(path).entries] == [{"depth": 200}, {}]


def test_values_of_all_ranges_together_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "Reading", lambda trust: yaml_sweep.Reading(trust, ranged=5))
    path.write_text("experiments:\n" + "".join(f"  {n}: {{experiment: net, sweep: {{depth: 1:3}}}}\n" for n in "abc"))
    with pytest.raises(UsageError, match=r"\A\S*:4:39: All ranges up to here have more than [^\n]*\Z"):
        config.load(path)


def test_combinations_are_tried_within_a_bound_for_the_whole_batch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(
        yaml_entry, "wrong_combinations", lambda entry, most: tried.append(min(most, entry.count)) or []
    )
    swept = "{experiment: net, sweep: {depth: 1:100, width: 1:100}}"
    path.write_text("experiments:\n" + "".join(f"  e{k}: {swept}\n" for k in range(8)))
    assert len(config.load(path).entries) == 8
    assert tried == [2000] * 5 + [2] * 3


def test_a_problem_of_an_alias_is_told_once(path: Path) -> None:
    path.write_text("experiments:\n  a: {experiment: chain, set: &s {depth: 0}}\n  b: {experiment: chain, set: *s}\n")
    with pytest.raises(UsageError) as caught:
        config.load(path)
    assert str(caught.value).count("\n") == 0


def test_refuses_what_is_not_a_readable_file(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(UsageError) as caught:
            config.load(path)
        return str(caught.value)

    assert message(tmp_path / "x.yaml") == f"{tmp_path}/x.yaml: there is no such file."
    assert "a folder" in message(tmp_path)
    assert "cannot be read" in message(tmp_path / "a\0b")
    file = tmp_path / "experiments.yaml"
    file.write_bytes(b"experiments:\n  \xff: 1\n")
    assert message(file) == f"{file}:2:3: is not UTF-8 text; save the file as UTF-8."
    file.write_bytes(b"#" * 1_000_001)
    assert "larger than 1 MB" in message(file)


SWEPT = net(
    "set: {seed: 2, biased: true}",
    "sweep: {depth: 1:64:x2, lengths: [[], [1, 2]], zip: [{width: [1, 2], beta: [0, 1e-3]}, {scheme: [plain]}]}",
    "seeds: 8",
)

WORDS = """
experiments experiment set sweep zip seeds include chain net depth width 1:3 2:64:x2
a [ ] { } &a *a !!int !x << ... --- # ' 1 - .5 1e9 .nan true ~ é
"""
SPACED = [
    "\n",
    "\n  ",
    "\n    ",
    "\t",
    ": ",
    "- ",
    "? ",
    ", ",
    "%YAML 1.2\n",
    "|\n",
    '"',
    "\\UFFFFFFFF",
    "\0",
    "\u2028",
]
PIECES = st.sampled_from(WORDS.split() + SPACED)
CONTENT = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(PIECES, max_size=25).map(lambda pieces: "".join(pieces).encode()),
    st.builds(
        lambda good, at, length, text: (good[: at % len(good)] + text + good[at % len(good) + length :]).encode(),
        st.sampled_from([GOOD, SWEPT]),
        st.integers(0, 1000),
        st.integers(0, 4),
        PIECES,
    ),
)


@given(CONTENT)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_content_is_read_or_refused_in_sentences(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        entries = config.load(path).entries
    except UsageError as error:
        assert all(line.startswith(str(path)) for line in str(error).splitlines())  # noqa: PT017
    else:
        for found in entries:
            for parameters, _ in itertools.islice(found.combinations(), 100):
                registry.experiment(found.experiment).model_validate(parameters, strict=True)
            assert (path.parent / found.name).resolve().parent == path.parent.resolve()


def test_reading_needs_neither_torch_nor_scipy() -> None:
    code = (
        "import sys, resexp.runs.config, resexp.runs.schema; "
        "sys.exit(bool({'torch', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
