"""Genetic programming that selects parents draw by draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.gp import GpSettings, Member, Programming

# Selections at a time, to bound memory for populations of any size.
_CHUNK = 128


@SEARCHES.register("gp-lexicase")
class LexicaseProgramming(Programming):
    """Genetic programming with epsilon-lexicase selection over draws.

    A parent is who is left after the draws, in random order, have each removed the members that
    are worse than the best one left by more than epsilon, the median absolute deviation of all
    members on that draw; the smallest of those left is taken. So rules that are best on some draws
    breed even where their mean is low. All else is as in ``gp``.

    Source: W. La Cava, L. Spector, K. Danai, "Epsilon-Lexicase Selection for Regression", GECCO
    2016, in its semi-dynamic form.
    """

    name = "gp-lexicase"
    needs = frozenset({"per_draw"})
    Settings = GpSettings

    def _select(self, n: int) -> list[Member]:
        members = self._members
        n_draws = len(members[-1].per_draw)
        pool = [member for member in members if len(member.per_draw) == n_draws]
        sizes = np.array([len(member) for member in pool])
        scores = np.array([member.per_draw for member in pool]).T
        starts = range(0, n, _CHUNK)
        chosen = [lexicase(scores, sizes, min(_CHUNK, n - k), self._rng) for k in starts]
        return [pool[k] for part in chosen for k in part.tolist()]


def lexicase(
    scores: FloatArray, sizes: NDArray[np.int64], n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Select ``n`` of m members by epsilon-lexicase; the smallest of those left, then any.

    Args:
        scores: (D, m) higher is better; one that is not finite is worst.
        sizes: (m,).
        n: selections, each with its own order of the draws.
        rng: the source of random numbers.

    Returns:
        Numbers (n,) of members.
    """
    n_draws, n_members = scores.shape
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    epsilon = _deviations(scores)
    is_left = np.ones((n, n_members), dtype=np.bool_)
    orders = rng.permuted(np.tile(np.arange(n_draws), (n, 1)), axis=1)
    for draws in orders.T:
        left = np.where(is_left, scores[draws], -np.inf)
        is_left &= left >= left.max(axis=1, keepdims=True) - epsilon[draws, None]
        if (is_left.sum(axis=1) == 1).all():
            break
    tie = sizes + rng.random((n, n_members))
    return np.where(is_left, tie, np.inf).argmin(axis=1)


def _deviations(scores: FloatArray) -> FloatArray:
    """Return the median absolute deviation (D,) of the finite scores of each draw."""
    with np.errstate(invalid="ignore"):
        finite = np.where(np.isfinite(scores), scores, np.nan)
        has_any = np.isfinite(finite).any(axis=1)
        finite[~has_any] = 0.0
        middle = np.nanmedian(finite, axis=1, keepdims=True)
        return np.nanmedian(np.abs(finite - middle), axis=1)
