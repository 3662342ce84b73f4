"""Claims: what holds, or does not, in each network, judged by the exact binomial test."""

import numpy as np
import pytest
from scipy import stats

from resexp.core.pooling import _moments
from resexp.core.statistics import binomial_tail, share_interval, summarise_share
from resexp.core.verdict import Family, Moments, judge, judge_moments, share_sentence


def family(hits: int, draws: int, theory: float = 1.0) -> Family:
    holds = np.array([1.0] * hits + [0.0] * (draws - hits))[:, None]
    return Family(holds, np.array([theory]), np.zeros(1), 0.1, is_share=True)


@pytest.mark.parametrize(("hits", "draws"), [(0, 8), (8, 8), (3, 8), (1, 40), (4999, 10_000), (0, 1)])
def test_tails_and_intervals_are_scipys(hits: int, draws: int) -> None:
    for share in (0.03, 0.5, 0.9):
        assert binomial_tail(hits, draws, share) == pytest.approx(stats.binom.cdf(hits, draws, share), rel=1e-9)
    wanted = stats.binomtest(hits, draws).proportion_ci(0.95, "exact")
    assert share_interval(hits, draws) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


@pytest.mark.parametrize(
    ("hits", "draws", "theory", "verdict"),
    [
        (8, 8, 1.0, "agree"),
        (7, 8, 1.0, "underpowered"),
        (1, 8, 1.0, "underpowered"),
        (0, 8, 1.0, "disagree"),
        (0, 8, 0.0, "agree"),
        (8, 8, 0.0, "disagree"),
        (7, 7, 1.0, "underpowered"),
        (14, 16, 1.0, "agree"),
        (3, 24, 1.0, "disagree"),
        (12, 24, 1.0, "underpowered"),
    ],
)
def test_most_networks_settle_it_and_few_do_not(hits: int, draws: int, theory: float, verdict: str) -> None:
    judged = judge(family(hits, draws, theory))
    assert judged.verdict == verdict
    assert (judged.p_value < 0.005) == (verdict == "disagree")
    assert f"{hits} of {draws}" in share_sentence(judged.headline, draws)
    assert (judged.headline.draws_needed is not None) == (verdict == "underpowered")


def test_a_coin_is_called_wrong_no_more_often_than_declared() -> None:
    """Exactly: the probability of `disagree`, and of a false `agree`, of a claim that holds in half of all networks."""
    for draws in (8, 9, 16, 50):
        said = [judge(family(hits, draws)).verdict for hits in range(draws + 1)]
        chances = stats.binom.pmf(np.arange(draws + 1), draws, 0.5)
        assert sum(chances[[verdict == "disagree" for verdict in said]]) <= 0.005
        assert 0 < sum(chances[[verdict == "agree" for verdict in said]]) <= 0.025


def test_seeds_are_pooled_by_their_counts_and_a_seed_without_an_answer_leaves_it_open() -> None:
    runs = [Moments.of(family(hits, 8)) for hits in (7, 7)]
    assert judge_moments(Moments.pooled(runs)).verdict == "agree"
    holds = np.array([1.0] * 7 + [np.nan])[:, None]
    assert judge(Family(holds, np.ones(1), np.zeros(1), 0.1, is_share=True)).verdict == "not judged"
    kept = {"draws": 8, "mean": [1, 1], "deviation": [0, 0], "theory": [1, 1], "bias": [0, 0], "unusable": [0, 0]}
    assert _moments({**kept, "margin": 0.1, "effective_draws": None, "judged": "share"}).is_share


def test_the_interval_of_what_holds_everywhere_is_not_a_point() -> None:
    found = summarise_share(np.ones(8))
    assert (found.mean, found.ci_high) == (1.0, 1.0)
    assert found.ci_low == pytest.approx(0.025 ** (1 / 8))
