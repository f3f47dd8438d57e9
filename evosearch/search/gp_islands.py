"""Islands: populations that breed apart and exchange their best now and then."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from evosearch.outcome import Evaluation
from evosearch.rules.expression import Expression
from evosearch.search.base import SEARCHES, Search, State, usable_fitness
from evosearch.search.gp import GeneticProgramming, TournamentSettings


class IslandSettings(TournamentSettings):
    """Settings of ``gp-islands``; ``population``, ``elite`` and ``n_tuned`` are of all islands."""

    islands: int = Field(4, ge=1, le=10_000, description="populations that breed apart")
    migrate_every: int = Field(
        5, ge=1, description="generations from one exchange of rules to the next"
    )
    migrants: int = Field(
        2, ge=0, description="best rules of each island that are copied to the next one"
    )

    @model_validator(mode="after")
    def _has_rules_for_each(self) -> IslandSettings:
        if self.islands > self.population:
            raise ValueError(
                f"islands is {self.islands}; it must be at most population, {self.population}"
            )
        return self


@SEARCHES.register("gp-islands")
class IslandProgramming(Search):
    """Several populations of ``gp`` in one batch; the best migrate along a ring.

    Population, elite, tuned structures and start rules are dealt evenly to the islands. Every
    ``migrate_every`` generations each island hands copies of its best ``migrants`` rules to the
    next island, all at the same time. No function is scored twice, on whichever island it is
    found. With one island it proposes what ``gp`` does.

    Sources: R. Tanese, "Distributed Genetic Algorithms", ICGA 1989; W. Martin, J. Lienig, J.
    Cohoon, "Island (Migration) Models", Handbook of Evolutionary Computation, C6.3, 1997.
    """

    name = "gp-islands"
    space_kinds = GeneticProgramming.space_kinds
    Settings = IslandSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._islands = [self._island(k) for k in range(self.settings.islands)]
        for island in self._islands[1:]:
            island.share_news(self._islands[0])
        self._n_generations = 0
        self._n_asked: list[int] = []

    def ask(self) -> list[Expression]:
        """Return the generations of all islands, one after the other."""
        batches = [island.ask() for island in self._islands]
        self._n_asked = [len(batch) for batch in batches]
        return [rule for batch in batches for rule in batch]

    def tell(self, candidates: Sequence[Expression], evaluation: Evaluation) -> None:
        """Let each island learn from its own rules, and the best migrate where it is time."""
        usable_fitness(evaluation, len(candidates))
        ends = np.cumsum([0, *self._n_asked]).clip(max=len(candidates)).tolist()
        for island, (start, end) in zip(self._islands, pairwise(ends), strict=True):
            island.tell(candidates[start:end], evaluation.taken(range(start, end)))
        self._n_generations += 1
        if self._n_generations % self.settings.migrate_every == 0:
            self._migrate()

    def state_dict(self) -> State:
        """Return the state of each island, what they share once, and the generations made."""
        states = [island.state_dict() for island in self._islands]
        shared = {name: states[0][name] for name in _SHARED}
        own = [{k: v for k, v in state.items() if k not in _SHARED} for state in states]
        return {"islands": own, "shared": shared, "n_generations": self._n_generations}

    def load_state_dict(self, state: State) -> None:
        """Take over the islands."""
        for island, own in zip(self._islands, state["islands"], strict=True):
            island.load_state_dict({**own, **state["shared"]})
        self._n_generations = int(state["n_generations"])
        self._n_asked = []

    def _island(self, k: int) -> GeneticProgramming:
        """Return the population with number ``k``, and its share of what is set for all."""
        s = self.settings
        own = s.model_dump(exclude={"islands", "migrate_every", "migrants"})
        for name in ("population", "elite", "n_tuned"):
            own[name] = max(1, len(range(k, own[name], s.islands)))
        own["start"] = s.start[k :: s.islands]
        return GeneticProgramming(self.space, seed=island_seed(self.seed, k), **own)

    def _migrate(self) -> None:
        """Copy the best of each island to the next; who leaves is decided before anyone arrives."""
        leaving = [island.best(self.settings.migrants) for island in self._islands]
        for k, members in enumerate(leaving):
            self._islands[(k + 1) % len(leaving)].receive(members)


# The memory and the place among the small rules, which all islands have in common.
_SHARED = ("memory", "n_small")


def island_seed(seed: int, k: int) -> int:
    """Return the seed of island ``k``; the first one has that of the search."""
    return int(np.random.SeedSequence([seed, k]).generate_state(1)[0]) if k else seed
