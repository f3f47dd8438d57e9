"""The generational genetic algorithm of the textbooks: selection, one-point crossover, mutation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
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


class SimpleGaSettings(SearchSettings):
    """Settings of ``simple-ga``."""

    crossover: float = Field(
        1.0, ge=0.0, le=1.0, description="probability that a child has two parents"
    )
    mutation: float = Field(0.5, ge=0.0, le=1.0, description="probability that a child is mutated")
    tournament: int = Field(
        3,
        ge=0,
        le=1_000_000,
        description="candidates of which the best becomes a parent; 0: fitness-proportional",
    )
    elite: int = Field(1, ge=0, description="best of a generation that are asked again in the next")


@SEARCHES.register("simple-ga")
class SimpleGeneticAlgorithm(Search):
    """A genetic algorithm whose generations replace one another.

    Each child has two parents and takes the first numbers of one and the others of the other, cut
    at a uniformly random place; then the mutation of the space may change it. Parents win
    tournaments, or are drawn in proportion to their fitness, from which the least of the
    generation is subtracted where it is negative. Where lives pass on what they learned, parents
    are what their lives made of them.

    Sources: J. Holland, "Adaptation in Natural and Artificial Systems", 1975; D. Goldberg,
    "Genetic Algorithms in Search, Optimization, and Machine Learning", 1989, chapter 3.
    """

    name = "simple-ga"
    space_kinds = ("table", "vector", "coefficients")
    passes_on = True
    Settings = SimpleGaSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._rng = new_rng(seed)
        self._parents: list[NDArray[Any]] = []
        self._fitness: FloatArray = np.empty(0)

    def ask(self) -> list[Any]:
        """Return the elite and children, or random candidates at the start."""
        n = self.settings.population
        if not self._parents:
            return self.space.sample(self._rng, n)
        best = np.argsort(-self._fitness, kind="stable")[: min(self.settings.elite, n)]
        elite = [self._parents[k] for k in best.tolist()]
        ends = wheel(self._fitness)
        return [*elite, *(self._child(ends) for _ in range(n - len(elite)))]

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Make the candidates the parents of the next generation."""
        fitness = usable_fitness(evaluation, len(candidates))
        is_usable = np.isfinite(fitness)
        if is_usable.any():
            learned = evaluation.learned
            grown = candidates if learned is None else [*(np.array(candidates) + learned)]
            self._parents = [grown[k] for k in np.flatnonzero(is_usable).tolist()]
            self._fitness = fitness[is_usable]

    def favourites(self) -> list[Any]:
        """Return the best of the last generation."""
        return [self._parents[int(self._fitness.argmax())]] if self._parents else []

    def state_dict(self) -> State:
        """Return the last generation, its fitness and the generator."""
        return {
            "rng": rng_state(self._rng),
            "parents": np.array(self._parents),
            "fitness": self._fitness.copy(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over the generation and the generator."""
        restore_rng(self._rng, state["rng"])
        self._parents = list(np.array(state["parents"]))
        self._fitness = np.array(state["fitness"], dtype=np.float64)

    def _child(self, ends: FloatArray) -> NDArray[Any]:
        rng = self._rng
        child = self._parents[self._chosen(ends)]
        if len(child) > 1 and rng.random() < self.settings.crossover:
            other, cut = self._parents[self._chosen(ends)], int(rng.integers(1, len(child)))
            child = np.concatenate([child[:cut], other[cut:]])
        return self.space.mutate(child, rng) if rng.random() < self.settings.mutation else child

    def _chosen(self, ends: FloatArray) -> int:
        """Return the number of a parent."""
        if self.settings.tournament:
            drawn = self._rng.integers(len(self._parents), size=self.settings.tournament)
            return int(drawn[np.argmax(self._fitness[drawn])])
        return int(np.searchsorted(ends, self._rng.random() * ends[-1], side="right"))


def wheel(fitness: FloatArray) -> FloatArray:
    """Return where the sectors (n,) of a roulette wheel end: as wide as fitness is great.

    Args:
        fitness: (n,) finite. Where one is negative the least is subtracted from all; where all are
            equal so are the sectors.
    """
    widths = fitness - min(0.0, float(fitness.min()))
    return np.cumsum(widths if widths.max() > 0 else np.ones_like(widths))
