"""One candidate scored on one split, as ``evosearch evaluate`` reports it."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.outcome import FloatArray, Json
from evosearch.tables import cell, plain

if TYPE_CHECKING:
    from evosearch.evaluation import Evaluator
    from evosearch.problem import Problem


@dataclass(frozen=True)
class Score:
    """What one candidate scored; prints and renders in a notebook.

    Attributes:
        problem: name of the problem.
        candidate: its text.
        split: search, validation or test.
        draws: number of draws.
        mean: mean fitness over draws.
        sd: standard deviation over draws, None for a single one.
        normalised: 0 at the floor, 1 at the ceiling, None where the two are equal.
        floor: mean of the trivial control on the same draws.
        ceiling: mean of the reference on the same draws.
        parameters: constants of a rule, numbers of a vector.
        metrics: further figures of the problem; ``scale`` is the factor of the step size.
        per_draw: (draws,) fitness.
    """

    problem: str
    candidate: str
    split: str
    draws: int
    mean: float
    sd: float | None
    normalised: float | None
    floor: float | None
    ceiling: float | None
    parameters: int
    metrics: Mapping[str, float]
    per_draw: FloatArray = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Json]:
        """Return the keys that ``evaluate --json`` promises."""
        names = ("problem", "candidate", "split", "draws", "mean", "sd", "normalised")
        names += ("floor", "ceiling", "parameters", "metrics")
        return {name: plain(getattr(self, name)) for name in names}

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(cell(value))}</td></tr>"
            for name, value in self.to_json().items()
            if not isinstance(value, dict)
        )
        return f"<table>{rows}</table>"


def score_candidate(
    problem: Problem,
    candidate: Any,
    *,
    split: str = "test",
    seeds: int | None = None,
    scale: float | None = None,
    workers: int | None = None,
    device: str = "cpu",
) -> Score:
    """Score a candidate on one split, and floor and ceiling on the same draws.

    Args:
        problem: says what is scored and how.
        candidate: a rule or a vector.
        split: ``search``, ``validation`` or ``test``.
        seeds: number of draws, None for the split's own.
        scale: factor of the step size, None for the best on validation draws.
        workers: threads or processes.
        device: ``cpu`` or a torch device.

    Raises:
        InputError: there is no such split.
        RunError: the candidate failed; the message says how.
    """
    from evosearch.errors import RunError, unknown_name
    from evosearch.evaluation import Evaluator

    if split not in problem.splits:
        raise unknown_name("split", split, problem.splits)
    draws = problem.draws(split, count=seeds)
    with Evaluator(problem, workers=workers, device=device) as evaluator:
        factor = scale if scale is not None else best_scale(evaluator, problem, candidate)
        outcome = evaluator.evaluate([candidate], draws, scales=(factor,))
        if outcome.status[0] != "ok":
            reason = outcome.messages[0] or outcome.status[0]
            raise RunError(f"the {problem.kind} could not be scored on {problem.name}: {reason}.")
        floor = _known_score(evaluator, problem, problem.floor, draws)
        ceiling = _known_score(evaluator, problem, problem.ceiling, draws)
    values = outcome.per_draw[0]
    mean = float(np.mean(values))
    metrics = {name: float(column[0]) for name, column in outcome.metrics.items()}
    metrics |= {"scale": float(factor), "exploded": float(outcome.exploded[0])}
    return Score(
        problem=problem.name,
        candidate=problem.write(candidate),
        split=split,
        draws=len(values),
        mean=mean,
        sd=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        normalised=normalise(float(outcome.fitness[0]), floor, ceiling),
        floor=floor,
        ceiling=ceiling,
        parameters=_n_parameters(candidate),
        metrics=metrics,
        per_draw=values,
    )


@dataclass(frozen=True)
class KnownScore:
    """How a known candidate did.

    Attributes:
        validation: mean on validation draws, None where it could not be scored.
        test: mean on test draws.
        scale: factor of the step size, the best on validation draws unless the problem fixes it.
    """

    validation: float | None
    test: float | None
    scale: float


def known_scores(evaluator: Evaluator, problem: Problem) -> dict[str, KnownScore]:
    """Score all known candidates on validation and test draws; remembered in a process."""
    # of a user's own task neither the folder nor the source is named in the file
    own = "" if problem.is_compiled else f"{problem.folder}:{problem.source_hash()}"
    key = (problem.config.to_toml(), own, evaluator.device)
    if key not in _KNOWN_SCORES:
        _KNOWN_SCORES[key] = {
            name: _score_known(evaluator, problem, name) for name in problem.config.known
        }
        while len(_KNOWN_SCORES) > _MAX_KNOWN_SCORES:
            del _KNOWN_SCORES[next(iter(_KNOWN_SCORES))]
    return _KNOWN_SCORES[key]


_KNOWN_SCORES: dict[tuple[str, str, str], dict[str, KnownScore]] = {}
_MAX_KNOWN_SCORES = 32


def score_on(
    evaluator: Evaluator, problem: Problem, candidate: Any, split: str, scale: float
) -> tuple[float, dict[str, float]]:
    """Return a candidate's fitness and other figures on the draws of a split.

    Raises:
        RunError: it could not be scored.
    """
    from evosearch.errors import RunError

    draws = problem.draws(split)
    outcome = evaluator.evaluate([candidate], draws, scales=(scale,), is_remembered=False)
    if outcome.status[0] != "ok":
        reason = outcome.messages[0] or outcome.status[0]
        raise RunError(f"the champion could not be scored on {split} draws: {reason}.")
    metrics = {name: float(column[0]) for name, column in outcome.metrics.items()}
    return float(outcome.fitness[0]), metrics


def best_scale(evaluator: Evaluator, problem: Problem, candidate: Any) -> float:
    """Return the problem's factor of the step size at which a candidate does best on validation."""
    factors = tuple(problem.eta_factors)
    if len(factors) == 1:
        return float(factors[0])
    outcome = evaluator.evaluate([candidate], problem.draws("validation"), scales=factors)
    return float(outcome.scale[0])


def _score_known(evaluator: Evaluator, problem: Problem, name: str) -> KnownScore:
    candidate, known = problem.known_candidate(name), problem.config.known[name]
    if candidate is None:
        return KnownScore(known.value, known.value, 1.0)
    fixed = known.scale
    factors = (fixed,) if fixed is not None else tuple(problem.eta_factors)
    draws = {split: problem.draws(split) for split in ("validation", "test")}
    validation = evaluator.evaluate(
        [candidate], draws["validation"], scales=factors, is_remembered=False
    )
    scale = float(validation.scale[0])
    test = evaluator.evaluate([candidate], draws["test"], scales=(scale,), is_remembered=False)
    values = (validation, test)
    fitness = [float(v.fitness[0]) if v.status[0] == "ok" else None for v in values]
    return KnownScore(fitness[0], fitness[1], scale)


def _n_parameters(candidate: Any) -> int:
    return len(candidate.constants) if hasattr(candidate, "constants") else int(np.size(candidate))


def _known_score(
    evaluator: Evaluator, problem: Problem, name: str | None, draws: Any
) -> float | None:
    if not name:
        return None
    candidate, known = problem.known_candidate(name), problem.config.known[name]
    if candidate is None:
        return known.value
    fixed = known.scale
    factor = fixed if fixed is not None else best_scale(evaluator, problem, candidate)
    outcome = evaluator.evaluate([candidate], draws, scales=(factor,))
    return float(outcome.fitness[0]) if outcome.status[0] == "ok" else None


def normalise(value: float | None, floor: float | None, ceiling: float | None) -> float | None:
    """Return (value - floor) / (ceiling - floor), None where it means nothing."""
    if value is None or floor is None or ceiling is None or floor == ceiling:
        return None
    if not math.isfinite(value):
        return None
    return (value - floor) / (ceiling - floor)
