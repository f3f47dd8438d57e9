"""The loop of a run: ask, evaluate, tell, validate, store; until something ends it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evosearch.errors import InputError, RunCorruptError
from evosearch.evaluation import EvaluationCancelledError, Evaluator, Outcome
from evosearch.halloffame import Entry, HallOfFame
from evosearch.outcome import OK, Evaluation, Lived
from evosearch.plan import Plan
from evosearch.problem import Draws
from evosearch.signals import StopRequest
from evosearch.store import (
    CandidateRow,
    GenerationRecord,
    GenerationRow,
    RunStore,
    ValidationRow,
)
from evosearch.store.folder import damaged
from evosearch.store.records import chain_digest

logger = logging.getLogger(__name__)

# With fresh draws each generation has another best, and validation costs more than the search.
VALIDATION_INTERVAL = 20
# A generation of a fast task takes less time than the disk needs to be sure of it; one that was not
# written when a run is killed is made again, the same.
_SECONDS_BETWEEN_WRITES = 0.2
_SHARE_OF_WRITING = 0.05
_ROW_COLUMNS = ("size", "fitness", "scale", "exploded", "is_cached")
BUDGET, DONE, TIME, TARGET, PATIENCE = "budget", "done", "time", "target", "patience"


@dataclass(frozen=True)
class Limits:
    """What ends a run before its budget does.

    Attributes:
        time_s: seconds of this continuation.
        target: fitness on validation draws.
        patience: generations without a gain on validation draws.
    """

    time_s: float | None = None
    target: float | None = None
    patience: int | None = None


def check_limits(time_s: float | None, target: float | None) -> None:
    """Raise InputError where a limit means nothing."""
    if target is not None and not math.isfinite(target):
        raise InputError(f"target is {target}; it must be a finite number.")
    if time_s is not None and not time_s > 0:
        raise InputError(f"time_s is {time_s}; it must be above 0.")


@dataclass(frozen=True)
class Progress:
    """What is shown while a run goes on."""

    phase: str
    generation: int
    evaluations: int
    budget: int
    best: float
    median: float
    best_size: int
    evaluations_per_s: float
    synapse_updates_per_s: float
    failures: int
    time_left_s: float | None


class SearchLoop:
    """One run under way.

    Args:
        plan: what is run.
        store: where it is written; what it holds already is taken over.
        evaluator: scores candidates.
        limits: what else may end it.
        stop: what signals ask for.
        on_progress: called with the progress after each generation.
        on_generation: called with the number of each generation after it is stored.
    """

    def __init__(
        self,
        plan: Plan,
        store: RunStore,
        evaluator: Evaluator,
        *,
        limits: Limits,
        stop: StopRequest,
        on_progress: Callable[[Progress], Any] | None = None,
        on_generation: Callable[[int], Any] | None = None,
    ) -> None:
        self.plan = plan
        self._store = store
        self._evaluator = evaluator
        self._limits = limits
        self._stop = stop
        self._on_progress = on_progress
        self._on_generation = on_generation
        self._started_at = time.monotonic()
        self._unwritten: list[GenerationRecord] = []
        self._written_at, self._seconds_to_write = -math.inf, 0.0
        self.search = plan.make_search()
        self._scales = plan.problem.eta_factors if self.search.scores_scales else (1.0,)
        self._racing = plan.problem.racing(plan.search)
        # Fitness of each draw is most of what a run would store; few searches read it.
        self._needs_draws = "per_draw" in self.search.needs
        self._is_fresh = plan.problem.is_fresh(plan.search)
        self.hall = HallOfFame(is_fresh=self._is_fresh)
        self.validated: dict[str, ValidationRow] = {}
        self.last = _before_the_first()
        try:
            self._restore()
        except Exception as error:
            if isinstance(error, RunCorruptError):
                raise
            raise damaged(store.path, error) from error
        self._at_start = self.last

    def run(self) -> str:
        """Go on until something ends the run; return what did."""
        self._report("search")
        try:
            reason = self._reason_to_stop() or self.step()
            while reason is None:
                self._report("search")
                if self._on_generation is not None:
                    self._on_generation(self.last.generation)
                reason = self._reason_to_stop() or self.step()
        except EvaluationCancelledError:
            reason = self._stop.reason or "interrupt"
            self._forget_unwritten()
        self._write()
        return reason

    def step(self) -> str | None:
        """Make one generation; return what ends the run where there is none to make."""
        before = self.search.n_inside
        genotypes = self.search.ask()
        n_inside = self.search.n_inside - before
        room = (self.plan.budget - self.last.evaluations - n_inside) // len(self._scales)
        if not genotypes:
            return DONE
        # What was spent inside is counted with the candidates asked, of which one is scored.
        self._generation(genotypes[: max(room, 1)], n_inside)
        return None

    def validate(self, entries: Sequence[Entry], evaluations: int) -> list[ValidationRow]:
        """Score entries that were not yet, on validation draws at all step size factors.

        Args:
            entries: of the hall of fame.
            evaluations: candidate evaluations made so far, which the rows record.
        """
        new = [entry for entry in entries if entry.text not in self.validated]
        if not new:
            return []
        problem = self.plan.problem
        found = self._evaluator.evaluate(
            [self.read(entry.text) for entry in new],
            problem.draws("validation"),
            scales=problem.eta_factors,
            is_remembered=False,
        )
        self._lived += found.lived
        rows = [
            ValidationRow(entry.text, entry.size, entry.fitness, fitness, scale, evaluations)
            for entry, fitness, scale in zip(
                new, found.fitness.tolist(), found.scale.tolist(), strict=True
            )
        ]
        self.validated.update({row.text: row for row in rows})
        return rows

    def favourites(self) -> list[Entry]:
        """Score what the search holds to be best on the last draws; it does not count."""
        genotypes = self.search.favourites() if self.last.generation else []
        if not genotypes:
            return []
        candidates = [self.search.space.decode(genotype) for genotype in genotypes]
        draws = self._draws(self.last.generation)
        found = self._evaluator.evaluate(
            candidates, draws, scales=self._scales, is_remembered=False
        )
        return [
            Entry(row.text, row.size, row.fitness, row.scale)
            for row in self._rows(genotypes, candidates, found)
            if row.status == OK
        ]

    def champion(self) -> ValidationRow | None:
        """Return the best on validation draws; each node costs what the problem says it must earn.

        Among equals the smallest wins, then the first.
        """
        price = self.plan.problem.config.parsimony
        rows = [row for row in self.validated.values() if math.isfinite(row.fitness)]
        return min(rows, key=lambda row: (price * row.size - row.fitness, row.size), default=None)

    def _generation(self, genotypes: Sequence[Any], n_inside: int) -> None:
        number = self.last.generation + 1
        draws = self._draws(number)
        candidates = [self.search.space.decode(genotype) for genotype in genotypes]
        evaluation = self._evaluator.evaluate(
            candidates, draws, scales=self._scales, racing=self._racing
        )
        evaluation = replace(evaluation, cost=evaluation.cost + n_inside)
        if not self._needs_draws:
            evaluation = replace(evaluation, per_draw=np.empty((len(candidates), 0)))
        rows = self._rows(genotypes, candidates, evaluation)
        self._lived = evaluation.lived
        self.hall.update(rows)
        is_due = not self._is_fresh or number % VALIDATION_INTERVAL == 0
        spent = self.last.evaluations + evaluation.cost
        validations = self.validate(self.hall.front(), spent) if is_due else []
        # Only now, so that a stop while it was scored leaves the search as it was written.
        self.search.tell(genotypes, evaluation)
        digest = chain_digest(self.last.digest, rows)
        self.last = self._figures(number, evaluation, self.hall.best, digest)
        self.native_updates += self._lived.native_updates
        self._record(GenerationRecord(self.last, rows, validations, _events(rows)))

    def _record(self, record: GenerationRecord) -> None:
        """Keep a generation to be written; at once where it is time to."""
        self._unwritten.append(record)
        waited = time.monotonic() - self._written_at
        is_due = waited > max(_SECONDS_BETWEEN_WRITES, self._seconds_to_write / _SHARE_OF_WRITING)
        if is_due or self._on_generation is not None:
            self._write()

    def _write(self) -> None:
        """Write the generations that are not written yet, and the state of the search."""
        if not self._unwritten:
            return
        started = time.monotonic()
        self._store.append(self._unwritten, self.search.state_dict())
        self._unwritten = []
        self._native_written = self.native_updates
        self._written_at = time.monotonic()
        self._seconds_to_write = self._written_at - started

    def _forget_unwritten(self) -> None:
        """Leave the run as it was written: the search has been asked for more than it was told.

        A resumed run makes the fraction of a second again that is lost here, to the same bits.
        """
        self._unwritten = []
        self.native_updates = self._native_written

    def _draws(self, generation: int) -> Draws:
        plan = self.plan
        return plan.problem.draws(
            "search", run_seed=plan.seed, generation=generation, search=plan.search
        )

    def _rows(
        self, genotypes: Sequence[Any], candidates: Sequence[Any], evaluation: Evaluation
    ) -> list[CandidateRow]:
        encode, per_draw = self.search.space.encode_text, evaluation.per_draw
        columns = (getattr(evaluation, name).tolist() for name in _ROW_COLUMNS)
        rows = []
        for genotype, candidate, status, message, draws, *figures, is_cached in zip(
            genotypes, candidates, evaluation.status, evaluation.messages, per_draw, *columns,
            strict=True,
        ):  # fmt: skip
            genes, (size, fitness, scale, exploded) = encode(genotype), figures
            rows.append(
                CandidateRow(
                    genes, getattr(candidate, "text", genes), size, fitness, status, scale,
                    exploded, is_cached, None if is_cached else draws, message,
                )
            )  # fmt: skip
        return rows

    def _figures(
        self, number: int, evaluation: Evaluation, best: Entry | None, digest: str
    ) -> GenerationRow:
        is_ok, last = evaluation.is_ok, self.last
        fitness = evaluation.fitness[is_ok]
        quartiles = np.quantile(fitness, (0.25, 0.5, 0.75)) if fitness.size else np.full(3, np.nan)
        n_scales, n_known = len(self._scales), int(evaluation.is_cached.sum())
        # Of those that are new some may have left a race; what was made inside is none of them.
        n_unique = min((len(is_ok) - n_known) * n_scales, evaluation.cost - n_known * n_scales)
        return GenerationRow(
            generation=number,
            evaluations=last.evaluations + evaluation.cost,
            unique_evaluations=last.unique_evaluations + n_unique,
            lifetimes=last.lifetimes + self._lived.lifetimes,
            synapse_updates=last.synapse_updates + self._lived.synapse_updates,
            best=best.fitness if best else math.nan,
            generation_best=float(fitness.max()) if fitness.size else math.nan,
            q25=float(quartiles[0]),
            median=float(quartiles[1]),
            q75=float(quartiles[2]),
            mean_size=float(np.mean(evaluation.size)),
            best_size=best.size if best else 0,
            validation=self._best_validation(),
            failures=last.failures + int((~is_ok).sum()),
            wall_s=self._wall_before + time.monotonic() - self._started_at,
            digest=digest,
        )

    def _best_validation(self) -> float:
        known = [row.fitness for row in self.validated.values() if math.isfinite(row.fitness)]
        return max(known, default=math.nan)

    def _reason_to_stop(self) -> str | None:
        if self._stop.event.is_set():
            return self._stop.reason or "interrupt"
        if self.last.evaluations + len(self._scales) > self.plan.budget:
            return BUDGET
        if self.search.is_done:
            return DONE
        limits, validation = self._limits, self.last.validation
        if limits.time_s is not None and time.monotonic() - self._started_at >= limits.time_s:
            return TIME
        if limits.target is not None and validation >= limits.target:
            return TARGET
        if limits.patience is not None and self._n_stalled() >= limits.patience:
            return PATIENCE
        return None

    def _n_stalled(self) -> int:
        """Return the generations since the best on validation draws last rose."""
        last_gain = max((row.evaluations for row in self._gains()), default=0)
        return sum(evaluations > last_gain for evaluations in self._evaluations_after)

    def _gains(self) -> list[ValidationRow]:
        best, gains = -math.inf, []
        for row in self.validated.values():
            if row.fitness > best:
                best = row.fitness
                gains.append(row)
        return gains

    def _report(self, phase: str) -> None:
        self._evaluations_after.append(self.last.evaluations)
        if self._on_progress is not None:
            self._on_progress(self.progress(phase))

    def progress(self, phase: str) -> Progress:
        """Return what is shown while the run goes on."""
        last, start = self.last, self._at_start
        seconds = max(1e-9, time.monotonic() - self._started_at)
        rate = (last.evaluations - start.evaluations) / seconds
        left = None
        if rate > 0:
            left = (self.plan.budget - last.evaluations) / rate
            if self._limits.time_s is not None:
                left = min(left, self._limits.time_s - seconds)
        return Progress(
            phase=phase,
            generation=last.generation,
            evaluations=last.evaluations,
            budget=self.plan.budget,
            best=last.best,
            median=last.median,
            best_size=last.best_size,
            evaluations_per_s=rate,
            synapse_updates_per_s=(last.synapse_updates - start.synapse_updates) / seconds,
            failures=last.failures,
            time_left_s=None if left is None else max(0.0, left),
        )

    def read(self, text: str) -> Any:
        """Return a candidate from its text."""
        return self.plan.problem.read(text)

    def _restore(self) -> None:
        """Take over what the store holds: figures, hall, cache, validations, search state."""
        self._lived = Lived()
        self.native_updates = int(self._store.facts().get("native_updates") or 0)
        self._native_written = self.native_updates
        self._wall_before = 0.0
        self._evaluations_after: list[int] = []
        generations = self._store.generations()
        self.validated = {row.text: row for row in self._store.validations()}
        if not generations:
            return
        self.last = generations[-1]
        self._wall_before = self.last.wall_s
        self._evaluations_after = [row.evaluations for row in generations[:-1]]
        self._restore_candidates()
        state = self._store.last_state()
        assert state is not None
        assert state[0] == self.last.generation
        self.search.load_state_dict(state[1])

    def _restore_candidates(self) -> None:
        """Take over the hall of fame and what is known of candidates."""
        rows = self._store.candidates(self.last.generation if self._is_fresh else None)
        self.hall.update(rows)
        if not self._is_fresh:
            draws = self._draws(self.last.generation)
            known = [
                (self.read(row.text), _outcome(row, len(draws)))
                for row in rows
                if not row.is_cached
            ]
            self._evaluator.remember(draws, self._scales, known)


def _outcome(row: CandidateRow, n_draws: int) -> Outcome:
    assert row.per_draw is not None, "a candidate that was scored has its draws"
    per_draw = row.per_draw if row.per_draw.size else np.full(n_draws, np.nan)
    return Outcome(row.status, row.fitness, per_draw, row.scale, row.exploded, row.message)


def _events(rows: Sequence[CandidateRow]) -> list[tuple[str, str]]:
    """Return what a resumed run must know and not decide again: candidates that failed."""
    return [(row.status, f"{row.text}: {row.message}") for row in rows if row.status != OK]


def _before_the_first() -> GenerationRow:
    nan = math.nan
    return GenerationRow(0, 0, 0, 0, 0, nan, nan, nan, nan, nan, nan, 0, nan, 0, 0.0, "")
