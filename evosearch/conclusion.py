"""How a run ends: the champion by validation, its test score, baselines, and its success."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from evosearch.accounting import life_cost
from evosearch.halloffame import Entry
from evosearch.robustness import ablations, transplants
from evosearch.rules.rule import Rule
from evosearch.scoring import KnownScore, known_scores, normalise, score_on
from evosearch.store import ValidationRow
from evosearch.tables import plain

if TYPE_CHECKING:
    from evosearch.evaluation import Evaluator
    from evosearch.loop import SearchLoop
    from evosearch.problem import Problem


def conclude(loop: SearchLoop, evaluator: Evaluator) -> dict[str, Any]:
    """Choose the champion, score it once on test draws, and compare it with known rules.

    Returns:
        What the store keeps under ``result``: JSON values.
    """
    problem = loop.plan.problem
    finalists = [*loop.hall.finalists(), *loop.favourites()]
    loop.validate(finalists, loop.last.evaluations)
    known = known_scores(evaluator, problem)
    winner = loop.champion()
    result: dict[str, Any] = {
        "champion": None,
        "known": {name: vars(score) for name, score in known.items()},
        "pareto": [_pareto_row(entry, loop.validated[entry.text]) for entry in loop.hall.front()],
        "summary": loop.search.summary(),
        "life": life_cost(problem),
        "success": False,
        "evaluations_to_success": None,
    }
    if winner is None:
        return plain(result)
    candidate = loop.read(winner.text)
    test, metrics = score_on(evaluator, problem, candidate, "test", winner.scale)
    result["champion"] = {
        "text": winner.text,
        "size": winner.size,
        "scale": winner.scale,
        "fitness": {
            "search": winner.search_fitness,
            "validation": winner.fitness,
            "test": test,
        },
        "metrics": metrics,
        "normalised_test": _normalised(problem, known, test),
        **_spellings(candidate, is_formula=problem.has_rows),
        **_robustness(evaluator, problem, candidate, winner.scale, known),
    }
    result |= _success(loop, known, winner, test)
    return plain(result)


def _robustness(
    evaluator: Evaluator,
    problem: Problem,
    champion: Any,
    scale: float,
    known: dict[str, KnownScore],
) -> dict[str, Any]:
    """Return the transplant and the leak test; nothing for vectors and tasks of the user's own."""
    if not isinstance(champion, Rule) or not problem.is_compiled:
        return {}
    return {
        "transplants": transplants(evaluator, problem, champion, scale, known),
        "ablations": ablations(evaluator, problem, champion, scale),
    }


def _normalised(problem: Problem, known: dict[str, KnownScore], test: float) -> float | None:
    floor, ceiling = problem.floor, problem.ceiling
    if not floor or not ceiling:
        return None
    return normalise(test, known[floor].test, known[ceiling].test)


def _success(
    loop: SearchLoop, known: dict[str, KnownScore], winner: ValidationRow, test: float
) -> dict[str, Any]:
    """Judge by the problem's criterion, and say when validation first met it."""
    criterion = loop.plan.problem.success
    if criterion is None:
        return {"success": None, "evaluations_to_success": None}
    validation_bar = test_bar = criterion.threshold
    if criterion.reference is not None:
        reference = known[criterion.reference]
        if reference.validation is None or reference.test is None:  # there is nothing to equal
            return {"success": None, "evaluations_to_success": None}
        validation_bar = reference.validation + criterion.margin
        test_bar = reference.test + criterion.margin
    assert validation_bar is not None
    assert test_bar is not None
    is_met = test >= test_bar if criterion.split == "test" else winner.fitness >= validation_bar
    met = [row.evaluations for row in loop.validated.values() if row.fitness >= validation_bar]
    first = min(met, default=loop.last.evaluations) if is_met else None
    return {"success": bool(is_met), "evaluations_to_success": first}


def _spellings(candidate: Any, *, is_formula: bool) -> dict[str, str]:
    """Return a rule simplified and typeset; nothing for a vector."""
    if not isinstance(candidate, Rule):
        return {"simplified": "", "latex": ""}
    from evosearch.rules.latex import latex
    from evosearch.rules.simplify import simplify

    shorter = simplify(candidate)
    return {"simplified": shorter.text, "latex": latex(shorter, is_formula=is_formula)}


def _pareto_row(entry: Entry, row: ValidationRow) -> dict[str, Any]:
    validation = row.fitness if math.isfinite(row.fitness) else None
    return {
        "size": entry.size,
        "text": entry.text,
        "fitness": entry.fitness,
        "validation": validation,
        "scale": row.scale,
    }
