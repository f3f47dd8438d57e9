"""Races: candidates live a few draws first, and those that cannot be among the best stop there.

The draws grow fourfold from round to round, as in successive halving (Jamieson and Talwalkar 2016,
AISTATS), but a candidate leaves by a test, as in races of models (Maron and Moore 1994, NIPS;
Birattari et al. 2002, GECCO), not by its rank. Everything is decided by values on common draws, so
that workers and chunks never show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.evaluation.outcomes import Outcome
from evosearch.outcome import OK, FloatArray, Lived
from evosearch.problem import Draws, Problem

TOP = 0.25
"""Share of the candidates that are told apart on all draws."""
LEVEL = 0.01
"""Chance of a test to drop a candidate that is as good as the last of the top."""
GROWTH = 4
FEWEST = 8
"""Candidates at which a race begins."""

Score: TypeAlias = "Callable[[list[Any], Draws], tuple[list[Outcome], Lived]]"
"""Outcomes of candidates on draws, and what they took."""


@dataclass(frozen=True)
class Raced:
    """How a race ended.

    Attributes:
        outcomes: of the candidates, in their order.
        lived: what it took.
        draws: (n,) draws that each candidate has lived.
    """

    outcomes: list[Outcome]
    lived: Lived
    draws: NDArray[np.int64]

    def cost(self, n_draws: int) -> int:
        """Return the candidate evaluations that it counts for: shares of draws, rounded up."""
        return math.ceil(int(self.draws.sum()) / n_draws)


def race(
    score: Score, problem: Problem, candidates: Sequence[Any], draws: Draws, first: int
) -> Raced:
    """Score candidates on draws; drop those that cannot be among the best quarter.

    After ``first`` draws, then after four times as many and so on, each candidate is compared with
    the one whose mean is the last of the top quarter: it is dropped where a paired t test over the
    draws that both have lived says at level 0.01 that its mean is lower. What is known of a
    dropped candidate is its mean over these draws, corrected for how hard they are to the best
    quarter, and at most the fitness of the last of that quarter; draws that it did not live are
    NaN. Those that are not dropped have exactly the outcome that they have without a race.

    Args:
        score: scores candidates on draws.
        problem: aggregates draws.
        candidates: n candidates.
        draws: D draws.
        first: draws of the first round.
    """
    found: list[list[Outcome]] = [[] for _ in candidates]
    alive, lived, start = list(range(len(candidates))), Lived(), 0
    n_top = math.ceil(TOP * len(candidates))
    while start < len(draws):
        is_race = len(candidates) >= FEWEST and len(alive) > n_top
        end = min(max(first, GROWTH * start), len(draws)) if is_race else len(draws)
        outcomes, took = score([candidates[k] for k in alive], _between(draws, start, end))
        lived += took
        for k, outcome in zip(alive, outcomes, strict=True):
            found[k].append(outcome)
        alive = [k for k in alive if found[k][-1].status == OK]
        if end < len(draws):
            alive = _left(alive, found, n_top)
        start = end
    joined = [_joined(parts, problem, len(draws)) for parts in found]
    n_lived = np.array([sum(part.per_draw.size for part in parts) for parts in found])
    return Raced(_estimated(joined, n_lived, n_top), lived, n_lived)


def _between(draws: Draws, start: int, end: int) -> Draws:
    return Draws(draws.split, draws.keys[start:end])


def _left(alive: list[int], found: list[list[Outcome]], n_top: int) -> list[int]:
    """Return the candidates that may still be among the top."""
    if len(alive) <= n_top:
        return alive
    values = np.stack([np.concatenate([part.per_draw for part in found[k]]) for k in alive])
    order = np.argsort(-values.mean(axis=1), kind="stable")
    is_worse = significantly_lower(values, values[order[n_top - 1]])
    is_worse[order[:n_top]] = False
    return [k for k, is_out in zip(alive, is_worse.tolist(), strict=True) if not is_out]


def significantly_lower(values: FloatArray, reference: FloatArray) -> NDArray[np.bool_]:
    """Return which rows have a lower mean than a reference on the same draws.

    Args:
        values: (n, m) fitness on m draws, two at least.
        reference: (m,).

    Returns:
        (n,) whether a one-sided paired t test says so at ``LEVEL``.
    """
    from scipy.stats import t

    m = values.shape[1]
    differences = reference - values
    error = differences.std(axis=1, ddof=1) / math.sqrt(m)
    return differences.mean(axis=1) > float(t.ppf(1.0 - LEVEL, m - 1)) * error


def _joined(parts: Sequence[Outcome], problem: Problem, n_draws: int) -> Outcome:
    """Return the outcomes of one candidate on successive draws as one; NaN where it lived none."""
    last = parts[-1]
    if last.status != OK:
        return replace(last, per_draw=np.full(n_draws, np.nan))
    values = np.concatenate([part.per_draw for part in parts])
    share = np.array([part.per_draw.size for part in parts]) / values.size
    names = set(parts[0].metrics).intersection(*(part.metrics for part in parts))
    metrics = {
        name: float(share @ [part.metrics[name] for part in parts]) for name in sorted(names)
    }
    return Outcome(
        OK,
        float(problem.aggregate(values[None, :])[0]),
        np.concatenate([values, np.full(n_draws - values.size, np.nan)]),
        last.scale,
        float(share @ [part.exploded for part in parts]),
        metrics=metrics,
    )


def _estimated(outcomes: list[Outcome], n_lived: NDArray[np.int64], n_top: int) -> list[Outcome]:
    """Return the outcomes with an estimate for those that were dropped."""
    n_draws = outcomes[0].per_draw.size if outcomes else 0
    whole = [k for k, n in enumerate(n_lived) if n == n_draws and outcomes[k].status == OK]
    top = sorted(whole, key=lambda k: -outcomes[k].fitness)[:n_top]
    if not top:
        return outcomes
    usual = np.mean([outcomes[k].per_draw for k in top], axis=0)
    highest = outcomes[top[-1]].fitness
    return [
        _guessed(outcome, usual, highest, int(n))
        if outcome.status == OK and n < n_draws
        else outcome
        for outcome, n in zip(outcomes, n_lived, strict=True)
    ]


def _guessed(outcome: Outcome, usual: FloatArray, highest: float, n_lived: int) -> Outcome:
    """Return the outcome of a dropped candidate: how far it is from the usual, on all draws."""
    behind = float((outcome.per_draw[:n_lived] - usual[:n_lived]).mean())
    fitness = min(float(usual.mean()) + behind, highest)
    message = f"left a race after {n_lived} of {len(usual)} draws"
    return replace(outcome, fitness=fitness, message=message)
