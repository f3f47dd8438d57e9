"""The numbers of one structure, tuned by a small CMA-ES of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.rules.expression import Expression
from evosearch.search.base import State
from evosearch.search.batched_cmaes import BatchedCmaEs
from evosearch.search.gp_constants import structure_of
from evosearch.spaces.genome import Genome, GenomeSpace

_FLOOR = 0.1
_FIRST_STEP = 0.3
_GENE_SCALE = 0.5


class Numbers:
    """Takes genotypes of a space of rules or of genomes apart, into structure and numbers."""

    def __init__(self, space: Any) -> None:
        self._has_genes = isinstance(space, GenomeSpace)

    def rule(self, genotype: Any) -> Expression:
        """Return the expression."""
        return genotype.rule if self._has_genes else genotype

    def structure(self, genotype: Any) -> str:
        """Return what does not change while numbers do."""
        return structure_of(self.rule(genotype))

    def of(self, genotype: Any) -> FloatArray:
        """Return the constants of the rule, then the places of the genes, (d,)."""
        places = genotype.places if self._has_genes else ()
        return np.array([*self.rule(genotype).constants, *places])

    def scales(self, genotype: Any) -> FloatArray:
        """Return how far a step of 1 moves each number, (d,): constants in proportion."""
        places = genotype.places if self._has_genes else ()
        constants = np.abs(np.array(self.rule(genotype).constants)) + _FLOOR
        return np.concatenate([constants, np.full(len(places), _GENE_SCALE)])

    def replaced(self, genotype: Any, numbers: FloatArray) -> Any:
        """Return the genotype with other numbers, genes moved into their range."""
        rule = self.rule(genotype)
        n = len(rule.constants)
        rule = rule.with_constants(numbers[:n].tolist())
        if not self._has_genes:
            return rule
        return Genome(rule, tuple(np.clip(numbers[n:], 0.0, 1.0).tolist()))


class Tuning:
    """One CMA-ES about the numbers of a genotype.

    Args:
        space: of rules or of genomes.
        centre: where it begins; it has one number at least.
        seed: of its generator.
        budget: candidates that it may ask; it ends with the generation that reaches it.

    Attributes:
        best: the greatest fitness that it was told.
        n_generations: generations that it was told.
    """

    def __init__(self, space: Any, centre: Any, *, seed: int, budget: int) -> None:
        self._numbers = Numbers(space)
        self._space = space
        self.centre, self._seed, self._budget = centre, seed, budget
        self.best, self.n_generations = -np.inf, 0
        self._origin, self._scales = self._numbers.of(centre), self._numbers.scales(centre)
        self._search = BatchedCmaEs(
            np.zeros((1, len(self._origin))), _FIRST_STEP, seeds=[seed], budget=budget,
            tolerance=1e-4, flat=1e-9,
        )  # fmt: skip

    @property
    def is_done(self) -> bool:
        """Whether its budget is spent or it has converged."""
        return not len(self._search.active)

    def ask(self) -> list[Any]:
        """Return a generation of genotypes that differ in numbers alone."""
        points = self._search.ask()[0]
        return [
            self._numbers.replaced(self.centre, self._origin + self._scales * point)
            for point in points
        ]

    def tell(self, fitness: FloatArray) -> None:
        """Learn the fitness of a whole generation; higher is better."""
        self.best = max(self.best, float(fitness.max()))
        self.n_generations += 1
        self._search.tell(-fitness[None])

    def state(self) -> State:
        """Return all that changes, and what it was made of."""
        return {
            "centre": self._space.encode_text(self.centre),
            "seed": self._seed,
            "budget": self._budget,
            "best": np.array(self.best),
            "n_generations": self.n_generations,
            **self._search.state_dict(),
        }

    @classmethod
    def loaded(cls, space: Any, state: State) -> Tuning:
        """Return the tuning that wrote ``state``."""
        tuning = cls(
            space,
            space.decode_text(state["centre"]),
            seed=int(state["seed"]),
            budget=int(state["budget"]),
        )
        tuning.best, tuning.n_generations = float(state["best"]), int(state["n_generations"])
        tuning._search.load_state_dict(state)
        return tuning
