"""The calls that workers make: pure functions of a problem, candidates and draws."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from evosearch.errors import EvosearchError
from evosearch.evaluation.outcomes import Outcome, best_outcome, failure
from evosearch.outcome import OK, Lived
from evosearch.problem import Draws, Problem

if TYPE_CHECKING:
    from evosearch.rules.rule import Rule

ProblemSpec: TypeAlias = tuple[str, str, str]
"""Resolved file, its name in messages, and the folder of a user's own task: what is sent."""

JobResult: TypeAlias = tuple[list[Outcome], Lived]
"""Outcomes, and what they took."""


def spec_of(problem: Problem) -> ProblemSpec:
    """Return what another process needs to build the problem again."""
    return problem.config.to_toml(), problem.source, str(problem.folder)


@lru_cache(maxsize=4)
def build_problem(spec: ProblemSpec) -> Problem:
    """Build a problem in a worker, once."""
    import tomllib

    from evosearch.config import build_config

    text, source, folder = spec
    config = build_config(tomllib.loads(text), source=source)
    return Problem(config, source=source, folder=Path(folder))


def score_compiled(
    problem: Problem, rules: Sequence[Rule], draws: Draws, scales: tuple[float, ...], device: str
) -> JobResult:
    """Score rules in the engine; where the batch fails, one by one to find the culprit."""
    try:
        return _score_batch(problem, rules, draws, scales, device)
    except Exception as error:
        if len(rules) == 1:
            return [_failure_of(error, len(draws), scales[0])], Lived()
    return joined([score_compiled(problem, [rule], draws, scales, device) for rule in rules])


def joined(parts: Sequence[JobResult]) -> JobResult:
    """Return several results as one."""
    outcomes = [outcome for part in parts for outcome in part[0]]
    return outcomes, sum((part[1] for part in parts), Lived())


def score_compiled_elsewhere(
    spec: ProblemSpec, texts: Sequence[str], draws: Draws, scales: tuple[float, ...], device: str
) -> JobResult:
    """Score rules, sent as text, in a worker process."""
    problem = build_problem(spec)
    return score_compiled(problem, [problem.read_rule(t) for t in texts], draws, scales, device)


def score_python(
    problem: Problem, candidate: Any, draws: Draws, scales: tuple[float, ...]
) -> JobResult:
    """Score one candidate by a user's function, draw by draw."""
    try:
        outcome = best_outcome([_score_function(problem, candidate, draws, s) for s in scales])
    except (Exception, SystemExit) as error:
        outcome = _failure_of(error, len(draws), scales[0])
    return [outcome], Lived(len(draws) * len(scales))


def score_python_elsewhere(
    spec: ProblemSpec, text: str, draws: Draws, scales: tuple[float, ...]
) -> JobResult:
    """Score one rule, sent as text, by a user's function in a worker process."""
    problem = build_problem(spec)
    return score_python(problem, problem.read_rule(text), draws, scales)


def ready(spec: ProblemSpec | None) -> bool:
    """Tell that a worker is up, with the problem and a user's task imported."""
    if spec is not None:
        problem = build_problem(spec)
        if not problem.is_compiled:
            problem.python_task("search")
    return True


def _score_batch(
    problem: Problem, rules: Sequence[Rule], draws: Draws, scales: tuple[float, ...], device: str
) -> JobResult:
    repeated = [rule for rule in rules for _ in scales]
    factors = np.tile(np.asarray(scales, dtype=np.float64), len(rules))
    chunk = problem.score_rules(repeated, factors, draws, device)
    outcomes = []
    for start in range(0, len(repeated), len(scales)):
        rows = range(start, start + len(scales))
        outcomes.append(best_outcome(_row_outcome(chunk, k, float(factors[k])) for k in rows))
    return outcomes, chunk.lived


def _row_outcome(chunk: Any, k: int, scale: float) -> Outcome:
    fitness = float(chunk.fitness[k])
    if not np.isfinite(fitness):
        return failure("invalid", f"its fitness is {fitness}", chunk.per_draw.shape[1], scale)
    metrics = {name: float(column[k]) for name, column in chunk.metrics.items()}
    exploded = float(chunk.exploded[k])
    return Outcome(OK, fitness, chunk.per_draw[k].copy(), scale, exploded, metrics=metrics)


def _score_function(problem: Problem, candidate: Any, draws: Draws, scale: float) -> Outcome:
    task = problem.python_task(draws.split)
    values, figures = [], []
    for key in draws.keys:
        value, others = task(_scaled(candidate, scale), key)
        if not np.isfinite(value):
            return failure("invalid", f"the task returned {value}", len(draws), scale)
        values.append(value)
        figures.append(others)
    per_draw = np.array(values, dtype=np.float64)
    names = set(figures[0]).intersection(*figures[1:]) if figures else set()
    metrics = {name: float(np.mean([f[name] for f in figures])) for name in sorted(names)}
    fitness = float(problem.aggregate(per_draw[None, :])[0])
    return Outcome(OK, fitness, per_draw, scale, metrics=metrics)


def _scaled(candidate: Any, scale: float) -> Any:
    """Return the candidate as a user's function gets it: rules carry their step size factor."""
    if scale == 1.0 or not hasattr(candidate, "parts"):
        return candidate
    from evosearch.rules.expression import Expression
    from evosearch.rules.rule import Rule

    parts = dict(candidate.parts)
    if "dw" in parts:
        parts["dw"] = Expression(("mul", scale, *parts["dw"].nodes))
    return Rule(parts)


def _failure_of(error: BaseException, n_draws: int, scale: float) -> Outcome:
    if isinstance(error, MemoryError):
        return failure("oom", "out of memory", n_draws, scale)
    status = "invalid" if isinstance(error, EvosearchError) else "failed"
    message = str(error) if status == "invalid" else f"{type(error).__name__}: {error}"
    return failure(status, message, n_draws, scale)
