"""Monte Carlo tree search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES, State
from evosearch.search.construction import Codes, Construction
from evosearch.search.known import KnownSettings, fitness_behind
from evosearch.search.mcts_tree import Tree
from evosearch.search.remembering import SearchInRounds

_MAX_TRIES = 4

_Playout: TypeAlias = tuple[int, Codes, int | float]
"""How long its beginning is, all its symbols, and its ticket."""


class MctsSettings(KnownSettings):
    """Settings of ``mcts``."""

    population: int = Field(
        20, ge=1, le=1_000_000, description="playouts that are asked at a time, by virtual losses"
    )
    exploration: float = Field(
        0.5, ge=0, description="factor of the upper confidence bound; values lie in [0, 1]"
    )
    rapid: float = Field(
        0.0, ge=0, description="visits at which rapid values weigh half; 0 for none"
    )
    greed: float = Field(
        1.0, ge=0, le=1, description="share of the best playout in a value, the rest of the mean"
    )
    floor: float = Field(
        0.5, ge=0, lt=1, description="share of the first batch that counts as equally bad"
    )
    max_nodes: int = Field(
        20_000, ge=2, description="nodes of the tree; where there are more it starts afresh"
    )
    max_size: int = Field(
        15, ge=1, description="nodes of the largest rules; the space's limit holds too"
    )


@SEARCHES.register("mcts")
class Mcts(SearchInRounds[_Playout]):
    """Monte Carlo tree search over left-to-right construction, with rapid action values.

    Each playout follows the upper confidence bounds of a tree of beginnings, adds one node and
    ends at random; its fitness is added to all nodes that it came through. Virtual losses spread
    the playouts of a batch. Where a playout computes a known function, its known fitness is added
    and nothing is scored. Beginnings whose candidates all were reached, or whose playouts
    find nothing new, are closed. Constants of a
    range are drawn about a few values.

    Sources: L. Kocsis, C. Szepesvári, "Bandit Based Monte-Carlo Planning", ECML 2006 (UCT);
    S. Gelly, D. Silver, "Combining Online and Offline Knowledge in UCT", ICML 2007, and
    "Monte-Carlo Tree Search and Rapid Action Value Estimation in Computer Go", Artificial
    Intelligence 175, 2011; G. Chaslot, M. Winands, J. van den Herik, "Parallel Monte-Carlo Tree
    Search", Computers and Games 2008 (virtual loss); Y. Björnsson, H. Finnsson, "CadiaPlayer",
    IEEE TCIAIG 1, 2009 (best playouts, for one player).
    """

    name = "mcts"
    Settings = MctsSettings
    _most_rounds = 10

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._construction = Construction(space, s.max_size)
        self._tree = self._new_tree()

    def tree(self) -> dict[Codes, tuple[int, float, float]]:
        """Return visits, sum and greatest of the fitness of each beginning in the tree."""
        return self._tree.figures()

    def _state(self) -> State:
        return self._tree.state()

    def _load(self, state: State) -> None:
        self._tree.load(state)

    def _new_tree(self) -> Tree:
        s = self.settings
        return Tree(self._construction, exploration=s.exploration, rapid=s.rapid, greed=s.greed)

    def _draw(self) -> list[_Playout]:
        if self._tree.is_exhausted or len(self._tree) > self.settings.max_nodes:
            self._tree = self._new_tree()
        self._tree.forget_virtual()
        drawn: list[_Playout] = []
        for _ in range(self.settings.population):
            if self._tree.is_exhausted:
                break
            beginning = self._tree.select()
            codes, ticket = self._played_out(beginning)
            drawn.append((len(beginning), codes, ticket))
        return drawn

    def _played_out(self, beginning: Codes) -> tuple[Codes, int | float]:
        """Return a playout of an unknown function; where a few find none, close the beginning."""
        codes, ticket = self._playout(beginning)
        for _ in range(_MAX_TRIES - 1):
            if not isinstance(ticket, float):
                return codes, ticket
            codes, ticket = self._playout(beginning)
        if isinstance(ticket, float):
            self._tree.close(beginning)
        return codes, ticket

    def _playout(self, beginning: Codes) -> tuple[Codes, int | float]:
        codes = self._construction.playout(beginning, self._rng)
        return codes, self._batch.add(self._construction.genotype(codes, self._rng))

    def _learn(self, trials: Sequence[_Playout], fitness: FloatArray) -> None:
        """Add the fitness of each playout to the nodes that it came through."""
        self._tree.forget_virtual()
        scored = [(d, codes, fitness_behind(t, fitness)) for d, codes, t in trials]
        values = [value for _, _, value in scored if value is not None and value > -np.inf]
        if not values:
            return
        if self._tree.floor == -np.inf:
            # Differences among candidates that random search finds at once say little.
            self._tree.floor = float(np.quantile(values, self.settings.floor))
        for depth, codes, value in scored:
            if value is not None:
                self._tree.back_up(depth, codes, value)
