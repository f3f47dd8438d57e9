"""Nested rollout policy adaptation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES, State
from evosearch.search.construction import Codes, Construction, Partial, codes_text, read_codes
from evosearch.search.known import KnownSettings, fitness_behind
from evosearch.search.remembering import SearchInRounds

_Playout: TypeAlias = tuple[Codes, int | float]
"""Symbols, and a ticket."""


class NrpaSettings(KnownSettings):
    """Settings of ``nrpa``."""

    population: int = Field(
        20, ge=1, le=1_000_000, description="playouts of one policy that are asked at a time"
    )
    levels: int = Field(2, ge=1, le=8, description="nested levels, each with a policy of its own")
    iterations: int = Field(
        20, ge=1, le=1_000_000, description="calls of the level below before a level ends"
    )
    alpha: float = Field(1.0, gt=0, description="step of a policy towards its best sequence")
    context: Literal["position", "parent"] = Field(
        "parent",
        description="the next symbol depends on its place in the text, or on whose operand it is",
    )
    max_size: int = Field(
        15, ge=1, description="nodes of the largest rules; the space's limit holds too"
    )


class Policy:
    """Probabilities of the next symbol: softmax of log prior plus learned weights.

    Args:
        construction: what is built.
        context: ``"position"`` or ``"parent"``.
    """

    def __init__(self, construction: Construction, context: str) -> None:
        self._construction = construction
        self._is_by_position = context == "position"
        n = construction.max_size if self._is_by_position else construction.n_contexts
        self.shape = (n, len(construction.symbols))

    def playouts(self, weights: FloatArray, rng: np.random.Generator, n: int) -> list[Codes]:
        """Return ``n`` candidates drawn by ``weights`` (contexts, symbols), symbol by symbol."""
        partials = [self._construction.start() for _ in range(n)]
        under_way = partials
        while under_way:
            logits = np.array([self._logits(weights, partial) for partial in under_way])
            # The greatest of logits plus Gumbel noise is a draw from their softmax.
            drawn = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1).tolist()
            for partial, code in zip(under_way, drawn, strict=True):
                partial.add(code)
            under_way = [partial for partial in under_way if not partial.is_complete]
        return [tuple(partial.codes) for partial in partials]

    def adapted(self, weights: FloatArray, sequence: Codes, alpha: float) -> FloatArray:
        """Return weights a step ``alpha`` along the gradient of the sequence's log probability.

        Each symbol of the sequence gains alpha, and all that could have come in its place lose
        alpha times their probability; all under the weights before (Rosin 2011, Adapt).
        """
        new = weights.copy()
        partial = self._construction.start()
        for code in sequence:
            row = self._row(partial)
            logits = self._logits(weights, partial)
            chances = np.exp(logits - logits.max())
            new[row] -= alpha * chances / chances.sum()
            new[row, code] += alpha
            partial.add(code)
        return new

    def _logits(self, weights: FloatArray, partial: Partial) -> FloatArray:
        return self._construction.choices(partial).log_prior + weights[self._row(partial)]

    def _row(self, partial: Partial) -> int:
        return len(partial.codes) if self._is_by_position else partial.places[-1]


@dataclass
class _Level:
    """One level under way: its policy and the best sequence that it met."""

    weights: FloatArray
    best: Codes = ()
    fitness: float = -np.inf
    n_done: int = 0


@SEARCHES.register("nrpa")
class Nrpa(SearchInRounds[_Playout]):
    """Nested rollout policy adaptation over left-to-right construction.

    Playouts draw symbol after symbol from a policy. A level calls the one below ``iterations``
    times with a copy of its policy, and after each call moves its policy towards the best sequence
    that it has met; the lowest level draws ``population`` playouts a call. When the top level ends
    it starts afresh. Playouts that compute a known function are not scored again. Constants of a
    range are a few fixed values.

    Sources: C. Rosin, "Nested Rollout Policy Adaptation for Monte Carlo Tree Search", IJCAI 2011;
    prior probabilities: T. Cazenave, "Generalized Nested Rollout Policy Adaptation", Monte Carlo
    Search 2020; many playouts a step: T. Cazenave, J.-B. Sevestre, M. Toulemont, "Stabilized Nested
    Rollout Policy Adaptation", Monte Carlo Search 2020.
    """

    name = "nrpa"
    Settings = NrpaSettings
    _most_rounds = 30

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._construction = Construction(space, s.max_size)
        self._policy = Policy(self._construction, s.context)
        self._levels: list[_Level] = []
        self._descend()

    def _state(self) -> State:
        levels = self._levels
        return {
            "weights": np.array([level.weights for level in levels]),
            "best": [codes_text(level.best) for level in levels],
            "fitness": np.array([level.fitness for level in levels]),
            "n_done": [level.n_done for level in levels],
        }

    def _load(self, state: State) -> None:
        parts = zip(state["weights"], state["best"], state["fitness"], state["n_done"], strict=True)
        self._levels = [
            _Level(np.array(weights), read_codes(best), float(fitness), int(n_done))
            for weights, best, fitness, n_done in parts
        ]

    def _draw(self) -> list[_Playout]:
        weights = self._levels[-1].weights
        playouts = self._policy.playouts(weights, self._rng, self.settings.population)
        tickets = self._batch.add_all([self._construction.genotype(codes) for codes in playouts])
        return list(zip(playouts, tickets, strict=True))

    def _learn(self, trials: Sequence[_Playout], fitness: FloatArray) -> None:
        """Hand the best playout to the lowest level, and what that completes to those above."""
        scored = [(codes, fitness_behind(ticket, fitness)) for codes, ticket in trials]
        found = [(value, codes) for codes, value in scored if value is not None and value > -np.inf]
        if not found:
            return
        value, codes = max(found, key=lambda pair: pair[0])
        self._take(self._levels[-1], codes, value)
        while self._levels and self._levels[-1].n_done >= self.settings.iterations:
            ended = self._levels.pop()
            if self._levels:
                self._take(self._levels[-1], ended.best, ended.fitness)
        self._descend()

    def _take(self, level: _Level, codes: Codes, fitness: float) -> None:
        if fitness >= level.fitness:
            level.best, level.fitness = codes, fitness
        level.weights = self._policy.adapted(level.weights, level.best, self.settings.alpha)
        level.n_done += 1

    def _descend(self) -> None:
        """Add the missing levels, each with a copy of the policy above."""
        while len(self._levels) < self.settings.levels:
            above = self._levels[-1].weights if self._levels else np.zeros(self._policy.shape)
            self._levels.append(_Level(above.copy()))
