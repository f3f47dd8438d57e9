"""How searches other than genetic programming vary a candidate of any kind of space."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from evosearch.search.gp_trees import lent_random
from evosearch.search.gp_variation import Variation

MUTATIONS = {"subtree": 0.3, "point": 0.3, "hoist": 0.1, "constant": 0.3}
"""How often each mutation of rules is used; as in genetic programming without crossover."""


class Proposals:
    """Mutations and crossover of a space; rules by the operators of genetic programming.

    Args:
        space: what is varied.
        rng: source of random numbers.
        frequencies: of the mutations of rules, relative to their sum.
    """

    def __init__(
        self, space: Any, rng: np.random.Generator, frequencies: Mapping[str, float] = MUTATIONS
    ) -> None:
        self._space, self._rng = space, rng
        self._is_rule = space.kind == "rule"
        if self._is_rule:
            self._mutation = Variation(space, rng, frequencies)

    def lent(self) -> AbstractContextManager[None]:
        """Return the context in which to call the methods below."""
        return lent_random(self._rng) if self._is_rule else nullcontext()

    def mutated(self, parent: Any) -> Any:
        """Return a changed copy, which may equal its parent."""
        if self._is_rule:
            return self._mutation.child(parent, parent)
        return self._space.mutate(parent, self._rng)

    def crossed(self, first: Any, second: Any) -> Any:
        """Return a child of two parents."""
        if self._is_rule:
            return self._mutation.crossover(first, second)
        return self._space.crossover(first, second, self._rng)[0]
