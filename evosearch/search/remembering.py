"""Searches that remember what they scored: their generator, their memory and an exact state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from evosearch.outcome import Evaluation, FloatArray
from evosearch.search.base import (
    Search,
    State,
    new_rng,
    restore_rng,
    rng_state,
    usable_fitness,
)
from evosearch.search.known import Batch, Known

T = TypeVar("T")


class RememberingSearch(Search):
    """A search with a generator of its own, and the fitness of the functions that it scored.

    A subclass reads settings of :class:`~evosearch.search.known.KnownSettings`, and says what else
    of it changes.
    """

    space_kinds = ("rule", "table")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._rng = new_rng(seed)
        self._known = Known(space, is_on=self.settings.skip_equal)

    @abstractmethod
    def _state(self) -> State:
        """Return what changes beside the generator and what is known."""

    @abstractmethod
    def _load(self, state: State) -> None:
        """Take over what ``_state`` returned."""

    def state_dict(self) -> State:
        """Return all that changes: the search's own, what is known, and the generator."""
        return {"rng": rng_state(self._rng), **self._state(), **self._known.state()}

    def load_state_dict(self, state: State) -> None:
        """Go on as the search that wrote ``state``."""
        restore_rng(self._rng, state["rng"])
        self._load(state)
        self._known.load(state)

    def _noted(self, candidates: Sequence[Any], evaluation: Evaluation) -> FloatArray:
        """Remember what candidates scored; return it (n,), ``-inf`` for those that failed."""
        fitness = usable_fitness(evaluation, len(candidates))
        self._known.note(self._known.keys(candidates), fitness)
        return fitness


class SearchInRounds(RememberingSearch, Generic[T]):
    """A search that tries what is known for free, round after round, until something is not.

    A round is a list of trials, each with the ticket that ``_batch`` gave for its candidate. Where
    all of them are known they are learned at once and the next round begins, so that a batch never
    is empty; after ``_most_rounds`` of these it is random.
    """

    _most_rounds: ClassVar[int]

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._batch = Batch(self._known)
        self._trials: list[T] = []

    @abstractmethod
    def _draw(self) -> list[T]:
        """Return the trials of a round; their candidates are added to ``_batch``."""

    @abstractmethod
    def _learn(self, trials: Sequence[T], fitness: FloatArray) -> None:
        """Learn from a round; ``fitness`` is of the batch, and shorter where that was cut."""

    def ask(self) -> list[Any]:
        """Return the candidates of a round whose functions are not known."""
        for _ in range(self._most_rounds):
            self._batch = Batch(self._known, is_on=self.settings.skip_equal)
            self._trials = self._draw()
            if self._batch.candidates:
                return list(self._batch.candidates)
            self._learn_round(np.empty(0))
        return self.space.sample(self._rng, self.settings.population)

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Learn from the round that ``ask`` began."""
        fitness = usable_fitness(evaluation, len(candidates))
        self._batch.learn(fitness[: len(self._batch.candidates)])
        self._learn_round(fitness)

    def load_state_dict(self, state: State) -> None:
        """Go on as the search that wrote ``state``, with a new round."""
        super().load_state_dict(state)
        self._trials = []

    def _learn_round(self, fitness: FloatArray) -> None:
        trials, self._trials = self._trials, []
        self._learn(trials, fitness)
