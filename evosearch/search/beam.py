"""Beam search: exhaustive or stochastic, by edits or from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from evosearch.outcome import Evaluation, FloatArray
from evosearch.search.base import SEARCHES, State
from evosearch.search.beam_steps import Beam, EditBeam, PrefixBeam, Scored
from evosearch.search.construction import Construction
from evosearch.search.known import KnownSettings
from evosearch.search.remembering import RememberingSearch

_MOST_ROUNDS = 50


class BeamSettings(KnownSettings):
    """Settings of ``beam``."""

    population: int = Field(100, ge=1, le=1_000_000, description="candidates asked at a time")
    width: int = Field(5, ge=1, le=1_000_000, description="candidates that the beam keeps")
    successors: Literal["edits", "construction"] = Field(
        "edits", description="one-edit neighbours of whole candidates, or symbols from the left"
    )
    children: int = Field(
        20,
        ge=0,
        description="successors of each member, drawn at random; 0 for all (by construction: "
        "playouts after each beginning, at least one)",
    )
    temperature: float = Field(
        0.0,
        ge=0,
        description="noise on the choice of the beam, in standard deviations of what it chooses "
        "from; 0 for the best",
    )
    initial: int = Field(20, ge=1, le=1_000_000, description="random candidates of each start")
    max_size: int = Field(
        15, ge=1, description="nodes of the largest rules by construction; the space's holds too"
    )


@SEARCHES.register("beam")
class BeamSearch(RememberingSearch):
    """Beam search: the best ``width`` of each level, and all or some of their successors.

    By edits the beam holds whole candidates, which stay as long as none is better; by construction
    it holds beginnings, each worth as much as its best playout. ``temperature`` draws the beam
    without replacement by Gumbel noise on fitness. Known functions are not scored again. Where
    nothing new follows it starts afresh.

    Sources: B. Lowerre, "The Harpy Speech Recognition System", 1976; by playouts: T. Cazenave,
    "Monte Carlo Beam Search", IEEE TCIAIG 4, 2012; Gumbel noise: W. Kool, H. van Hoof, M. Welling,
    "Stochastic Beams and Where to Find Them", ICML 2019.
    """

    name = "beam"
    Settings = BeamSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._beam: Beam
        if s.successors == "edits":
            self._beam = EditBeam(space, self._rng, s.initial, s.children)
        else:
            self._beam = PrefixBeam(Construction(space, s.max_size), self._rng, s.children)
        self._queue: list[Any] = []
        self._scored: list[Scored] = []
        self._is_under_way = False

    def ask(self) -> list[Any]:
        """Return what is left of a level, at most ``population`` candidates of it."""
        for _ in range(_MOST_ROUNDS):
            if self._queue:
                return self._queue[: self.settings.population]
            self._next_level()
        return self.space.sample(self._rng, self.settings.population)

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Note what the level's candidates scored."""
        fitness = self._noted(candidates, evaluation)
        self._queue = self._queue[len(candidates) :]
        self._scored += [
            (candidate, value)
            for candidate, value in zip(candidates, fitness.tolist(), strict=True)
            if value > -np.inf
        ]

    def _state(self) -> State:
        """Return the beam and the level so far."""
        text = self.space.encode_text
        return {
            "queue": [text(candidate) for candidate in self._queue],
            "scored": [text(candidate) for candidate, _ in self._scored],
            "fitness": np.array([fitness for _, fitness in self._scored]),
            "is_under_way": self._is_under_way,
            **self._beam.state(),
        }

    def _load(self, state: State) -> None:
        read = self.space.decode_text
        self._queue = [read(text) for text in state["queue"]]
        scored = [read(text) for text in state["scored"]]
        self._scored = list(zip(scored, np.asarray(state["fitness"]).tolist(), strict=True))
        self._is_under_way = bool(state["is_under_way"])
        self._beam.load(state)

    def _next_level(self) -> None:
        if self._is_under_way:
            made = self._beam.advance(self._scored, self._chosen)
        else:
            made = self._beam.begin()
        self._scored = []
        self._is_under_way = bool(made)
        self._queue = self._new(made)

    def _new(self, made: Sequence[Any]) -> list[Any]:
        """Return those whose functions are not known; what is known counts as scored."""
        fresh: dict[int, Any] = {}
        for candidate, key in zip(made, self._known.keys(made), strict=True):
            fitness = self._known.fitness(key)
            if fitness is None:
                fresh.setdefault(key if self.settings.skip_equal else len(fresh), candidate)
            elif fitness > -np.inf and isinstance(self._beam, PrefixBeam):
                self._scored.append((candidate, fitness))
        return list(fresh.values())

    def _chosen(self, fitness: FloatArray) -> list[int]:
        """Return which ``width`` of the members to keep, the best or noisily best first."""
        s = self.settings
        keys = fitness
        if s.temperature > 0.0 and len(fitness) > 1:
            noise = self._rng.gumbel(size=len(fitness))
            keys = fitness + s.temperature * float(fitness.std()) * noise
        return np.argsort(-keys, kind="stable")[: s.width].tolist()
