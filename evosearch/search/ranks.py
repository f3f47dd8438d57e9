"""Weights of candidates by their rank; equal fitness gives equal weight."""

from __future__ import annotations

import numpy as np

from evosearch.outcome import FloatArray


def by_rank(fitness: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weight (n,) of each candidate; candidates of equal fitness share theirs.

    Args:
        fitness: (n,) higher is better, ``-inf`` for a candidate that failed.
        weights: (n,) of the best candidate first.

    Example:
        >>> by_rank(np.array([1.0, 5.0, 1.0]), np.array([6.0, 3.0, 1.0])).tolist()
        [2.0, 6.0, 2.0]
    """
    order = np.argsort(-fitness, kind="stable")
    in_order = fitness[order]
    starts = np.flatnonzero(np.concatenate([[True], in_order[1:] != in_order[:-1]]))
    counts = np.diff(starts, append=len(fitness))
    shared = np.add.reduceat(weights, starts) / counts
    found = np.empty(len(fitness))
    found[order] = np.repeat(shared, counts)
    return found


def centred_ranks(fitness: FloatArray) -> FloatArray:
    """Return ranks (n,) from -1/2, worst, to 1/2, best; zeros for a single candidate."""
    n = len(fitness)
    return by_rank(fitness, np.linspace(0.5, -0.5, n) if n > 1 else np.zeros(1))


def rank_weights(n: int) -> FloatArray:
    """Return max(0, ln(n/2 + 1) - ln k) for k = 1 … n, scaled to the sum 1."""
    weights = np.maximum(0.0, np.log(n / 2 + 1) - np.log(np.arange(1, n + 1)))
    return weights / weights.sum()


def nes_utilities(fitness: FloatArray) -> FloatArray:
    """Return the utilities (n,) of natural evolution strategies, of sum 0."""
    n = len(fitness)
    return by_rank(fitness, rank_weights(n) - 1.0 / n)


def filled(fitness: FloatArray) -> FloatArray:
    """Return fitness with the worst finite value in place of each that is not finite."""
    is_ok = np.isfinite(fitness)
    return np.where(is_ok, fitness, fitness[is_ok].min())
