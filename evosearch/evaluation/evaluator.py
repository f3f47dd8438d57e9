"""The evaluator: the same outcomes for any number of workers, chunking and backend."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Hashable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Self

import numpy as np

from evosearch.errors import InputError, unknown_name
from evosearch.evaluation import jobs
from evosearch.evaluation.executors import BACKENDS, Executor, make_executor
from evosearch.evaluation.isolated import Isolated
from evosearch.evaluation.outcomes import Outcome, OutcomeCache, candidate_keys, failure
from evosearch.evaluation.racing import race
from evosearch.evaluation.shared import SharedOutcomes
from evosearch.outcome import OK, Evaluation, FloatArray, Lived, joined_evaluations
from evosearch.populations import LowRank
from evosearch.problem import Draws, Problem

DEFAULT_TIMEOUT_S = 60.0
_POLL_S = 0.1


class EvaluationCancelledError(Exception):
    """The evaluation was stopped before it ended; nothing of it counts."""


class Evaluator:
    """Scores candidates on draws of a problem; a context manager.

    Setting the event ``cancel`` ends an evaluation with ``EvaluationCancelledError``.

    Candidates that behave alike are scored once, in the first spelling. What is known of them on
    the same draws is remembered.

    Args:
        problem: says what is scored and how.
        workers: threads or processes; None for all cores.
        backend: ``auto`` takes threads for the engine and processes for a user's Python task.
        device: ``cpu`` or a torch device.
        timeout_s: limit for one candidate of a Python task; compiled lives need none.
        chunk_size: candidates a call; None chooses by number and workers.
        shared: scores that runs share; None for none.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        workers: int | None = None,
        backend: str = "auto",
        device: str = "cpu",
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        chunk_size: int | None = None,
        shared: SharedOutcomes | None = None,
    ) -> None:
        if backend not in BACKENDS:
            raise unknown_name("backend", backend, BACKENDS)
        if workers is not None and workers < 1:
            raise InputError(f"workers is {workers}; it must be at least 1.")
        if chunk_size is not None and chunk_size < 1:
            raise InputError(f"chunk_size is {chunk_size}; it must be at least 1.")
        if device != "cpu" and problem.is_compiled:
            _check_device(device)
        self.problem = problem
        self.workers = workers or _n_cores()
        self.device = device
        own = "processes" if problem.is_python else "threads"
        self.backend = own if backend == "auto" else backend
        # What runs step by step holds one world, which threads cannot share.
        has_one_world = problem.is_compiled and problem.is_python and self.backend == "threads"
        if device != "cpu" or has_one_world:
            self.backend = "sequential"
        self._chunk_size = chunk_size
        self.cancel = threading.Event()
        self._caches: dict[str, OutcomeCache] = {}
        self.shared = shared
        self._executor: Executor = make_executor(self.backend, self.workers)
        self._spec = jobs.spec_of(problem) if self.backend == "processes" else None
        self._isolated = Isolated(
            self._executor,
            workers=self.workers,
            timeout_s=None if problem.is_compiled else timeout_s,
            warm_up=(jobs.ready, (self._spec,)),
            # not a bound method: a run puts an event of its own into ``cancel``
            is_cancelled=lambda: self.cancel.is_set(),  # noqa: PLW0108
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self._executor.close()
        if self.shared is not None:
            self.shared.close()

    def evaluate(
        self,
        candidates: Sequence[Any],
        draws: Draws,
        *,
        scales: Sequence[float] = (1.0,),
        is_remembered: bool = True,
        racing: int | None = None,
    ) -> Evaluation:
        """Score candidates, each at its best step size.

        Args:
            candidates: n candidates.
            draws: D draws.
            scales: factors of the step size to score each candidate at.
            is_remembered: whether to look up what is known and to remember what is found. Two
                spellings of a rule differ in the last digits, so where it matters which was
                scored, and what came before is not stored, nothing is remembered.
            racing: draws after which candidates that cannot be among the best quarter of those
                that are not known are dropped (``evosearch.evaluation.racing``), at one step
                size; None for never.

        Returns:
            The evaluation; ``cost`` is n times the number of step sizes, in a race less for those
            that were dropped, by their share of draws.

        Raises:
            EvaluationCancelledError: it was cancelled.
        """
        factors = tuple(float(scale) for scale in scales)
        cache = self._cache_of(draws, factors) if is_remembered else OutcomeCache()
        keys = candidate_keys(candidates)
        first: dict[Hashable, int] = {}
        for number, key in enumerate(keys):
            if key not in first and cache.get(key) is None:
                first[key] = number
        new = [candidates[number] for number in first.values()]
        cost = len(keys) * len(factors)
        if racing is None:
            outcomes, lived = self._known_or_scored(new, draws, factors)
        else:
            raced = race(lambda c, d: self._score(c, d, factors), self.problem, new, draws, racing)
            outcomes, lived = raced.outcomes, raced.lived
            cost += raced.cost(len(draws)) - len(new)
        known = dict(zip(first, outcomes, strict=True))
        found = [known.get(key) or cache[key] for key in keys]
        for key, outcome in known.items():
            cache.add(key, outcome)
        is_cached = np.array([first.get(key) != n for n, key in enumerate(keys)], dtype=np.bool_)
        return _as_evaluation(candidates, found, is_cached, cost, len(draws), lived)

    def evaluate_block(self, points: FloatArray | LowRank, draws: Draws) -> Evaluation:
        """Score a block of vectors that nobody keeps; nothing is looked up or remembered.

        Args:
            points: (n, d), or a population of low rank.
            draws: D draws.

        Raises:
            EvaluationCancelledError: it was cancelled.
        """
        self.problem.prepare(draws, self.device)
        if not self.problem.is_compiled:
            return self.evaluate(list(np.array(points)), draws, is_remembered=False)
        n = len(points)
        size = self._chunk_size or _chunk_size(n, self.workers, self.problem.largest_chunk)
        size += size % 2  # a pair of a population of low rank stays together
        parts = [points[start : start + size] for start in range(0, n, size)]
        if self.backend == "processes":
            calls = [(self._spec, part, draws, self.device) for part in parts]
            results = self._map(jobs.score_block_elsewhere, calls)
            found = [_block_or_fault(*pair) for pair in zip(parts, results, strict=True)]
        else:
            here = [(self.problem, part, draws, self.device) for part in parts]
            found = self._call(jobs.score_block, here)
        return joined_evaluations(found)

    def remember(
        self, draws: Draws, scales: Sequence[float], known: Sequence[tuple[Any, Outcome]]
    ) -> None:
        """Take over outcomes of an earlier part of the run, in the order in which they came."""
        cache = self._cache_of(draws, tuple(float(scale) for scale in scales))
        keys = candidate_keys([candidate for candidate, _ in known])
        for key, (_, outcome) in zip(keys, known, strict=True):
            cache.add(key, outcome)

    def _known_or_scored(
        self, candidates: list[Any], draws: Draws, scales: tuple[float, ...]
    ) -> jobs.JobResult:
        """Return outcomes that other runs have shared, and score the others."""
        if self.shared is None or not candidates:
            return self._score(candidates, draws, scales)
        found = self.shared.read(candidates, draws, scales)
        new = [candidate for k, candidate in enumerate(candidates) if k not in found]
        outcomes, lived = self._score(new, draws, scales)
        self.shared.write(new, outcomes, draws, scales)
        scored = iter(outcomes)
        return [found[k] if k in found else next(scored) for k in range(len(candidates))], lived

    def _cache_of(self, draws: Draws, scales: tuple[float, ...]) -> OutcomeCache:
        """Return what is remembered on a split, emptied where draws or step sizes are others."""
        cache = self._caches.setdefault(draws.split, OutcomeCache())
        cache.enter((draws.digest, scales))
        return cache

    def _score(
        self, candidates: list[Any], draws: Draws, scales: tuple[float, ...]
    ) -> jobs.JobResult:
        if not candidates:
            return [], Lived()
        self.problem.prepare(draws, self.device)
        if self.problem.is_compiled:
            return self._score_compiled(candidates, draws, scales)
        return self._score_python(candidates, draws, scales)

    def _score_compiled(
        self, candidates: list[Any], draws: Draws, scales: tuple[float, ...]
    ) -> jobs.JobResult:
        n, largest = len(candidates), self.problem.largest_chunk
        size = self._chunk_size or _chunk_size(n, self.workers, largest)
        chunks = [candidates[start : start + size] for start in range(0, n, size)]
        if self.backend == "processes":
            sent = [[jobs.sendable(self.problem, one) for one in chunk] for chunk in chunks]
            calls = [(self._spec, chunk, draws, scales, self.device) for chunk in sent]
            parts = self._map(jobs.score_compiled_elsewhere, calls)
            return jobs.joined([_job_result(part, draws, scales, len(c)) for part, c in
                            zip(parts, chunks, strict=True)])  # fmt: skip
        here = [(self.problem, chunk, draws, scales, self.device) for chunk in chunks]
        return jobs.joined(self._call(jobs.score_compiled, here))

    def _score_python(
        self, candidates: list[Any], draws: Draws, scales: tuple[float, ...]
    ) -> jobs.JobResult:
        if self.backend != "processes":
            here = [(self.problem, candidate, draws, scales) for candidate in candidates]
            return jobs.joined(self._call(jobs.score_python, here))
        sent = [jobs.sendable(self.problem, candidate) for candidate in candidates]
        calls = [(self._spec, one, draws, scales) for one in sent]
        parts = self._map(jobs.score_python_elsewhere, calls)
        return jobs.joined([_job_result(part, draws, scales, 1) for part in parts])

    def _map(self, function: Any, calls: list[tuple[Any, ...]]) -> list[tuple[str, Any]]:
        try:
            return self._isolated.map(function, calls)
        except InterruptedError:
            raise EvaluationCancelledError from None

    def _call(self, function: Any, calls: list[tuple[Any, ...]]) -> list[Any]:
        """Return the results of calls in this process, in their order."""
        futures: list[Future[Any]] = []
        for call in calls:
            if self.cancel.is_set():
                raise EvaluationCancelledError
            futures.append(self._executor.submit(function, *call))
        left = set(futures)
        while left:
            _, left = wait(left, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            if self.cancel.is_set() and left:
                for future in left:
                    future.cancel()
                raise EvaluationCancelledError
        return [future.result() for future in futures]


def _n_cores() -> int:
    """Return the cores that this process may use; not every system tells more than their number."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _chunk_size(n: int, workers: int, largest: int) -> int:
    """Return a size that gives each worker a few chunks."""
    return max(1, min(largest, -(-n // (3 * workers)) if workers > 1 else n))


def _block_or_fault(points: FloatArray | LowRank, result: tuple[str, Any]) -> Evaluation:
    status, value = result
    if status == OK:
        return value
    return jobs.failed_block(points, status, str(value))


def _job_result(
    part: tuple[str, Any], draws: Draws, scales: tuple[float, ...], n: int
) -> jobs.JobResult:
    status, value = part
    if status == "ok":
        return value
    return [failure(status, str(value), len(draws), scales[0])] * n, Lived()


def _as_evaluation(
    candidates: Sequence[Any],
    outcomes: Sequence[Outcome],
    is_cached: Any,
    cost: int,
    n_draws: int,
    lived: Lived,
) -> Evaluation:
    names = sorted({name for outcome in outcomes for name in outcome.metrics})
    per_draw = [outcome.per_draw for outcome in outcomes]
    return Evaluation(
        fitness=np.array([outcome.fitness for outcome in outcomes], dtype=np.float64),
        status=tuple(outcome.status for outcome in outcomes),
        size=np.array([size_of(candidate) for candidate in candidates], dtype=np.int64),
        per_draw=np.stack(per_draw) if per_draw else np.empty((0, n_draws)),
        scale=np.array([outcome.scale for outcome in outcomes], dtype=np.float64),
        exploded=np.array([outcome.exploded for outcome in outcomes], dtype=np.float64),
        is_cached=is_cached,
        cost=cost,
        lived=lived,
        messages=tuple(outcome.message for outcome in outcomes),
        metrics={
            name: np.array([outcome.metrics.get(name, np.nan) for outcome in outcomes])
            for name in names
        },
    )


def size_of(candidate: Any) -> int:
    """Return the nodes of a rule, or the numbers of a vector."""
    return int(candidate.size if hasattr(candidate, "parts") else np.size(candidate))


def _check_device(device: str) -> None:
    """Check that torch knows a device and that it is there."""
    if device == "torch":
        return
    try:
        import torch

        torch.empty(1, device=device)
    except Exception as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"device {device!r} cannot be used: {reason}.") from None
