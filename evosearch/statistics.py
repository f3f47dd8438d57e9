"""The few statistics that comparisons of searches stand on, each with its source."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from evosearch.outcome import FloatArray


def wilson_interval(n_successes: int, n_trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927), 95 % by default.

    It keeps its coverage at ten trials and at 0 or 100 %, where the usual interval has width 0.

    Example:
        >>> low, high = wilson_interval(8, 10)
        >>> print(f"{low:.2f} {high:.2f}")
        0.49 0.94
    """
    if n_trials == 0:
        return 0.0, 1.0
    share = n_successes / n_trials
    scale = 1.0 + z * z / n_trials
    centre = (share + z * z / (2 * n_trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n_trials + z * z / (4 * n_trials**2))
    low = 0.0 if n_successes == 0 else max(0.0, centre - half)
    high = 1.0 if n_successes == n_trials else min(1.0, centre + half)
    return low, high


def quartiles(values: ArrayLike) -> tuple[float, float, float]:
    """Return the lower quartile, median and upper quartile of the finite values, else NaN."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if array.size == 0:
        return math.nan, math.nan, math.nan
    low, middle, high = np.quantile(array, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def vargha_delaney(a: ArrayLike, b: ArrayLike) -> float:
    """Return A, the chance that a value of ``a`` exceeds one of ``b``, ties half.

    0.5 means no difference, 1 that every ``a`` is greater (Vargha and Delaney 2000).

    Example:
        >>> vargha_delaney([3, 4], [1, 2])
        1.0
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.size == 0 or second.size == 0:
        return math.nan
    greater = np.sum(first[:, None] > second[None, :])
    equal = np.sum(first[:, None] == second[None, :])
    return float((greater + 0.5 * equal) / (first.size * second.size))


def mann_whitney(a: ArrayLike, b: ArrayLike) -> float:
    """Return the two-sided p value that ``a`` and ``b`` are of one distribution (NaN if empty)."""
    from scipy.stats import mannwhitneyu

    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.size == 0 or second.size == 0:
        return math.nan
    if np.unique(np.concatenate([first, second])).size == 1:
        return 1.0
    return float(mannwhitneyu(first, second, alternative="two-sided").pvalue)


def van_elteren(
    strata: Sequence[tuple[ArrayLike, ArrayLike]],
) -> float:
    """Return the two-sided p value that a and b are of one distribution within every stratum.

    A rank-sum test whose ranks are taken within strata, here problems, of which none weighs more
    because its scores are larger: the locally most powerful weights 1 / (N + 1) of van Elteren
    (1960), midranks for ties, normal approximation without correction for continuity.

    Args:
        strata: the values of a and of b, at least one each, for every stratum.
    """
    from scipy.stats import norm, rankdata

    statistic = variance = 0.0
    for a, b in strata:
        first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
        m, n = first.size, second.size
        ranks = np.asarray(rankdata(np.concatenate([first, second])), dtype=np.float64)
        total = m + n
        statistic += (ranks[:m].sum() - m * (total + 1) / 2) / (total + 1)
        # m n / (N - 1) times the variance of the ranks, which ties make smaller
        variance += m * n / (total - 1) * ranks.var() / (total + 1) ** 2
    if variance == 0.0:
        return 1.0
    return float(2.0 * norm.sf(abs(statistic) / math.sqrt(variance)))


def mean_ranks(scores: ArrayLike) -> FloatArray:
    """Return the mean place (n,) of n columns over rows, 1 for the greatest; NaN is the last.

    Equal ones share their places (Demšar 2006, JMLR 7).

    Example:
        >>> mean_ranks([[0.9, 0.1], [0.5, 0.5]]).tolist()
        [1.25, 1.75]
    """
    from scipy.stats import rankdata

    table = np.asarray(scores, dtype=np.float64)
    return np.asarray(rankdata(-np.where(np.isnan(table), -np.inf, table), axis=1)).mean(axis=0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for their number by the step-down method of Holm 1979; NaN stays NaN.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    tested = [index for index, value in enumerate(p_values) if not math.isnan(value)]
    tested.sort(key=lambda index: p_values[index])
    adjusted = [math.nan] * len(p_values)
    running = 0.0
    for rank, index in enumerate(tested):
        running = max(running, (len(tested) - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted
