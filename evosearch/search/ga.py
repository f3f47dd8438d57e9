"""A genetic algorithm on any space, with restarts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import Evaluation, FloatArray
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

_MAX_TRIES = 20


class GaSettings(SearchSettings):
    """Settings of ``ga``."""

    population: int = Field(10, ge=1, le=1_000_000, description="children a generation, lambda")
    parents: int = Field(10, ge=1, le=1_000_000, description="survivors of a generation, mu")
    initial: int = Field(20, ge=1, le=1_000_000, description="random candidates of each start")
    crossover: float = Field(
        0.5, ge=0.0, le=1.0, description="probability that a child has two parents"
    )
    patience: int = Field(
        10, ge=1, description="generations without a better candidate before it starts afresh"
    )
    rescore: bool = Field(
        False, description="ask the survivors again each generation, for draws that change"
    )
    memory: int = Field(10_000, ge=0, description="candidates remembered, to propose none twice")


@SEARCHES.register("ga")
class GeneticAlgorithm(Search):
    """A (mu + lambda) genetic algorithm with the mutation and crossover of the space.

    Children come from parents drawn uniformly among the mu survivors; the best mu of survivors
    and children survive. After ``patience`` generations without improvement, and where no child
    is new, it starts afresh from uniformly random candidates.

    Sources: J. Holland, "Adaptation in Natural and Artificial Systems", 1975; the (mu + lambda)
    scheme: H.-P. Schwefel, "Numerical Optimization of Computer Models", 1981.
    """

    name = "ga"
    space_kinds = ("rule", "genome", "coefficients", "table", "vector")
    Settings = GaSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._rng = new_rng(seed)
        self._memory = Memory(self.settings.memory)
        self._parents: list[Any] = []
        self._fitness: FloatArray = np.empty(0)
        self._best = -np.inf
        self._n_stalled = 0

    def ask(self) -> list[Any]:
        """Return random candidates at a start, else children, and survivors if rescored."""
        if self._n_stalled >= self.settings.patience:
            self._restart()
        children = self._children() if self._parents else []
        if not children:
            self._restart()
            return self._new(self.settings.initial, self._random)
        return [*self._parents, *children] if self.settings.rescore else children

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Let the best of survivors and children survive."""
        fitness = usable_fitness(evaluation, len(candidates))
        if not np.isfinite(fitness).any():
            self._n_stalled += bool(self._parents)
            return
        pool, scores = list(candidates), fitness
        if not self.settings.rescore:
            pool, scores = self._parents + pool, np.concatenate([self._fitness, fitness])
        order = np.argsort(-scores, kind="stable")
        kept = [k for k in order[: self.settings.parents].tolist() if np.isfinite(scores[k])]
        self._parents = [pool[k] for k in kept]
        self._fitness = scores[kept]
        if self._fitness[0] > self._best:
            self._best, self._n_stalled = float(self._fitness[0]), 0
        else:
            self._n_stalled += 1

    def favourites(self) -> list[Any]:
        """Return the best survivor."""
        return self._parents[:1]

    def state_dict(self) -> State:
        """Return survivors, their fitness, the memory and the generator."""
        return {
            "rng": rng_state(self._rng),
            "parents": [self.space.encode_text(parent) for parent in self._parents],
            "fitness": self._fitness.copy(),
            "best": float(self._best) if np.isfinite(self._best) else None,
            "n_stalled": self._n_stalled,
            "memory": self._memory.to_array(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over survivors, memory and generator."""
        restore_rng(self._rng, state["rng"])
        self._parents = [self.space.decode_text(text) for text in state["parents"]]
        self._fitness = np.array(state["fitness"], dtype=np.float64)
        self._best = -np.inf if state["best"] is None else float(state["best"])
        self._n_stalled = int(state["n_stalled"])
        self._memory.load(state["memory"])

    def _restart(self) -> None:
        self._parents, self._fitness = [], np.empty(0)
        self._best, self._n_stalled = -np.inf, 0

    def _children(self) -> list[Any]:
        """Return unseen children; few or none where the survivors have no unseen ones left."""
        return self._new(self.settings.population, self._child, allows_repeats=False)

    def _child(self) -> Any:
        rng = self._rng
        child = self._parents[rng.integers(len(self._parents))]
        if rng.random() < self.settings.crossover:
            other = self._parents[rng.integers(len(self._parents))]
            child, _ = self.space.crossover(child, other, rng)
        return self.space.mutate(child, rng)

    def _random(self) -> Any:
        return self.space.sample(self._rng)[0]

    def _new(self, n: int, make: Any, *, allows_repeats: bool = True) -> list[Any]:
        """Make ``n`` candidates, each unseen where a few tries find such a one."""
        made = []
        for _ in range(n):
            for _ in range(_MAX_TRIES):
                candidate = make()
                if self._memory.add_new(self.space.key(candidate)):
                    made.append(candidate)
                    break
            else:
                if allows_repeats:
                    made.append(make())
        return made
