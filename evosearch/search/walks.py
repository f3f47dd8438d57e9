"""Chains over rules and tables, side by side: proposals, acceptance and an exact state."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from evosearch.outcome import Evaluation, FloatArray
from evosearch.search.base import State, usable_fitness
from evosearch.search.known import Batch, fitness_behind
from evosearch.search.proposals import Proposals
from evosearch.search.remembering import RememberingSearch

_MAX_TRIES = 20


class Walks(RememberingSearch):
    """Chains that propose a mutation each and take it by the Metropolis rule.

    A proposal whose function is known is taken or left at once, for free, and the chain proposes
    again; so a batch holds new functions alone, unless ``skip_equal`` is off. A chain whose start
    failed takes the first proposal that did not. A subclass says what the temperatures are.

    With tables the mutation is symmetric, so that a chain at temperature T visits a table in
    proportion to exp(fitness / T); mutations of rules are not, and no correction is made.
    """

    _share_of_spread: ClassVar[float] = 1.0
    """First temperature as a share of the median absolute deviation of the first fitness."""

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._proposals = Proposals(space, self._rng)
        self._batch = Batch(self._known)
        self._moves: list[tuple[int, Any, float, int | float]] = []
        self._chains: list[Any] = []
        self._fitness: FloatArray = np.full(self._n_chains, -np.inf)
        self._start_temperature = 0.0

    @property
    @abstractmethod
    def _n_chains(self) -> int:
        """Return the number of chains."""

    @abstractmethod
    def _temperatures(self) -> FloatArray:
        """Return the temperature of each chain (n,), above 0."""

    @abstractmethod
    def _after_generation(self) -> None:
        """Change what changes from generation to generation."""

    def ask(self) -> list[Any]:
        """Return a proposal of each chain, random candidates at the start."""
        self._batch = Batch(self._known, is_on=self.settings.skip_equal)
        self._moves = []
        if not self._chains:
            self._chains = self.space.sample(self._rng, self._n_chains)
            for k, start in enumerate(self._chains):
                self._moves.append((k, start, 0.0, self._batch.add(start)))
        else:
            temperatures = self._temperatures_now()
            with self._proposals.lent():
                for k in range(self._n_chains):
                    self._walk(k, float(temperatures[k]))
        return list(self._batch.candidates) or self.space.sample(self._rng, self._n_chains)

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Let each chain take its proposal or stay."""
        fitness = usable_fitness(evaluation, len(candidates))
        self._batch.learn(fitness[: len(self._batch.candidates)])
        moves, self._moves = self._moves, []
        finite = fitness[np.isfinite(fitness)]
        if not finite.size:
            return
        if self._start_temperature == 0.0:
            default = self._share_of_spread * _spread(finite)
            self._start_temperature = self.settings.temperature or default
        temperatures = self._temperatures()
        for k, proposal, chance, ticket in moves:
            value = fitness_behind(ticket, fitness)
            if value is not None:
                self._decide(k, proposal, value, chance, float(temperatures[k]))
        self._after_generation()

    def favourites(self) -> list[Any]:
        """Return where the best chain stands."""
        if not np.isfinite(self._fitness).any():
            return []
        return [self._chains[int(np.argmax(self._fitness))]]

    def _state(self) -> State:
        return {
            "chains": [self.space.encode_text(chain) for chain in self._chains],
            "fitness": self._fitness.copy(),
            "start_temperature": self._start_temperature,
        }

    def _load(self, state: State) -> None:
        self._chains = [self.space.decode_text(text) for text in state["chains"]]
        self._fitness = np.array(state["fitness"], dtype=np.float64)
        self._start_temperature = float(state["start_temperature"])
        self._moves = []

    def _temperatures_now(self) -> FloatArray:
        """Return the temperatures; 1 for all as long as no fitness has told where to start."""
        return self._temperatures() if self._start_temperature else np.ones(self._n_chains)

    def _walk(self, k: int, temperature: float) -> None:
        """Propose for chain ``k`` until a proposal has to be scored, or a few tries are over."""
        for _ in range(_MAX_TRIES):
            proposal = self._proposals.mutated(self._chains[k])
            chance = float(self._rng.random())
            ticket = self._batch.add(proposal)
            if not isinstance(ticket, float):
                self._moves.append((k, proposal, chance, ticket))
                return
            self._decide(k, proposal, ticket, chance, temperature)

    def _decide(
        self, k: int, proposal: Any, fitness: float, chance: float, temperature: float
    ) -> None:
        gain = fitness - float(self._fitness[k]) if fitness > -np.inf else -np.inf
        if gain >= 0.0 or chance < math.exp(max(gain / temperature, -700.0)):
            self._chains[k] = proposal
            self._fitness[k] = fitness


def _spread(fitness: FloatArray) -> float:
    """Return the median absolute deviation, else the standard one, else 1."""
    for spread in (np.median(np.abs(fitness - np.median(fitness))), fitness.std()):
        if 0.0 < spread < np.inf:
            return float(spread)
    return 1.0
