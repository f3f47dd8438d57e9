"""Performance against experience within a life: what was learned by then, at several generations.

Plasticity is switched off after n applications of the rule while the life goes on, so that each
point of a curve is the fitness of a network with so much experience and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.report.trajectories import first_applications

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.problem.rules import RuleProblem
    from evosearch.rules.rule import Rule

N_POINTS = 10
N_DRAWS = 16
N_STAGES = 4
# Work that a report may take: weight changes of all lives together.
MAX_UPDATES = 2e9


def experience_curves(
    problem: RuleProblem, rules: Sequence[tuple[Rule, float]]
) -> tuple[FloatArray, FloatArray] | None:
    """Score rules on test draws with plasticity for a part of the life only.

    Args:
        problem: compiled, with lives.
        rules: k rules, each with the factor of its step size.

    Returns:
        Parts of a life with plasticity (T,), from 0 to 1, and fitness (T, k); None where so many
        lives would take minutes.
    """
    from evosearch.engine.run import run_lifetimes

    draws = problem.draws("test", count=N_DRAWS)
    lives = problem.lifetimes(draws)
    work = sum(life.n_rule_applications * life.synapses for life in lives)
    if work * N_DRAWS * N_POINTS * len(rules) > MAX_UPDATES:
        return None
    programs = [problem.program(rule) for rule, _ in rules]
    etas = problem.step_size("test") * np.array([scale for _, scale in rules])
    task = problem.task("test")
    parts = np.linspace(0.0, 1.0, N_POINTS + 1)
    rows = []
    for part in parts.tolist():
        cut = [plastic_for(life, part) for life in lives]
        results = [run_lifetimes(life, programs, etas) for life in cut]
        rows.append(problem.aggregate(task.score(results, lives, draws.keys).per_draw))
    return parts, np.stack(rows)


def plastic_for(life: Lifetime, part: float) -> Lifetime:
    """Return the life with the rule acting in the first ``part`` of its applications only."""
    n = round(part * life.n_rule_applications)
    if n == life.n_rule_applications:
        return life
    return replace(life, phases=first_applications(life.phases, n, goes_on=True))


def stages(run: Any) -> list[tuple[str, str, float]]:
    """Return (label, text, scale) of a few rules that were the best so far, the last the champion.

    Best on validation draws, when they were found.
    """
    rows, best = [], -np.inf
    for row in run.validations:
        if row.fitness > best:
            best = row.fitness
            rows.append(row)
    chosen = np.unique(np.linspace(0, len(rows) - 1, N_STAGES).round().astype(int)) if rows else []
    found = [(f"after {rows[k].evaluations:,} evaluations", rows[k].text, rows[k].scale)
             for k in list(chosen)[:-1]]  # fmt: skip
    champion = run.champion
    return [*found, ("champion", champion.text, champion.scale)]
