"""What one inner life takes: steps, weight changes, and passes through the network.

A search's price has two factors: how many lives it lived, which every run counts, and what a life
takes, which follows from its phases and is told here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evosearch.engine import phases as ph
from evosearch.problem.rules import RuleProblem
from evosearch.problem.sharing import matrices_of

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.problem import Problem


def life_cost(problem: Problem) -> dict[str, float] | None:
    """Return what one life of the search takes, the mean over conditions.

    Returns:
        ``steps``, applications of the rule to each matrix; ``synapse_updates``; and
        ``forward_equivalents``, products with the matrices that the rule governs, forwards or
        backwards, in units of one pass through them. What computes the world, and feedback through
        weights of its own, is left out. None for candidates without lives in the engine.
    """
    if not isinstance(problem, RuleProblem) or not problem.is_compiled or problem.has_rows:
        return None
    lives = problem.lifetimes(problem.draws("search", count=1))
    costs = [cost_of_life(life) for life in lives]
    return {name: float(np.mean([cost[name] for cost in costs])) for name in costs[0]}


def cost_of_life(life: Lifetime) -> dict[str, float]:
    """Return what one life takes; see ``life_cost``."""
    matrices = matrices_of(life)
    one_pass = sum(matrix.size for matrix in matrices)
    governed = {matrix.start for matrix in matrices}
    products = updates = 0
    for row, times in ph.repeated(life.phases):
        if row[ph.OP] in (ph.MATVEC, ph.MATVEC_T) and row[ph.B] in governed:
            products += times * row[ph.D] * row[ph.E] * row[ph.F]
        elif row[ph.OP] == ph.RULE:
            updates += times * life.sites[row[ph.A]].matrix.size
    return {
        "steps": life.n_rule_applications / max(1, len(matrices)),
        "synapse_updates": float(updates),
        "forward_equivalents": products / max(1, one_pass),
    }
