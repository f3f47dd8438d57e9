"""The statistics of comparisons, against published or independently computed values."""

import itertools
import math

import numpy as np
import pytest

from evosearch.statistics import (
    holm,
    mann_whitney,
    mean_ranks,
    quartiles,
    van_elteren,
    vargha_delaney,
    wilson_interval,
)


def test_wilson_interval_agrees_with_its_defining_equation():
    for n_successes, n_trials in ((1, 10), (5, 10), (8, 10), (37, 100)):
        share = n_successes / n_trials
        for bound in wilson_interval(n_successes, n_trials):
            distance = abs(share - bound) / math.sqrt(bound * (1 - bound) / n_trials)
            assert distance == pytest.approx(1.959964, rel=1e-9)


def test_wilson_interval_is_wide_at_none_and_all_successes():
    low, high = wilson_interval(0, 10)
    assert low == 0.0
    assert high == pytest.approx(0.2775, abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((1 - high, 1.0))
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_effect_size_counts_pairs_with_ties_half():
    a, b = [1.0, 2.0, 2.0, 5.0], [2.0, 0.0, 3.0]
    pairs = list(itertools.product(a, b))
    expected = sum((x > y) + 0.5 * (x == y) for x, y in pairs) / len(pairs)
    assert vargha_delaney(a, b) == pytest.approx(expected)
    assert vargha_delaney(b, a) == pytest.approx(1 - expected)
    assert math.isnan(vargha_delaney([], b))


def test_mann_whitney_is_exact_on_separated_samples_and_one_on_equal_ones():
    n = 5
    exact = 2 / math.comb(2 * n, n)
    assert mann_whitney(range(n), range(10, 10 + n)) == pytest.approx(exact)
    assert mann_whitney([1, 1, 1], [1, 1, 1]) == 1.0
    assert math.isnan(mann_whitney([], [1.0]))


def test_holm_is_monotone_and_never_below_the_raw_values():
    raw = [0.01, 0.04, 0.03, 0.005]
    adjusted = holm(raw)
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert all(new >= old for new, old in zip(adjusted, raw, strict=True))
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_leaves_out_pairs_that_could_not_be_tested():
    adjusted = holm([math.nan, 0.02])
    assert math.isnan(adjusted[0])
    assert adjusted[1] == pytest.approx(0.02)


def test_quartiles_ignore_failed_runs():
    assert quartiles([1, 2, 3, 4, 5, -math.inf, math.nan]) == (2.0, 3.0, 4.0)
    assert np.isnan(quartiles([])).all()


def test_van_elteren_of_one_stratum_is_the_rank_sum_test():
    from scipy.stats import mannwhitneyu

    a, b = [1.0, 2.0, 2.0, 5.0, 7.0], [2.0, 3.0, 4.0, 4.0, 9.0, 9.5]
    peer = mannwhitneyu(a, b, alternative="two-sided", method="asymptotic", use_continuity=False)
    assert van_elteren([(a, b)]) == pytest.approx(peer.pvalue, rel=1e-12)


def test_van_elteren_agrees_with_permuting_within_strata():
    rng = np.random.default_rng(4)
    strata = [
        (rng.normal(0.6, 1, 9), rng.normal(0, 1, 7)),
        (rng.normal(50, 9, 8), rng.normal(45, 9, 9)),
    ]

    def statistic(pairs):
        total = 0.0
        for a, b in pairs:
            greater = (a[:, None] > b).sum()
            total += (greater - len(a) * len(b) / 2) / (len(a) + len(b) + 1)
        return abs(total)

    found, n, count = statistic(strata), 4000, 0
    for _ in range(n):
        mixed = [(rng.permutation(np.concatenate(pair)), len(pair[0])) for pair in strata]
        count += statistic([(values[:m], values[m:]) for values, m in mixed]) >= found - 1e-12
    assert van_elteren(strata) == pytest.approx(count / n, abs=0.025)


def test_van_elteren_looks_within_strata_only_and_says_nothing_where_all_is_equal():
    a, b = [0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]
    assert van_elteren([(a, b), ([9.0], [8.0])]) < van_elteren([(a, b), (b, a)])
    assert van_elteren([(a, b), (b, a)]) == pytest.approx(1.0)
    assert van_elteren([([1.0, 1.0], [1.0])]) == 1.0


def test_ranks_of_columns_share_places_and_put_what_is_unknown_last():
    ranks = mean_ranks([[0.3, np.nan, 0.3], [0.1, 0.2, 0.3]])
    np.testing.assert_array_equal(ranks, [(1.5 + 3) / 2, (3 + 2) / 2, (1.5 + 1) / 2])
