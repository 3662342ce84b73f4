"""`include:` of other files: order, defaults, names, and every problem of every file with the right file's name."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resexp.core.errors import UsageError
from resexp.runs import config, registry

from .stand_ins import EXPERIMENTS

Write = Callable[..., Path]


@pytest.fixture(autouse=True, scope="module")
def _registry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "experiments", lambda: EXPERIMENTS)
        yield


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files by name, and give the first."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            file = tmp_path / f"{name}.yaml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return tmp_path / f"{next(iter(files))}.yaml"

    return write


def problems(path: Path, places: bool = False) -> list[str]:
    with pytest.raises(UsageError) as caught:
        config.load(path)
    lines = [line.removeprefix(f"{path.parent}/") for line in str(caught.value).splitlines()]
    return [line.partition(": ")[0] for line in lines] if places else lines


def one(name: str, more: str = "") -> str:
    return f"  {name}: {{experiment: net{more}}}\n"


def test_entries_of_an_included_file_come_first_with_its_own_defaults(write: Write, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = write(
        main="include: [a.yaml, sub/c.yaml]\ndefaults: {depth: 3}\nexperiments:\n" + one("m"),
        a="include: ../" + tmp_path.name + "/b.yaml\ndefaults: {width: 5, depth: 4}\nexperiments:\n" + one("a"),
        b="experiments:\n" + one("b"),
        **{"sub/c": "include: ../b.yaml\nexperiments:\n" + one("c")},
    )
    batch = config.load(path)
    read = [
        (e.name, e.parameters, str(e.file.resolve().relative_to(tmp_path.resolve())), e.line) for e in batch.entries
    ]
    assert batch.path == path
    assert read == [
        ("b", {}, "b.yaml", 2),
        ("a", {"width": 5, "depth": 4}, "a.yaml", 4),
        ("c", {}, "sub/c.yaml", 3),
        ("m", {"depth": 3}, "main.yaml", 4),
    ]


def test_a_file_may_only_include(write: Write) -> None:
    path = write(main="include: a.yaml\n", a="experiments:\n" + one("a"))
    assert [entry.name for entry in config.load(path).entries] == ["a"]


def test_all_problems_of_all_files_are_told_with_their_files(write: Write) -> None:
    path = write(
        main="include: [a.yaml, b.yaml, x.yaml]\nexperiments:\n" + one("m", ", set: {dpeth: 1}"),
        a="defaults: {depht: 1}\nexperiments:\n" + one("a", ", sweep: {depth: [0]}"),
        b="experiments:\n  b: [\n",
    )
    assert problems(path, places=True) == [
        *("main.yaml:1:27", "main.yaml:3:30"),
        *("a.yaml:1:12", "a.yaml:3:40"),
        "b.yaml:3:1",
    ]


def test_names_and_figures_are_unique_over_all_files(write: Write) -> None:
    path = write(
        main="include: a.yaml\nexperiments:\n" + one("a") + one("b", ", plot: x.svg"),
        a="experiments:\n" + one("a", ", plot: x.svg"),
    )
    names, figures = problems(path)
    assert names == f"main.yaml:3:3: 'a' stands twice: here and at {path.parent}/a.yaml:2:3; rename one."
    assert figures == "main.yaml:4:3: 'b' and 'a' both plot into 'x.svg'; rename one."


def test_files_in_a_circle_are_refused_where_it_closes(write: Write) -> None:
    path = write(main="include: a.yaml\n", a="include: b.yaml\n", b="include: ./main.yaml\n")
    assert problems(path) == ['b.yaml:1:10: "./main.yaml": includes this file, itself or through others.']


def test_depth_and_number_of_files_are_bounded(write: Write) -> None:
    chain = {f"f{k}": f"include: f{k + 1}.yaml\n" for k in range(20)}
    assert problems(write(**chain)) == ['f7.yaml:1:10: "f8.yaml": files include one another more than 8 deep here.']
    leaves = {f"g{k}": "experiments:\n" + one(f"g{k}") for k in range(40)}
    path = write(main=f"include: [{', '.join(f'{name}.yaml' for name in leaves)}]\n", **leaves)
    assert all("more than 32 files" in line for line in problems(path))
    assert len(problems(path)) == 9


def test_characters_of_all_files_are_bounded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "LARGEST_BATCH", 150)
    large = {f"f{k}": "experiments:\n" + one(f"e{k}") + "#" * 30 for k in range(3)}
    path = write(main="include: [f0.yaml, f0.yaml]\n", **large)
    assert len(config.load(path).entries) == 1
    path = write(main="include: [f0.yaml, f1.yaml, f2.yaml]\n")
    assert problems(path) == ['main.yaml:1:29: "f2.yaml": the files up to here have more than 150 characters.']


def test_what_an_included_file_names_as_code_needs_trust_too(write: Write) -> None:
    path = write(main="include: a.yaml\n", a="experiments:\n" + one("a", ", set: {model: a.py}"))
    assert ["use --trust" in line for line in problems(path)] == [True]
    assert config.load(path, trust=True).entries[0].parameters == {"model": "a.py"}
