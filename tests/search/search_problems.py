"""Evaluations for the tests of searches, made without an engine."""

from __future__ import annotations

import numpy as np

from evosearch.outcome import OK, Evaluation


def evaluation(per_draw, status=None):
    """Return the Evaluation of scores (n, D); a row without a finite mean keeps its status."""
    per_draw = np.atleast_2d(np.asarray(per_draw, dtype=np.float64))
    n = len(per_draw)
    return Evaluation(
        fitness=per_draw.mean(axis=1) if per_draw.size else np.empty(n),
        status=tuple(status) if status is not None else (OK,) * n,
        size=np.ones(n, dtype=np.int64),
        per_draw=per_draw,
        scale=np.ones(n),
        exploded=np.zeros(n),
        is_cached=np.zeros(n, dtype=np.bool_),
        cost=n,
    )


def ranked(candidates):
    """Score candidates by their position; what a search needs to go on, and no more."""
    return evaluation(-np.arange(len(candidates), dtype=np.float64)[:, None])
