"""The verdict on synthetic families: false alarms, power, the edges. With real networks: test_calibration.py."""

import math
from dataclasses import replace

import numpy as np
import pytest

from resexp.core.result import ALPHA, Verdict
from resexp.core.statistics import student_quantile
from resexp.core.verdict import Family, Moments, judge, judge_moments


def family(
    draws: int, rows: int, *, shift: float = 0.0, sigma: float = 0.2, seed: int = 0, bias: float = 0.0
) -> Family:
    statistic = np.random.default_rng(seed).normal(0.7 + shift, sigma, size=(draws, rows))
    return Family(statistic, np.full(rows, 0.7), np.full(rows, bias), margin=0.02)


@pytest.mark.parametrize("draws", [8, 64])
def test_a_true_theory_is_rarely_called_wrong(draws: int) -> None:
    calls = [judge(family(draws, 20, seed=seed)).verdict for seed in range(2000)]
    assert np.mean([call is Verdict.DISAGREE for call in calls]) < 2 * ALPHA


def test_alpha_is_spent() -> None:
    """With alpha 0.2 about a fifth of the true theories are called wrong: the test is not merely timid."""
    calls = [judge(family(64, 5, seed=seed), alpha=0.2).verdict for seed in range(1000)]
    assert 0.12 < np.mean([call is Verdict.DISAGREE for call in calls]) < 0.22


def test_p_value_of_the_family_decides_at_any_alpha() -> None:
    for seed in range(200):
        judged = family(16, 5, shift=0.03, seed=seed)
        for alpha in (0.3, 0.05, ALPHA):
            verdict = judge(judged, alpha)
            assert (verdict.verdict is Verdict.DISAGREE) == (verdict.p_value < alpha)


def test_the_headline_catches_what_no_row_shows() -> None:
    judgement = judge(family(64, 50, shift=0.025))
    assert judgement.headline.verdict is Verdict.DISAGREE
    assert judgement.verdict is Verdict.DISAGREE


def test_a_row_catches_what_the_headline_does_not_show() -> None:
    one_off = family(256, 50)
    one_off.statistic[:, 7] += 0.15
    judgement = judge(one_off)
    assert judgement.headline.verdict is not Verdict.DISAGREE
    assert judgement.rows[7].verdict is Verdict.DISAGREE
    assert judgement.verdict is Verdict.DISAGREE


def test_a_declared_bias_is_allowed_for_and_no_more() -> None:
    assert judge(family(256, 20, shift=0.05, bias=0.05)).verdict is not Verdict.DISAGREE
    assert judge(family(256, 20, shift=0.08, bias=0.05)).verdict is Verdict.DISAGREE


def test_agree_needs_the_margin_to_hold() -> None:
    assert judge(family(1000, 20)).headline.verdict is Verdict.AGREE
    wide = judge(family(10, 20, sigma=2.0)).headline
    assert wide.verdict is Verdict.UNDERPOWERED
    assert wide.draws_needed is not None
    settled = [judge(family(wide.draws_needed, 20, sigma=2.0, seed=seed)).headline for seed in range(50)]
    assert sum(s.verdict is Verdict.AGREE for s in settled) >= 40


def test_few_draws_are_underpowered_whatever_they_say() -> None:
    judgement = judge(family(7, 20, shift=5.0)).headline
    assert judgement.verdict is Verdict.UNDERPOWERED
    assert judgement.draws_needed == 8


def test_networks_without_a_finite_number_are_counted_not_judged() -> None:
    broken = family(64, 5)
    broken.statistic[:3, 2] = -math.inf
    judgement = judge(broken)
    assert judgement.rows[2].verdict is Verdict.NOT_JUDGED
    assert judgement.rows[2].unusable == 3
    assert judgement.rows[1].verdict is not Verdict.NOT_JUDGED


def test_a_statistic_that_does_not_vary_must_be_exact() -> None:
    exact = Family(np.zeros((16, 4)), np.zeros(4), np.zeros(4), margin=0.02)
    off = Family(np.zeros((16, 4)), np.full(4, 0.001), np.zeros(4), margin=0.02)
    assert judge(exact).verdict is Verdict.AGREE
    assert judge(off).verdict is Verdict.DISAGREE


MARGIN, DRAWS = 0.02, 1000


def judged(*, half_width: float = 0.1, bias: float = 0.0, gap: float = 0.0) -> tuple[Verdict, Verdict]:
    """Headline and row of a family of one row; all in margins. half_width: of the 95 % interval."""
    deviation = half_width * MARGIN / student_quantile(0.975, DRAWS - 1) * math.sqrt(DRAWS)
    two = np.ones(2)
    moments = Moments(
        DRAWS, gap * MARGIN * two, deviation * two, 0 * two, bias * MARGIN * two, np.zeros(2, int), MARGIN
    )
    judgement = judge_moments(moments)
    return judgement.headline.verdict, judgement.rows[0].verdict


def test_a_row_alone_may_be_off_by_two_and_a_half_margins() -> None:
    assert judged(half_width=0.9) == (Verdict.AGREE, Verdict.AGREE)
    assert judged(half_width=1.1) == (Verdict.UNDERPOWERED, Verdict.AGREE)
    assert judged(half_width=2.4) == (Verdict.UNDERPOWERED, Verdict.AGREE)
    assert judged(half_width=2.6) == (Verdict.UNDERPOWERED, Verdict.UNDERPOWERED)


def test_a_theory_looser_than_five_margins_cannot_be_agreed_with_but_still_be_wrong() -> None:
    assert judged(bias=4.9)[0] is Verdict.AGREE
    assert judged(bias=5.1)[0] is Verdict.NOT_JUDGED
    assert judged(bias=5.1, gap=6.0)[0] is Verdict.DISAGREE


@pytest.mark.parametrize(
    ("effective", "verdict"), [(0.0, Verdict.NOT_JUDGED), (49.0, Verdict.UNDERPOWERED), (50.0, Verdict.AGREE)]
)
def test_fewer_than_fifty_networks_carry_no_ratio_of_means(effective: float, verdict: Verdict) -> None:
    whole = replace(family(800, 5, sigma=0.1), effective_draws=effective)
    judgement = judge(whole)
    assert {judgement.verdict, judgement.headline.verdict, *(row.verdict for row in judgement.rows)} == {verdict}
    wrong = judge(replace(family(800, 5, sigma=0.1, shift=1.0), effective_draws=effective))
    assert (wrong.verdict is Verdict.DISAGREE) == (verdict is Verdict.AGREE)
    if verdict is Verdict.UNDERPOWERED:
        assert judgement.headline.draws_needed == math.ceil(800 * 50 / 49)


def test_networks_without_a_number_are_counted_and_warn_of_nothing() -> None:
    """The tests make a warning an error."""
    statistic = np.array([[np.inf, -np.inf, 1.0]] + [[1.0, 1.0, 1.0]] * 9)
    moments = Moments.of(Family(statistic, np.ones(3), np.zeros(3), 0.1))
    assert moments.unusable.tolist() == [1, 1, 1, 0]
