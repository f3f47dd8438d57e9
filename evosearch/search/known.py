"""Fitness of functions that were scored, so that a search never pays for one again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SearchSettings, State
from evosearch.search.memory import hash_of
from evosearch.search.semantics import semantic_keys


class KnownSettings(SearchSettings):
    """Settings of searches that remember what they scored."""

    skip_equal: bool = Field(
        True, description="never score a candidate again that computes the same function"
    )


class Known:
    """The fitness of the last ``capacity`` functions, by 64-bit hashes of what they compute.

    Rules are told apart by their values at fixed points, other candidates by their key. Two of a
    million different functions share a hash with probability 3e-8; then one is left out.

    Args:
        space: whose candidates they are.
        is_on: False to remember nothing, e.g. for draws that change.
        capacity: functions remembered.
    """

    def __init__(self, space: Any, *, is_on: bool = True, capacity: int = 1_000_000) -> None:
        self._space = space
        self._is_on = is_on
        self._capacity = capacity
        self._fitness: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._fitness)

    def key(self, genotype: Any) -> int:
        """Return a hash that is equal for equal functions, in every process."""
        return self.keys([genotype])[0]

    def keys(self, genotypes: Sequence[Any]) -> list[int]:
        """Return the key of each; those of rules cost far less together than one by one."""
        if self._space.kind == "rule":
            return semantic_keys(genotypes)
        return [hash_of(self._space.key(genotype)) for genotype in genotypes]

    def fitness(self, key: int) -> float | None:
        """Return the fitness of a function, ``-inf`` where it failed; None where unknown."""
        return self._fitness.get(key)

    def note(self, keys: Iterable[int], fitness: FloatArray) -> None:
        """Remember the fitness of functions; the oldest are forgotten where there are too many."""
        if not self._is_on:
            return
        for key, value in zip(keys, fitness.tolist(), strict=True):
            self._fitness[key] = value
            if len(self._fitness) > self._capacity:
                del self._fitness[next(iter(self._fitness))]

    def state(self) -> State:
        """Return hashes and fitness as arrays, oldest first."""
        n = len(self._fitness)
        return {
            "known_keys": np.fromiter(self._fitness, dtype=np.uint64, count=n),
            "known_fitness": np.fromiter(self._fitness.values(), dtype=np.float64, count=n),
        }

    def load(self, state: State) -> None:
        """Take over what ``state`` returned."""
        keys = np.asarray(state["known_keys"], dtype=np.uint64).tolist()
        values = np.asarray(state["known_fitness"], dtype=np.float64).tolist()
        self._fitness = dict(zip(keys, values, strict=True))


class Batch:
    """The candidates of one ask, each function once, and what is known of others meanwhile.

    A search adds what it would like to have scored and gets a *ticket*; after ``tell`` the fitness
    behind a ticket is there, paid for or known before.

    Args:
        known: fitness of functions scored before.
        is_on: False to ask everything, repeats included.
    """

    def __init__(self, known: Known, *, is_on: bool = True) -> None:
        self._known = known
        self._is_on = is_on
        self._index: dict[int, int] = {}
        self._keys: list[int] = []
        self.candidates: list[Any] = []

    def add(self, genotype: Any) -> int | float:
        """Return the known fitness of a candidate as a float, else its index in the batch."""
        return self._added(genotype, self._known.key(genotype))

    def add_all(self, genotypes: Sequence[Any]) -> list[int | float]:
        """Add candidates in their order; faster than one by one."""
        keys = self._known.keys(genotypes)
        return [self._added(one, key) for one, key in zip(genotypes, keys, strict=True)]

    def _added(self, genotype: Any, key: int) -> int | float:
        if self._is_on:
            fitness = self._known.fitness(key)
            if fitness is not None:
                return fitness
            if key in self._index:
                return self._index[key]
        self._index[key] = len(self.candidates)
        self._keys.append(key)
        self.candidates.append(genotype)
        return len(self.candidates) - 1

    def learn(self, fitness: FloatArray) -> None:
        """Remember what the first ``len(fitness)`` candidates scored."""
        self._known.note(self._keys[: len(fitness)], fitness)


def fitness_behind(ticket: int | float, fitness: FloatArray) -> float | None:
    """Return the fitness of a ticket once ``fitness`` of the batch is told; None if it was cut."""
    if isinstance(ticket, float):
        return ticket
    return float(fitness[ticket]) if ticket < len(fitness) else None
