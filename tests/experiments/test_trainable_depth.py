"""The trainable-depth experiment: the search, what the initialisation predicts, the orders, bad input."""

import math

import numpy as np
import pytest

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.experiments.trainable_depth import CLAIMS, NAMES, Name, Search, TrainableDepth, deepest_by_bisection

SMALL = TrainableDepth.smallest
LAB = Lab("trainable-depth", seed=3)


@pytest.mark.parametrize("cap", [5, 7, 17, 49, 65])
def test_bisection_finds_each_depth_in_few_trials(cap: int) -> None:
    for deepest in range(1, cap + 1, 2):
        asked: list[int] = []

        def trains(depth: int, deepest: int = deepest, asked: list[int] = asked) -> bool:
            asked.append(depth)
            return depth <= deepest

        assert deepest_by_bisection(trains, cap) == deepest
        assert asked[0] == cap
        assert all(depth % 2 == 1 and 3 <= depth <= cap for depth in asked)
        assert len(asked) == len(set(asked)) <= 1 + math.ceil(math.log2(cap))


def test_the_deepest_that_trained_counts_whichever_search_tried_it() -> None:
    search = Search({9: np.array([0.8, 0.7, 0.1]), 5: np.array([0.9, 0.9, 0.7]), 13: np.array([0.3, 0.75, 0.2])})
    search.settle(0.75, 3)
    assert search.deepest == [9, 13, 1]


def found(**deepest: list[int]) -> dict[Name, Search]:
    """Searches that ended so, with every net right on nine of ten."""
    ends = {name: deepest.get(name, [9, 9]) for name in NAMES}
    return {name: Search({k: np.array([0.9, 0.9]) for k in depths}, depths) for name, depths in ends.items()}


def held(experiment: TrainableDepth, searches: dict[Name, Search]) -> dict[str, list[float | None]]:
    return {
        row.quantity: [None if math.isnan(x) else x for x in row.samples.mantissa.tolist()]
        for row in experiment.rows(searches)
        if row.quantity in CLAIMS.values()
    }


def test_orders_are_asked_of_each_seed_and_the_cap_counts() -> None:
    experiment = TrainableDepth.parse({**SMALL, "cap": 49, "factor": 4.0})
    holds = held(
        experiment,
        found(
            plain=[9, 13], residual=[13, 21], rescaled=[11, 13], skipinit=[37, 49], fixup=[35, 49], batchnorm=[49, 47]
        ),
    )
    assert holds == {
        "rescaled_deeper": [1.0, 0.0],
        "residual_not_doubled": [1.0, 0.0],
        "skipinit_much_deeper": [1.0, None],  # 37 >= 36; 49 is the cap, and 52 was never tried
        "fixup_much_deeper": [0.0, None],
        "batchnorm_much_deeper": [1.0, 0.0],
    }
    notes = list(experiment.told(found(skipinit=[49, 49], residual=[1, 3])))
    assert any(note.startswith("skipinit: 2 of 2 train at the cap") and "at least 49" in note for note in notes)
    assert any(note.startswith("residual: 1 of 2 train at no depth") for note in notes)


def test_initialisation_predicts_by_growth_and_by_correlation() -> None:
    """Growth by 2 a block is at most 1,000 up to 9 blocks; with the branch at zero nothing is ever lost."""
    experiment = TrainableDepth.parse({**SMALL, "cap": 65, "growth": 1000.0, "alike": 0.9})
    assert experiment.predicted("residual") == 9  # 8 blocks; 10 would be 1,024
    assert TrainableDepth.parse({**SMALL, "cap": 65, "growth": 1025.0}).predicted("residual") == 11
    plain, rescaled = experiment.predicted("plain"), experiment.predicted("rescaled")
    assert plain is not None
    assert rescaled is not None
    assert plain == by_hand(0.0, 0.9)
    assert rescaled == by_hand(0.5, 0.9)
    assert 1.8 < rescaled / plain < 2.4
    assert experiment.predicted("skipinit") == experiment.predicted("fixup") == 65
    assert experiment.predicted("batchnorm") is None


def by_hand(skip_squared: float, alike: float) -> int:
    """Depth up to which the arc-cosine map (Cho and Saul 2009), mixed with the skip, keeps inputs apart."""
    c, blocks = 0.0, 0
    while True:
        mapped = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi
        c = skip_squared * c + (1 - skip_squared) * mapped
        if c > alike:
            return blocks + 1 - blocks % 2  # blocks + 1 hidden layers, odd
        blocks += 1


def test_nets_of_a_seed_start_alike_at_each_rate_and_others_do_not() -> None:
    experiment = TrainableDepth.parse(SMALL)
    data = experiment.load_data(LAB).as_vectors()
    for name in NAMES:
        starts = [next(net.parameters()).detach() for net in experiment.nets(LAB, name, 5, data)]
        assert len(starts) == experiment.seeds * experiment.rates
        assert starts[0].equal(starts[1])
        assert starts[2].equal(starts[3])
        assert not starts[1].equal(starts[2])
        assert starts[0].data_ptr() != starts[1].data_ptr()


def test_whether_a_net_trains_is_asked_of_the_best_rate_and_of_accuracy() -> None:
    easy, hard = (
        TrainableDepth.parse(
            {
                **SMALL,
                "width": 16,
                "epochs": 15,
                "lowest": 1e-9,
                "highest": 0.05,
                "schemes": ("plain",),
                "accuracy": accuracy,
            }
        ).train(LAB)
        for accuracy in (0.01, 0.999)
    )
    assert (easy["plain"].deepest, set(easy["plain"].accuracy)) == ([5, 5], {5})
    assert (hard["plain"].deepest, set(hard["plain"].accuracy)) == ([1, 1], {3, 5})
    assert (hard["plain"].accuracy[3] > 0.5).all()  # at the best of the rates: at the other one a net stays a guess


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cap": 8}, "must be odd"),
        ({"schemes": ("fixup", "residual")}, "and plain"),
        ({"schemes": ("plain", "plain")}, "each once"),
        ({"cap": 3}, "cap"),
        ({"lowest": 1.0, "highest": 0.1}, "less than --highest"),
        ({"accuracy": 1.5}, "accuracy"),
    ],
)
def test_bad_parameters_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainableDepth.parse({**SMALL, **wrong})
