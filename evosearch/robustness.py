"""Where else the champion works, and what it works by: two tests that every run of rules ends with.

The transplant test scores it on the splits that the search never chose by: other sizes, bodies or
tasks. The leak test takes one terminal after the other away: without its teacher a rule must fall
to the floor, and where it does not, something else tells it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.config import REQUIRED_SPLITS
from evosearch.errors import RunError
from evosearch.rules.expression import Expression
from evosearch.rules.rule import Rule
from evosearch.scoring import score_on

if TYPE_CHECKING:
    from evosearch.evaluation import Evaluator
    from evosearch.problem import Problem
    from evosearch.scoring import KnownScore

CHAMPION = "champion"


def transplants(
    evaluator: Evaluator,
    problem: Problem,
    champion: Rule,
    scale: float,
    known: dict[str, KnownScore],
) -> dict[str, dict[str, float | None]]:
    """Score the champion, the floor and the ceiling on each further split of the problem.

    Args:
        evaluator: of the problem.
        problem: compiled, of rules.
        champion: the rule.
        scale: factor of the step size that goes with it.
        known: scores of known rules, for the factors of floor and ceiling.

    Returns:
        By split, the fitness of ``champion``, ``floor`` and ``ceiling``, None where there is none.
    """
    rules: dict[str, tuple[Rule, float] | None] = {CHAMPION: (champion, scale)}
    for place, name in (("floor", problem.floor), ("ceiling", problem.ceiling)):
        rule = problem.known_candidate(name) if name else None
        rules[place] = (rule, known[name].scale) if name and rule is not None else None
    return {
        split: {
            place: _fitness(evaluator, problem, *entry, split) if entry else None
            for place, entry in rules.items()
        }
        for split in problem.splits
        if split not in REQUIRED_SPLITS
    }


def ablations(
    evaluator: Evaluator, problem: Problem, champion: Rule, scale: float
) -> dict[str, float | None]:
    """Score the champion on validation draws with each terminal that it reads held at zero."""
    return {
        name: _fitness(evaluator, problem, without(champion, name), scale, "validation")
        for name in sorted(champion.terminals)
    }


def without(rule: Rule, terminal: str) -> Rule:
    """Return the rule with a terminal held at zero.

    Example:
        >>> print(without(Rule("mod*pre - w"), "mod"))
        0*pre - w
    """
    return Rule(
        {
            name: Expression(0.0 if node == terminal else node for node in part.nodes)
            for name, part in rule.parts.items()
        }
    )


def _fitness(
    evaluator: Evaluator, problem: Problem, rule: Rule, scale: float, split: str
) -> float | None:
    try:
        return score_on(evaluator, problem, rule, split, scale)[0]
    except RunError:
        return None
