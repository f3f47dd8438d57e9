"""Spaces, scores and drives for the tests of searches, made without an engine."""

from __future__ import annotations

import numpy as np

from evosearch.outcome import OK, Evaluation
from evosearch.rules.genes import Gene
from evosearch.search.semantics import probe_values
from evosearch.spaces import (
    CoefficientSpace,
    FormulaSpace,
    GenomeSpace,
    RuleSpace,
    TableSpace,
    VectorSpace,
)
from evosearch.store.records import state_from_text, state_to_text

N_DRAWS = 4
TARGET_TABLE = np.array([1, -1, 0, 1, 1, -1], dtype=np.int8)
ENTRIES = ("w", "pre", "post", "w*pre", "w*post", "pre*post")

GENES = (Gene("decay", 0.0, 1.0, 0.5), Gene("gain", 0.1, 10.0, 1.0, is_log=True))


def rules():
    """Return a space of rules."""
    return RuleSpace(
        ("w", "pre", "post"), ("add", "sub", "mul", "tanh"), constants=(1.0,),
        ephemeral=(-2.0, 2.0), max_size=15,
    )  # fmt: skip


def formulas():
    """Return the formulas that are to compute the rule that the tests look for."""
    w, pre, post = np.random.default_rng(4).uniform(-2, 2, (3, 24))
    return FormulaSpace(
        ("w", "pre", "post"), ("add", "sub", "mul", "tanh"), np.array([w, pre, post]),
        post * (pre - 0.5 * post * w), constants=(1.0,), ephemeral=(-2.0, 2.0), max_size=15,
    )  # fmt: skip


SPACES = {
    "rule": rules,
    "genome": lambda: GenomeSpace(rules(), GENES),
    "formula": formulas,
    "table": lambda: TableSpace(ENTRIES),
    "vector": lambda: VectorSpace(3, low=-4.0, high=4.0),
    "coefficients": lambda: CoefficientSpace(ENTRIES, sigma0=0.5, bound=3.0, l1=0.001),
}  # fmt: skip


def evaluation(per_draw, status=None):
    """Return the Evaluation of scores (n, D)."""
    per_draw = np.atleast_2d(np.asarray(per_draw, dtype=np.float64))
    n = len(per_draw)
    return Evaluation(
        fitness=per_draw.mean(axis=1),
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


def failed(candidates, fitness=-np.inf):
    """Return the Evaluation of candidates that all failed."""
    n = len(candidates)
    return evaluation(np.full((n, N_DRAWS), fitness), ("failed",) * n)


def losses(space, candidate):
    """Return how far a candidate is from what the tests look for, on each draw (D,)."""
    if space.kind == "genome":
        far = np.abs(np.array(candidate.places) - 0.8).sum()
        return losses(space.rules, candidate.rule) + far
    if space.kind in ("rule", "formula"):
        w, pre, post = (probe_values(space.decode_text(name)) for name in ("w", "pre", "post"))
        error = probe_values(candidate) - post * (pre - 0.5 * post * w)
        return np.abs(error).reshape(N_DRAWS, -1).mean(axis=1)
    target = {
        "table": TARGET_TABLE,
        "vector": np.array([1.0, -2.0, 0.5]),
        "coefficients": np.array([0.0, 0.0, 0.5, 0.0, -1.0, 1.0]),
    }[space.kind]
    weights = 1.0 + 0.1 * np.arange(N_DRAWS)[:, None]
    return (weights * np.abs(np.asarray(candidate, dtype=np.float64) - target)).sum(axis=1)


def score(space, candidates):
    """Score candidates on the test problem of their space; higher is better, 0 is best."""
    with np.errstate(all="ignore"):
        rows = np.array([-losses(space, c) for c in candidates]).reshape(-1, N_DRAWS)
    is_ok = np.isfinite(rows).all(axis=1)
    rows[~is_ok] = -np.inf
    return evaluation(rows, [OK if ok else "failed" for ok in is_ok])


def texts(space, candidates):
    """Return candidates in a form that compares."""
    return [space.encode_text(candidate) for candidate in candidates]


def drive(search, n_generations):
    """Run ask, score, tell; return the text of all candidates and the best fitness."""
    asked, best = [], -np.inf
    for _ in range(n_generations):
        candidates = search.ask()
        if not candidates:
            break
        scored = score(search.space, candidates)
        search.tell(candidates, scored)
        asked.append(texts(search.space, candidates))
        best = max(best, float(scored.fitness.max()))
    return asked, best


def stored(state):
    """Write a state as runs do, and return what reads back."""
    return state_from_text(state_to_text(state))
