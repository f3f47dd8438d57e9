"""The loop of a run whose vectors are too long to be written out one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evosearch.errors import InputError
from evosearch.halloffame import Entry
from evosearch.loop import BUDGET, DONE, VALIDATION_INTERVAL, SearchLoop
from evosearch.outcome import Evaluation, FloatArray, joined_evaluations
from evosearch.search.base import SEARCHES, Search, searches_of
from evosearch.search.vectors import asked
from evosearch.store import GenerationRecord, ValidationRow
from evosearch.store.records import chain_digest_of_fitness


class LongVectorLoop(SearchLoop):
    """One run under way, of which candidates are not kept.

    What the search holds to be best, say the mean of its distribution, is scored on validation
    draws now and then; the best of these is the champion, and the only vector that is kept. A
    generation that the budget would cut is not begun.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._vectors: dict[str, FloatArray] = {}
        super().__init__(*args, **kwargs)
        if not _names_its_best(type(self.search)):
            kind = self.search.space.kind
            able = [name for name in searches_of(kind) if _names_its_best(SEARCHES.get(name))]
            raise InputError(
                f"search {self.plan.search!r} names no best vector of its own, which it must where "
                f"vectors have more than 1,000 numbers; {self.plan.problem.name} has "
                f"{self.search.space.dimension:,}. These do: {', '.join(able)}."
            )

    def step(self) -> str | None:
        """Make one generation; return what ends the run where there is none to make."""
        number = self.last.generation + 1
        draws = self._draws(number)
        room = self.plan.budget - self.last.evaluations
        parts: list[Evaluation] = []
        candidates, blocks = asked(self.search)
        for block in blocks:
            room -= len(block)
            if room < 0:
                self._check_budget()
                return BUDGET
            parts.append(self._evaluator.evaluate_block(block, draws))
        if not parts:
            return DONE
        evaluation = joined_evaluations(parts)
        is_due = number % VALIDATION_INTERVAL == 0
        if is_due:
            # A stop while the search's favourites are scored leaves it as it was written.
            self._write()
        self.search.tell(candidates[: len(evaluation.fitness)], evaluation)
        self._lived = evaluation.lived
        spent = self.last.evaluations + evaluation.cost
        validations = self.validate(self._scored_favourites(number), spent) if is_due else []
        digest = chain_digest_of_fitness(self.last.digest, evaluation.fitness)
        self.last = self._figures(number, evaluation, self._best(evaluation), digest)
        events = _first_fault(evaluation)
        self._record(GenerationRecord(self.last, validations=validations, events=events))
        return None

    def favourites(self) -> list[Entry]:
        """Score what the search holds to be best on the last draws; it does not count."""
        return self._scored_favourites(self.last.generation) if self.last.generation else []

    def validate(self, entries: Sequence[Entry], evaluations: int) -> list[ValidationRow]:
        """Score entries on validation draws, and keep the vector that is best."""
        rows = super().validate(entries, evaluations)
        champion = self.champion()
        if champion is not None:
            self._store.keep_vector(champion.text, self.read(champion.text))
            self._vectors = {champion.text: self._vectors[champion.text]}
        return rows

    def read(self, text: str) -> FloatArray:
        """Return a vector from its reference."""
        if text not in self._vectors:
            self._vectors[text] = self._store.vector(text)
        return self._vectors[text]

    def _scored_favourites(self, generation: int) -> list[Entry]:
        space = self.search.space
        vectors = [space.decode(genotype) for genotype in self.search.favourites()]
        if not vectors:
            return []
        found = self._evaluator.evaluate_block(np.stack(vectors), self._draws(generation))
        entries = []
        for vector, fitness, is_ok in zip(vectors, found.fitness, found.is_ok, strict=True):
            text = space.label(vector)
            if is_ok:
                self._vectors[text] = vector
                entries.append(Entry(text, space.dimension, float(fitness), 1.0))
        return entries

    def _best(self, evaluation: Evaluation) -> Entry | None:
        """Return the best fitness so far; with fresh draws that of this generation."""
        best = float(evaluation.fitness.max())
        if not self._is_fresh and self.last.best > best:
            best = self.last.best
        return Entry("", self.search.space.dimension, best, 1.0) if math.isfinite(best) else None

    def _check_budget(self) -> None:
        if self.last.generation == 0:
            raise InputError(
                f"the budget of {self.plan.budget:,} evaluations is less than one generation of "
                f"{self.plan.search}; raise it or lower the population."
            )

    def _restore_candidates(self) -> None:
        """Nothing is kept of candidates."""


def _names_its_best(search: type[Search]) -> bool:
    return search.favourites is not Search.favourites


def _first_fault(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return status and reason of the first candidate without a fitness, if there is one."""
    lost = np.flatnonzero(~evaluation.is_ok)
    if not lost.size:
        return []
    k = int(lost[0])
    more = f", and {lost.size - 1:,} more of this generation" if lost.size > 1 else ""
    return [(evaluation.status[k], evaluation.messages[k] + more)]
