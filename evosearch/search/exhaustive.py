"""All tables, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evosearch.outcome import Evaluation
from evosearch.search.base import SEARCHES, Search, State, usable_fitness
from evosearch.spaces.table import Table


@SEARCHES.register("exhaustive")
class ExhaustiveSearch(Search):
    """Every table of the space in a fixed order, the first entry changing slowest.

    The seed changes nothing. The state is a position, so a stopped search goes on where it was.
    """

    name = "exhaustive"
    space_kinds = ("table",)

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._position = 0

    def ask(self) -> list[Table]:
        """Return the next tables."""
        end = min(self._position + self.settings.population, self.space.n_tables)
        return [self.space.table(position) for position in range(self._position, end)]

    def tell(self, candidates: Sequence[Table], evaluation: Evaluation) -> None:
        """Move on by as many tables as were scored."""
        usable_fitness(evaluation, len(candidates))
        self._position += len(candidates)

    def state_dict(self) -> State:
        """Return the position, as text since it may exceed 64 bits."""
        return {"position": str(self._position)}

    def load_state_dict(self, state: State) -> None:
        """Go on at the stored position."""
        self._position = int(state["position"])

    @property
    def is_done(self) -> bool:
        """Whether all tables were scored."""
        return self._position >= self.space.n_tables

    def summary(self) -> str:
        """Say what is known once all tables were scored."""
        n = self.space.n_tables
        if self.is_done:
            return f"Among all {n:,} tables, none scores higher on these draws than the best found."
        return f"{self._position:,} of {n:,} tables were scored."
