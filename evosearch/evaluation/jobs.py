"""The calls that workers make: pure functions of a problem, candidates and draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from evosearch.errors import EvosearchError
from evosearch.evaluation.outcomes import Outcome, best_outcome, failure
from evosearch.outcome import (
    OK,
    Evaluation,
    FloatArray,
    Lived,
    joined_evaluations,
    plain_evaluation,
)
from evosearch.populations import LowRank
from evosearch.problem import Draws, Problem, make_problem

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
    return make_problem(config, source=source, folder=Path(folder))


def score_compiled(
    problem: Problem,
    candidates: Sequence[Any],
    draws: Draws,
    scales: tuple[float, ...],
    device: str,
) -> JobResult:
    """Score candidates at once; where the batch fails, one by one to find the culprit."""
    try:
        return _score_batch(problem, candidates, draws, scales, device)
    except Exception as error:
        if len(candidates) == 1:
            return [_failure_of(error, len(draws), scales[0])], Lived()
    parts = [score_compiled(problem, [one], draws, scales, device) for one in candidates]
    return joined(parts)


def joined(parts: Sequence[JobResult]) -> JobResult:
    """Return several results as one."""
    outcomes = [outcome for part in parts for outcome in part[0]]
    return outcomes, sum((part[1] for part in parts), Lived())


def score_compiled_elsewhere(
    spec: ProblemSpec, sent: Sequence[Any], draws: Draws, scales: tuple[float, ...], device: str
) -> JobResult:
    """Score candidates in a worker process."""
    problem = build_problem(spec)
    return score_compiled(problem, [received(problem, s) for s in sent], draws, scales, device)


def score_block(
    problem: Problem, points: FloatArray | LowRank, draws: Draws, device: str
) -> Evaluation:
    """Score a block of vectors; where it fails, in halves, so that one costs itself alone.

    Halves also make do with less memory where the whole did not fit.
    """
    n = len(points)
    try:
        chunk = problem.score(points, np.ones(n), draws, device)
    except Exception as error:
        if n == 1 or (n == 2 and isinstance(points, LowRank)):
            return failed_block(points, *_status_of(error))
    else:
        d = points.mean.size if isinstance(points, LowRank) else points.shape[1]
        return plain_evaluation(
            chunk.fitness, d, lived=chunk.lived, metrics=chunk.metrics, learned=chunk.learned
        )
    half = n // 4 * 2 if isinstance(points, LowRank) else n // 2
    parts = (points[:half], points[half:])
    return joined_evaluations([score_block(problem, part, draws, device) for part in parts])


def score_block_elsewhere(
    spec: ProblemSpec, points: FloatArray | LowRank, draws: Draws, device: str
) -> Evaluation:
    """Score a block of vectors in a worker process."""
    return score_block(build_problem(spec), points, draws, device)


def failed_block(points: FloatArray | LowRank, status: str, message: str) -> Evaluation:
    """Return the evaluation of a block of which no vector has a fitness."""
    n = len(points)
    lost = plain_evaluation(np.full(n, np.nan), 0, messages=(message,) * n)
    return replace(lost, status=(status,) * n)


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
    spec: ProblemSpec, sent: Any, draws: Draws, scales: tuple[float, ...]
) -> JobResult:
    """Score one candidate by a user's function in a worker process."""
    problem = build_problem(spec)
    return score_python(problem, received(problem, sent), draws, scales)


def sendable(problem: Problem, candidate: Any) -> Any:
    """Return what is sent to another process: a rule as text, a vector as it is."""
    return problem.write(candidate) if problem.kind == "rule" else candidate


def received(problem: Problem, sent: Any) -> Any:
    """Return the candidate that was sent."""
    return problem.read(sent) if isinstance(sent, str) else sent


def ready(spec: ProblemSpec | None) -> bool:
    """Tell that a worker is up, with the problem and a user's task imported."""
    if spec is not None:
        problem = build_problem(spec)
        if not problem.is_compiled:
            problem.python_task("search")
    return True


def _score_batch(
    problem: Problem,
    candidates: Sequence[Any],
    draws: Draws,
    scales: tuple[float, ...],
    device: str,
) -> JobResult:
    n = len(scales)
    repeated = [candidate for candidate in candidates for _ in scales]
    factors = np.tile(np.asarray(scales, dtype=np.float64), len(candidates))
    chunk = problem.score(repeated, factors, draws, device)
    outcomes = _row_outcomes(chunk, factors.tolist())
    if n > 1:
        starts = range(0, len(outcomes), n)
        best = [best_outcome(outcomes[start : start + n]) for start in starts]
        # Copied, so that those which are not best are let go.
        outcomes = [replace(one, per_draw=one.per_draw.copy()) for one in best]
    return outcomes, chunk.lived


def _row_outcomes(chunk: Any, factors: Sequence[float]) -> list[Outcome]:
    """Return the outcome of each row of a chunk, scored at these step sizes."""
    n, names = len(factors), list(chunk.metrics)
    columns = [chunk.metrics[name].tolist() for name in names]
    figures: Iterable[Sequence[float]] = zip(*columns, strict=True) if names else ((),) * n
    per_draw = np.array(chunk.per_draw, dtype=np.float64)
    outcomes = []
    for fitness, draws, scale, exploded, values in zip(
        chunk.fitness.tolist(), per_draw, factors, chunk.exploded.tolist(), figures, strict=True
    ):
        if math.isfinite(fitness):
            metrics: dict[str, float] = {}
            metrics.update(zip(names, values, strict=True))
            outcomes.append(Outcome(OK, fitness, draws, scale, exploded, "", metrics))
        else:
            outcomes.append(failure("invalid", f"its fitness is {fitness}", len(draws), scale))
    return outcomes


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
    status, message = _status_of(error)
    return failure(status, message, n_draws, scale)


def _status_of(error: BaseException) -> tuple[str, str]:
    """Return the status of what raised an error, and why."""
    if isinstance(error, MemoryError):
        return "oom", "out of memory"
    if isinstance(error, EvosearchError):
        return "invalid", str(error)
    return "failed", f"{type(error).__name__}: {error}"
