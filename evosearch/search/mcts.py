"""Monte Carlo tree search."""

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
from evosearch.search.construction import Codes, Construction
from evosearch.search.known import Batch, Known, KnownSettings, fitness_behind
from evosearch.search.mcts_tree import Tree

_MOST_ROUNDS = 10
_MAX_TRIES = 4


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
class Mcts(Search):
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
    space_kinds = ("rule", "table")
    Settings = MctsSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._rng = new_rng(seed)
        self._construction = Construction(space, s.max_size)
        self._known = Known(space, is_on=s.skip_equal)
        self._batch = Batch(self._known)
        self._playouts: list[tuple[int, Codes, int | float]] = []
        self._tree = self._new_tree()

    def ask(self) -> list[Any]:
        """Return playouts of unknown functions; those of known ones are learned at once."""
        for _ in range(_MOST_ROUNDS):
            self._draw()
            if self._batch.candidates:
                return list(self._batch.candidates)
            self._learn(np.empty(0))
        return self.space.sample(self._rng, self.settings.population)

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Add the fitness of each playout to the nodes that it came through."""
        fitness = usable_fitness(evaluation, len(candidates))
        self._batch.learn(fitness[: len(self._batch.candidates)])
        self._learn(fitness)

    def tree(self) -> dict[Codes, tuple[int, float, float]]:
        """Return visits, sum and greatest of the fitness of each beginning in the tree."""
        return self._tree.figures()

    def state_dict(self) -> State:
        """Return the tree, what is known, and the generator."""
        return {"rng": rng_state(self._rng), **self._tree.state(), **self._known.state()}

    def load_state_dict(self, state: State) -> None:
        """Take over the tree."""
        restore_rng(self._rng, state["rng"])
        self._tree.load(state)
        self._known.load(state)
        self._playouts = []

    def _new_tree(self) -> Tree:
        s = self.settings
        return Tree(self._construction, exploration=s.exploration, rapid=s.rapid, greed=s.greed)

    def _draw(self) -> None:
        if self._tree.is_exhausted or len(self._tree) > self.settings.max_nodes:
            self._tree = self._new_tree()
        self._tree.forget_virtual()
        self._batch = Batch(self._known, is_on=self.settings.skip_equal)
        self._playouts = []
        for _ in range(self.settings.population):
            if self._tree.is_exhausted:
                break
            beginning = self._tree.select()
            codes, ticket = self._played_out(beginning)
            self._playouts.append((len(beginning), codes, ticket))

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

    def _learn(self, fitness: FloatArray) -> None:
        self._tree.forget_virtual()
        scored = [(d, codes, fitness_behind(t, fitness)) for d, codes, t in self._playouts]
        self._playouts = []
        values = [value for _, _, value in scored if value is not None and value > -np.inf]
        if not values:
            return
        if self._tree.floor == -np.inf:
            # Differences among candidates that random search finds at once say little.
            self._tree.floor = float(np.quantile(values, self.settings.floor))
        for depth, codes, value in scored:
            if value is not None:
                self._tree.back_up(depth, codes, value)
