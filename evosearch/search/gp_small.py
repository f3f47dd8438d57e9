"""The small rules of a space, each function once, in random order within a size."""

from __future__ import annotations

import numpy as np

from evosearch.rules.expression import Expression, Node
from evosearch.search.enumeration import Enumeration
from evosearch.spaces.rule import RuleSpace

# Rules looked at for one size; about a second of work. Beyond it the small rules end.
_MOST_COMBINATIONS = 3_000_000


class SmallRules:
    """Go through all functions of small rules; the position is all that changes.

    Constants of a range are left out, since they are tuned later; 1 stands for them where the
    space fixes none.

    Args:
        space: what the rules are built of.
        seed: decides on the order within a size.
    """

    def __init__(self, space: RuleSpace, seed: int) -> None:
        constants = space.constants or ((1.0,) if space.ephemeral is not None else ())
        leaves: list[Node] = [*space.terminals, *constants]
        self._functions = Enumeration(leaves, space.functions)
        self._max_size = space.max_size
        self._seed = seed
        self._orders: list[list[int]] = []
        self.position = 0

    def take(self, n: int) -> list[Expression]:
        """Return up to ``n`` of the next rules; none where the next size would have too many."""
        functions = self._functions
        while self.position >= functions.n_functions:
            is_too_many = functions.n_combinations() > _MOST_COMBINATIONS
            if functions.size >= self._max_size or is_too_many:
                return []
            functions.extend()
        size = functions.size_of(self.position)
        first = functions.n_up_to(size - 1)
        order = self._order(size)
        start = self.position - first
        numbers = order[start : start + n]
        self.position += len(numbers)
        return [functions.expression(first + number) for number in numbers]

    def _order(self, size: int) -> list[int]:
        while len(self._orders) < size:
            k = len(self._orders) + 1
            n = self._functions.n_up_to(k) - self._functions.n_up_to(k - 1)
            rng = np.random.default_rng([self._seed, k])
            self._orders.append(rng.permutation(n).tolist())
        return self._orders[size - 1]
