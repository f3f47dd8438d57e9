"""Uniform random search: the control that every other search must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evosearch.outcome import Evaluation
from evosearch.search.base import (
    SEARCHES,
    Search,
    State,
    new_rng,
    restore_rng,
    rng_state,
    usable_fitness,
)


@SEARCHES.register("random")
class RandomSearch(Search):
    """Independent draws of the space, repeats included; fitness changes nothing.

    Rules are uniform over sizes and then over the trees of that size, tables and bounded vectors
    uniform.

    Source: S. Brooks, "A Discussion of Random Methods for Seeking Maxima", Operations Research 6,
    1958.
    """

    name = "random"
    space_kinds = ("rule", "genome", "coefficients", "table", "vector")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._rng = new_rng(seed)

    def ask(self) -> list[Any]:
        """Draw a batch."""
        return self.space.sample(self._rng, self.settings.population)

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Check the shapes."""
        usable_fitness(evaluation, len(candidates))

    def state_dict(self) -> State:
        """Return the state of the generator."""
        return {"rng": rng_state(self._rng)}

    def load_state_dict(self, state: State) -> None:
        """Restore the generator."""
        restore_rng(self._rng, state["rng"])
