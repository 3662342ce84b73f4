"""What an entry stands for: how many cells, which, in which order, who said what, and how fast they are made."""

import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resexp.core.errors import UsageError
from resexp.runs import config, registry
from resexp.runs.entry import MOST_CELLS, Axis, Entry, cells, wrong_combinations

from .stand_ins import EXPERIMENTS

FILE = """\
defaults: {depth: 7, seed: 3, device: cpu}
experiments:
  all:
    experiment: net
    set: {width: 9}
    sweep:
      beta: 1:4:x2
      zip: [{depth: [1, 2], biased: [true, false]}, {}]
      lengths: [[], [1, 2]]
      dtype: [float64, float32]
    seeds: 2
  listed: {experiment: net, set: {scheme: residual}, seeds: [5, 1]}
  plain: {experiment: chain}
"""


@pytest.fixture(autouse=True, scope="module")
def _registry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "experiments", lambda: EXPERIMENTS)
        yield


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Entry]:
    path = tmp_path_factory.mktemp("entry") / "experiments.yaml"
    path.write_text(FILE)
    return {entry.name: entry for entry in config.load(path).entries}


def test_the_product_in_the_order_of_the_file_with_pairs_and_seeds_fastest(read: dict[str, Entry]) -> None:
    entry = read["all"]
    assert entry.sweeps == ("beta", "depth", "biased", "lengths", "dtype")
    expected = [
        (
            {"width": 9, "beta": beta, "depth": depth, "biased": biased, "lengths": lengths},
            {"device": "cpu", "dtype": d, "seed": seed},
        )
        for beta in (1, 2, 4)
        for depth, biased in ((1, True), (2, False))
        for lengths in ((), (1, 2))
        for d in ("float64", "float32")
        for seed in (3, 4)
    ]
    assert list(entry.combinations()) == expected
    assert entry.count == len(expected) == 48


def test_cells_are_the_combinations_with_who_said_what(read: dict[str, Entry]) -> None:
    for entry in read.values():
        made = list(cells(entry))
        assert len(made) == entry.count
        for cell, (parameters, common) in zip(made, entry.combinations(), strict=True):
            assert cell.experiment == EXPERIMENTS[entry.experiment].model_validate(parameters)
            assert cell.settings == config.Settings.model_validate(common)
            said = {name for name, source in cell.sources.items() if source == "file"}
            assert said == {*parameters, *common}
            assert list(cell.sources) == [*type(cell.experiment).model_fields, *config.Settings.model_fields]
    assert [cell.settings.seed for cell in cells(read["listed"])] == [5, 1]
    assert next(cells(Entry("a", "net", {}, {}, seeds=(1,)))).sources["seed"] == "file"
    assert len({cell.id for cell in cells(read["all"])}) == 48


def test_more_seeds_contain_fewer(read: dict[str, Entry], tmp_path: Path) -> None:
    path = tmp_path / "more.yaml"
    path.write_text(FILE.replace("seeds: 2", "seeds: 5"))
    more = {cell.id for cell in cells(config.load(path).entries[0])}
    fewer = {cell.id for cell in cells(read["all"])}
    assert fewer < more
    assert len(more) == 48 * 5 / 2


AXES = st.lists(
    st.tuples(st.sampled_from(["depth", "width", "beta", "dtype"]), st.integers(1, 5)),
    max_size=4,
    unique_by=lambda a: a[0],
)


@given(AXES, st.integers(0, 4))
@settings(deadline=None)
def test_count_and_index_know_the_combinations_without_making_them(sizes: list[tuple[str, int]], seeds: int) -> None:
    axes = tuple(Axis((name,), tuple((value,) for value in range(size))) for name, size in sizes)
    entry = Entry("a", "net", {"depth": 50}, {"seed": 9}, axes, range(seeds))
    made = list(entry.combinations())
    assert entry.count == len(made) == math.prod(size for _, size in sizes) * max(1, seeds)
    swept = list(entry.swept())
    assert [entry.swept_at(index) for index in range(entry.combined)] == swept
    assert swept == sorted(swept, key=lambda step: [step[name] for name, _ in sizes])
    assert [common["seed"] for _, common in made] == [*(range(seeds) or [9])] * entry.combined


def test_a_million_cells_wait_until_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(
        "experiments:\n  a: {experiment: net, sweep: {depth: 1:1000, width: 1:100}, seeds: 10}\n"
        "  b: {experiment: net, seeds: 1000000}\n"
    )
    start = time.perf_counter()
    first, second = config.load(path).entries
    assert first.count == second.count == MOST_CELLS
    assert [cell.settings.seed for cell in itertools.islice(cells(second), 3)] == [0, 1, 2]
    assert [cell.experiment.model_dump()["width"] for cell in itertools.islice(cells(first), 9, 11)] == [1, 2]
    assert time.perf_counter() - start < 2


def test_ten_thousand_cells_take_less_than_a_second(tmp_path: Path) -> None:
    path = tmp_path / "fast.yaml"
    path.write_text("experiments:\n  a: {experiment: net, sweep: {depth: 1:100, width: 1:100}}\n")
    (entry,) = config.load(path).entries
    start = time.perf_counter()
    assert sum(1 for _ in cells(entry)) == 10_000
    assert time.perf_counter() - start < 1


def entry(**axes: Any) -> Entry:
    columns = tuple(Axis((name,), tuple((value,) for value in values)) for name, values in axes.items())
    return Entry("a", "net", {"scheme": "residual"}, {}, columns, file=Path("x.yaml"), line=3)


def test_a_wrong_combination_that_was_not_tried_is_told_when_it_becomes_a_cell() -> None:
    wrong = entry(depth=[*range(1, 101), 600, 101], width=[1, 2])
    assert wrong_combinations(wrong, 2) == []
    made = cells(wrong)
    assert len(list(itertools.islice(made, 201))) == 201
    with pytest.raises(UsageError) as caught:
        next(made)
    told = "depth 600 times width 2 is more than 1000."
    assert str(caught.value) == f"x.yaml:3: In the entry 'a': with depth 600, width 2: {told}"
    assert wrong_combinations(wrong, 1000) == [f"with depth 600, width 2: {told}"]


def test_each_kind_of_wrong_combination_is_told_once() -> None:
    assert len(wrong_combinations(entry(depth=range(100, 200), width=range(20, 40)), 10_000)) == 1
