"""Structures by genetic programming, the numbers of the best of them by CMA-ES."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import Evaluation, FloatArray
from evosearch.search.base import (
    SEARCHES,
    Search,
    State,
    new_rng,
    restore_rng,
    rng_state,
    usable_fitness,
)
from evosearch.search.gp import GeneticProgramming, TournamentSettings
from evosearch.search.memetic_tuning import Numbers, Tuning
from evosearch.spaces.genome import Genome, GenomeSpace

_MOST_STRUCTURES = 300
_FAIR_CHANCE = 5
"""Generations of a tuning before it may have to make room."""
_P_BEST, _P_OTHER = 0.5, 0.3


class MemeticSettings(TournamentSettings):
    """Settings of ``memetic``."""

    population: int = Field(60, ge=1, le=1_000_000, description="new structures at a time")
    tune_constants: float = Field(
        0.0, ge=0, le=0, description="always 0: constants are tuned by CMA-ES"
    )
    n_tuned: int = Field(4, ge=1, description="structures whose numbers are tuned at a time")
    tuning: int = Field(
        60, ge=4, description="evaluations that a tuning may spend for each of its numbers"
    )


@SEARCHES.register("memetic")
class Memetic(Search):
    """Two searches under one budget: genetic programming outside, CMA-ES inside.

    Each generation asks new structures of ``gp`` and one generation of every running tuning, a
    CMA-ES over the constants of one structure and, where the space is one of genomes, its genes.
    A tuning that ends makes room for the best structure that was not tuned yet. The best point of
    a tuning joins the parents. New structures take the genes of the best candidate, of another
    good one, or random ones.

    Sources: P. Moscato, "On Evolution, Search, Optimization, Genetic Algorithms and Martial Arts:
    Towards Memetic Algorithms", 1989; A. Topchy, W. Punch, "Faster Genetic Programming based on
    Local Gradient Search of Numeric Leaf Values", GECCO 2001, for the division of labour.
    """

    name = "memetic"
    space_kinds = ("rule", "genome")
    needs = GeneticProgramming.needs
    Settings = MemeticSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._rng = new_rng(seed)
        self._genomes = space if isinstance(space, GenomeSpace) else None
        own = self.settings.model_dump(exclude={"tuning"})
        rules = space if self._genomes is None else self._genomes.rules
        self._starts: dict[str, Genome] = {}
        if self._genomes is not None:
            starts = [self._genomes.decode_text(text) for text in self.settings.start]
            own["start"] = tuple(str(start.rule) for start in starts)
            self._starts = {str(start.rule): start for start in starts}
        self._structures = GeneticProgramming(rules, seed=seed, **own)
        self._numbers = Numbers(space)
        self._best: dict[str, tuple[float, Any]] = {}
        self._tuned: dict[str, None] = {}
        self._tunings: list[Tuning] = []
        self._sizes: list[int] = []

    def ask(self) -> list[Any]:
        """Return new structures, then a generation of each tuning."""
        self._begin_tunings()
        ranked = [genotype for _, genotype in self._ranked()]
        parts = [[self._with_genes(rule, ranked) for rule in self._structures.ask()]]
        parts += [tuning.ask() for tuning in self._tunings]
        self._sizes = [len(part) for part in parts]
        return [genotype for part in parts for genotype in part]

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Teach both searches; a tuning whose generation was cut learns nothing."""
        fitness = usable_fitness(evaluation, len(candidates))
        starts = np.concatenate([[0], np.cumsum(self._sizes)])
        told = list(range(min(int(starts[1]), len(candidates))))
        for tuning, start, end in zip(self._tunings, starts[1:-1], starts[2:], strict=True):
            if end <= len(candidates):
                tuning.tell(fitness[start:end])
                told.append(int(start) + int(np.argmax(fitness[start:end])))
        rules = [self._numbers.rule(candidates[k]) for k in told]
        self._structures.tell(rules, evaluation.taken(told))
        self._note(candidates, fitness)
        self._tunings = [tuning for tuning in self._tunings if not tuning.is_done]

    def favourites(self) -> list[Any]:
        """Return the best genotype of each of the ten best structures."""
        return [genotype for _, genotype in self._ranked()[:10]]

    def state_dict(self) -> State:
        """Return both searches, the best of each structure, and what was tuned."""
        encode = self.space.encode_text
        return {
            "rng": rng_state(self._rng),
            "structures": self._structures.state_dict(),
            "best": [encode(genotype) for _, genotype in self._best.values()],
            "fitness": np.array([fitness for fitness, _ in self._best.values()]),
            "tuned": list(self._tuned),
            "tunings": [tuning.state() for tuning in self._tunings],
        }

    def load_state_dict(self, state: State) -> None:
        """Take over both searches."""
        restore_rng(self._rng, state["rng"])
        self._structures.load_state_dict(state["structures"])
        self._best = {}
        for text, fitness in zip(state["best"], state["fitness"], strict=True):
            genotype = self.space.decode_text(text)
            self._best[self._numbers.structure(genotype)] = (float(fitness), genotype)
        self._tuned = dict.fromkeys(state["tuned"])
        self._tunings = [Tuning.loaded(self.space, part) for part in state["tunings"]]
        self._sizes = []

    def _begin_tunings(self) -> None:
        """Give the best structures that were never tuned the places that are free.

        A tuning that others overtake before they are tuned makes room for them.
        """
        waiting = [
            (fitness, genotype)
            for fitness, genotype in self._ranked()
            if self._numbers.structure(genotype) not in self._tuned
            and len(self._numbers.of(genotype))
        ]
        best = waiting[0][0] if waiting else -np.inf
        self._tunings = [
            tuning
            for tuning in self._tunings
            if tuning.n_generations < _FAIR_CHANCE or tuning.best >= best
        ]
        for _, genotype in waiting[: self.settings.n_tuned - len(self._tunings)]:
            n = len(self._numbers.of(genotype))
            self._tuned[self._numbers.structure(genotype)] = None
            seed = int(self._rng.integers(2**31))
            self._tunings.append(
                Tuning(self.space, genotype, seed=seed, budget=n * self.settings.tuning)
            )

    def _ranked(self) -> list[tuple[float, Any]]:
        return sorted(
            self._best.values(), key=lambda pair: (-pair[0], self._numbers.rule(pair[1]).size)
        )

    def _note(self, candidates: Sequence[Any], fitness: FloatArray) -> None:
        """Keep the best genotype of each good structure."""
        for genotype, value in zip(candidates, fitness.tolist(), strict=True):
            structure = self._numbers.structure(genotype)
            known = self._best.get(structure)
            if np.isfinite(value) and (known is None or value > known[0]):
                self._best[structure] = (value, genotype)
        if len(self._best) > _MOST_STRUCTURES:
            kept = self._ranked()[:_MOST_STRUCTURES]
            self._best = {self._numbers.structure(pair[1]): pair for pair in kept}

    def _with_genes(self, rule: Any, ranked: Sequence[Any]) -> Any:
        """Return a genotype of a new structure; ``ranked`` are the known ones, best first."""
        if self._genomes is None:
            return rule
        chance = self._rng.random()
        if not ranked:
            if str(rule) in self._starts:
                return self._starts[str(rule)]
            return self._genomes.start(rule) if chance < _P_BEST else self._random(rule)
        if chance >= _P_BEST + _P_OTHER:
            return self._random(rule)
        other = ranked[0] if chance < _P_BEST else ranked[int(self._rng.integers(len(ranked)))]
        return Genome(rule, self._genomes.moved(other.places, self._rng))

    def _random(self, rule: Any) -> Genome:
        assert self._genomes is not None
        return Genome(rule, tuple(self._rng.random(len(self._genomes.genes)).tolist()))
