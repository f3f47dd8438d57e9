"""First-improvement local search with restarts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import Evaluation
from evosearch.search.base import (
    SEARCHES,
    Search,
    SearchSettings,
    State,
    new_rng,
    restore_rng,
    rng_state,
    usable_fitness,
)
from evosearch.search.memory import Memory


class LocalSettings(SearchSettings):
    """Settings of ``local``."""

    population: int = Field(4, ge=1, le=1_000_000, description="neighbours scored at a time")
    initial: int = Field(
        10, ge=1, le=1_000_000, description="random candidates of which each climb starts"
    )
    memory: int = Field(10_000, ge=0, description="candidates remembered, to propose none twice")


@SEARCHES.register("local")
class LocalSearch(Search):
    """Hill climbing over the neighbours of the space, in random order, with restarts.

    A few random candidates are scored; from the best of them the climb moves to the best of each
    batch of neighbours that improves, and where no neighbour does it starts afresh.

    Source: H. Hoos, T. Stützle, "Stochastic Local Search: Foundations and Applications", 2004,
    iterative first improvement with random restart.
    """

    name = "local"
    space_kinds = ("rule", "coefficients", "table", "vector")
    Settings = LocalSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._rng = new_rng(seed)
        self._memory = Memory(self.settings.memory)
        self._current: Any = None
        self._fitness = -np.inf
        self._queue: list[Any] = []

    def ask(self) -> list[Any]:
        """Return a batch of neighbours, or random candidates at a start."""
        batch: list[Any] = []
        while self._queue and len(batch) < self.settings.population:
            candidate = self._queue.pop()
            if self._memory.add_new(self.space.key(candidate)):
                batch.append(candidate)
        if batch:
            return batch
        self._current, self._fitness = None, -np.inf
        batch = self.space.sample(self._rng, self.settings.initial)
        for candidate in batch:
            self._memory.add(self.space.key(candidate))
        return batch

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Move to the best candidate of the batch if it is better."""
        fitness = usable_fitness(evaluation, len(candidates))
        if len(fitness) == 0 or not fitness.max() > self._fitness:
            return
        best = int(np.argmax(fitness))
        self._current, self._fitness = candidates[best], float(fitness[best])
        neighbours = self.space.neighbours(self._current)
        self._queue = [neighbours[k] for k in self._rng.permutation(len(neighbours))]

    def state_dict(self) -> State:
        """Return the climb: where it stands and which neighbours are left."""
        is_climbing = self._current is not None
        return {
            "rng": rng_state(self._rng),
            "current": self.space.encode_text(self._current) if is_climbing else None,
            "fitness": self._fitness if is_climbing else None,
            "queue": [self.space.encode_text(candidate) for candidate in self._queue],
            "memory": self._memory.to_array(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over the climb."""
        restore_rng(self._rng, state["rng"])
        is_climbing = state["current"] is not None
        self._current = self.space.decode_text(state["current"]) if is_climbing else None
        self._fitness = float(state["fitness"]) if is_climbing else -np.inf
        self._queue = [self.space.decode_text(text) for text in state["queue"]]
        self._memory.load(state["memory"])
