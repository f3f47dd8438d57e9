"""Nested Monte Carlo search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from evosearch.search.construction import Codes, Construction, codes_text, read_codes
from evosearch.search.known import Batch, Known, KnownSettings, fitness_behind

_MOST_ROUNDS = 60


class NmcsSettings(KnownSettings):
    """Settings of ``nmcs``."""

    population: int = Field(
        50,
        ge=1,
        le=1_000_000,
        description="playouts that are asked at a time, spread evenly over the next symbols",
    )
    lanes: int = Field(2, ge=1, le=10_000, description="searches side by side, each on its own")
    levels: int = Field(2, ge=1, le=8, description="nested levels above the playouts")
    max_size: int = Field(
        15, ge=1, description="nodes of the largest rules; the space's limit holds too"
    )


@dataclass
class Nest:
    """One level under way.

    Attributes:
        played: symbols that this level has decided on.
        left: next symbols that the level below has yet to search, in random order.
        best: the best sequence that it met; it begins with ``played``.
        fitness: of ``best``.
    """

    played: Codes
    left: Codes
    best: Codes = ()
    fitness: float = -np.inf

    def offer(self, codes: Codes, fitness: float) -> None:
        """Keep a sequence where it is the best so far."""
        if fitness > self.fitness or not self.best:
            self.best, self.fitness = codes, fitness


@SEARCHES.register("nmcs")
class Nmcs(Search):
    """Nested Monte Carlo search over left-to-right construction.

    A level tries every symbol that may come next by a search of the level below, or by random
    playouts on the lowest, and then plays the next symbol of the best sequence that it has met, to
    the end. When the top level ends it starts afresh. The playouts after all next symbols, of
    several such searches side by side, are one batch; functions that are known are not scored
    again. Constants of a range are a few fixed values.

    On tables it beats random search at equal evaluations; on rules it did not, in the variants that
    this project tried, and ``beam`` is the better choice there.

    Source: T. Cazenave, "Nested Monte-Carlo Search", IJCAI 2009; for expressions in prefix order:
    T. Cazenave, "Nested Monte-Carlo Expression Discovery", ECAI 2010; side by side: T. Cazenave,
    N. Jouandeau, "On the Parallelization of UCT", CGW 2007 (root parallelisation).
    """

    name = "nmcs"
    space_kinds = ("rule", "table")
    Settings = NmcsSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._rng = new_rng(seed)
        self._construction = Construction(space, s.max_size)
        self._known = Known(space, is_on=s.skip_equal)
        self._batch = Batch(self._known)
        self._playouts: list[list[tuple[Codes, int | float]]] = []
        self._lanes: list[list[Nest]] = [[] for _ in range(s.lanes)]
        for lane in self._lanes:
            self._descend(lane)

    def ask(self) -> list[Any]:
        """Return playouts after each symbol that may come next, those of unknown functions."""
        for _ in range(_MOST_ROUNDS):
            self._draw()
            if self._batch.candidates:
                return list(self._batch.candidates)
            self._learn(np.empty(0))
        return self.space.sample(self._rng, self.settings.population)

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Play a symbol of the best sequence."""
        fitness = usable_fitness(evaluation, len(candidates))
        self._batch.learn(fitness[: len(self._batch.candidates)])
        self._learn(fitness)

    def state_dict(self) -> State:
        """Return what each level has played and met, what is known, and the generator."""
        nests = [nest for lane in self._lanes for nest in lane]
        return {
            "rng": rng_state(self._rng),
            "lane": [k for k, lane in enumerate(self._lanes) for _ in lane],
            "played": [codes_text(nest.played) for nest in nests],
            "left": [codes_text(nest.left) for nest in nests],
            "best": [codes_text(nest.best) for nest in nests],
            "fitness": np.array([nest.fitness for nest in nests]),
            **self._known.state(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over the levels."""
        restore_rng(self._rng, state["rng"])
        self._lanes = [[] for _ in self._lanes]
        names = ("lane", "played", "left", "best", "fitness")
        for k, played, left, best, fitness in zip(*(state[name] for name in names), strict=True):
            nest = Nest(read_codes(played), read_codes(left), read_codes(best), float(fitness))
            self._lanes[int(k)].append(nest)
        self._known.load(state)
        self._playouts = []

    def _draw(self) -> None:
        """Draw playouts after each symbol that may follow what each lowest level has played."""
        self._batch = Batch(self._known, is_on=self.settings.skip_equal)
        share = self.settings.population // len(self._lanes)
        self._playouts = [self._drawn(lane[-1].played, share) for lane in self._lanes]

    def _drawn(self, played: Codes, n: int) -> list[tuple[Codes, int | float]]:
        codes = self._next(played)
        starts = [(*played, code) for code in codes] or [played]
        made: list[tuple[Codes, int | float]] = []
        for start in starts * max(1, n // len(starts)):
            sequence = self._construction.playout(start, self._rng)
            made.append((sequence, self._batch.add(self._construction.genotype(sequence))))
        return made

    def _learn(self, fitness: FloatArray) -> None:
        for lane, playouts in zip(self._lanes, self._playouts, strict=False):
            found = [(codes, fitness_behind(ticket, fitness)) for codes, ticket in playouts]
            scored = [(codes, value) for codes, value in found if value is not None]
            has_failed = all(value == -np.inf for _, value in scored)
            is_free = all(isinstance(ticket, float) for _, ticket in playouts)
            # Where nothing is left but what is known to fail, a symbol is played all the same.
            if scored and (is_free or not has_failed):
                for codes, value in scored:
                    lane[-1].offer(codes, value)
                self._play(lane)
        self._playouts = []

    def _play(self, lane: list[Nest]) -> None:
        """Let each level that has tried all next symbols play one, from the lowest up."""
        nest = lane[-1]
        nest.played = nest.best[: len(nest.played) + 1]
        while len(nest.played) == len(nest.best):
            lane.pop()
            if not lane:
                break
            above = lane[-1]
            above.offer(nest.best, nest.fitness)
            above.left = above.left[1:]
            if above.left:
                break
            above.played = above.best[: len(above.played) + 1]
            above.left = self._order(above.played)
            nest = above
        self._descend(lane)

    def _descend(self, lane: list[Nest]) -> None:
        """Add the missing levels: each begins after a symbol that the one above has to try.

        Below a candidate that is complete there are none; its one playout is itself.
        """
        while len(lane) < self.settings.levels:
            if lane and not lane[-1].left:
                return
            played = (*lane[-1].played, lane[-1].left[0]) if lane else ()
            lane.append(Nest(played, self._order(played)))

    def _order(self, played: Codes) -> Codes:
        """Return the symbols that may come next in random order."""
        return tuple(self._rng.permutation(self._next(played)).tolist())

    def _next(self, played: Codes) -> list[int]:
        """Return the symbols that may come next; none where the candidate is complete."""
        partial = self._construction.start(played)
        return [] if partial.is_complete else self._construction.choices(partial).codes.tolist()
