"""Nested Monte Carlo search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES, State
from evosearch.search.construction import Codes, Construction, codes_text, read_codes
from evosearch.search.known import KnownSettings, fitness_behind
from evosearch.search.remembering import SearchInRounds

_Playouts: TypeAlias = list[tuple[Codes, int | float]]
"""Those of one lane: symbols, and a ticket."""


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
class Nmcs(SearchInRounds[_Playouts]):
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
    Settings = NmcsSettings
    _most_rounds = 60

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._construction = Construction(space, s.max_size)
        self._lanes: list[list[Nest]] = [[] for _ in range(s.lanes)]
        for lane in self._lanes:
            self._descend(lane)

    def _state(self) -> State:
        nests = [nest for lane in self._lanes for nest in lane]
        return {
            "lane": [k for k, lane in enumerate(self._lanes) for _ in lane],
            "played": [codes_text(nest.played) for nest in nests],
            "left": [codes_text(nest.left) for nest in nests],
            "best": [codes_text(nest.best) for nest in nests],
            "fitness": np.array([nest.fitness for nest in nests]),
        }

    def _load(self, state: State) -> None:
        self._lanes = [[] for _ in self._lanes]
        names = ("lane", "played", "left", "best", "fitness")
        for k, played, left, best, fitness in zip(*(state[name] for name in names), strict=True):
            nest = Nest(read_codes(played), read_codes(left), read_codes(best), float(fitness))
            self._lanes[int(k)].append(nest)

    def _draw(self) -> list[_Playouts]:
        """Draw playouts after each symbol that may follow what each lowest level has played."""
        share = self.settings.population // len(self._lanes)
        return [self._drawn(lane[-1].played, share) for lane in self._lanes]

    def _drawn(self, played: Codes, n: int) -> _Playouts:
        codes = self._next(played)
        starts = [(*played, code) for code in codes] or [played]
        made = [
            self._construction.playout(start, self._rng)
            for start in starts * max(1, n // len(starts))
        ]
        tickets = self._batch.add_all([self._construction.genotype(codes) for codes in made])
        return list(zip(made, tickets, strict=True))

    def _learn(self, trials: Sequence[_Playouts], fitness: FloatArray) -> None:
        """Let each lane play a symbol of its best sequence."""
        for lane, playouts in zip(self._lanes, trials, strict=False):
            found = [(codes, fitness_behind(ticket, fitness)) for codes, ticket in playouts]
            scored = [(codes, value) for codes, value in found if value is not None]
            has_failed = all(value == -np.inf for _, value in scored)
            is_free = all(isinstance(ticket, float) for _, ticket in playouts)
            # Where nothing is left but what is known to fail, a symbol is played all the same.
            if scored and (is_free or not has_failed):
                for codes, value in scored:
                    lane[-1].offer(codes, value)
                self._play(lane)

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
