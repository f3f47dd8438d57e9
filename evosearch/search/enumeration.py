"""All functions that rules up to a size compute, built bottom-up, each once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.rules.expression import Expression, Node
from evosearch.rules.fingerprint import Algebra, ModularAlgebra, NumericAlgebra, Values
from evosearch.rules.primitives import PRIMITIVES
from evosearch.search.gradings import Grades, Gradings

_COMMUTATIVE = frozenset({"add", "mul"})
_LEAF = -1
_ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class _Level:
    """The functions first reached at one size; operands are numbers of earlier functions."""

    operator: NDArray[np.int16]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    values: Values
    grades: Grades

    def taken(self, rows: NDArray[Any]) -> _Level:
        """Return some of the functions, by index or mask."""
        return _Level(
            self.operator[rows],
            self.left[rows],
            self.right[rows],
            self.values[:, rows],
            self.grades[:, rows],
        )


class Enumeration:
    """Every function over ``leaves`` and ``functions``, in order of the size of its shortest rule.

    A rule of n nodes is built from the distinct functions of smaller sizes; it counts if its
    values at the probe points are new. Among + - * neg square these values are exact, modulo the
    prime 2^61 - 1 at two random points: two different polynomials of degree d are taken for one
    with probability at most (d / 2^61)^2, so among N functions some pair is with at most
    N^2/2 (d / 2^61)^2, below 1e-24 for a million of degree 32. Other functions are compared
    by 24 values rounded to about ten digits.

    Sources: A. Udupa et al., "TRANSIT: Specifying Protocols with Concolic Snippets", PLDI 2013
    (bottom-up enumeration modulo equivalence); J. Schwartz, "Fast Probabilistic Algorithms for
    Verification of Polynomial Identities", Journal of the ACM 27, 1980.

    With ``gradings`` only functions are built whose parts all have grades, and those count that
    are rules by them; the others serve as parts.

    Args:
        leaves: terminals and constants.
        functions: names of primitives.
        gradings: units and symmetries that rules keep; None for all rules.

    Example:
        >>> functions = Enumeration(("w", "pre", "post", 1.0), ("add", "sub", "mul"))
        >>> for _ in range(3):
        ...     functions.extend()
        >>> functions.size, functions.n_functions
        (3, 33)
    """

    def __init__(
        self, leaves: Sequence[Node], functions: Sequence[str], gradings: Gradings | None = None
    ) -> None:
        self.is_exact = all(PRIMITIVES[name].is_polynomial for name in functions)
        self._leaves = tuple(leaves)
        self._functions = tuple(functions)
        self._algebra: Algebra = ModularAlgebra() if self.is_exact else NumericAlgebra()
        self._gradings = gradings or Gradings((), {}, ())
        self._levels: list[_Level] = []
        self._first: list[int] = [0]  # of each level, among all that were built
        self._rules = np.empty(0, dtype=np.int64)  # numbers of those that count
        self._n_rules: list[int] = [0]
        self._seen: NDArray[np.uint64] = np.empty((2, 0), dtype=np.uint64)

    @property
    def size(self) -> int:
        """All functions of rules up to this many nodes are there."""
        return len(self._levels)

    @property
    def n_functions(self) -> int:
        """Functions found so far."""
        return self._n_rules[-1]

    def n_up_to(self, size: int) -> int:
        """Return the functions of rules up to ``size`` nodes, at most those found."""
        return self._n_rules[min(size, self.size)]

    def size_of(self, number: int) -> int:
        """Return the nodes of the shortest rule of function ``number``."""
        return int(np.searchsorted(self._n_rules, number, side="right"))

    def n_combinations(self) -> int:
        """Return how many rules the next ``extend`` has to look at."""
        return sum(
            len(self._functions) * self._n_of(left) * self._n_of(self.size - left)
            for left in range(1, self.size)
        ) + len(self._functions) * self._n_of(self.size)

    def extend(self) -> None:
        """Build the functions whose shortest rule is one node longer."""
        blocks = self._leaf_blocks() if not self._levels else self._blocks(self.size + 1)
        kept: list[_Level] = []
        waiting: list[_Level] = []
        n_waiting = 0
        for block in blocks:
            waiting.append(block)
            n_waiting += len(block.operator)
            if n_waiting >= _ROWS_AT_ONCE:
                kept.append(self._without_known(_joined(waiting)))
                waiting, n_waiting = [], 0
        if waiting:
            kept.append(self._without_known(_joined(waiting)))
        level = _joined(kept) if kept else self._empty_level()
        rules = self._first[-1] + np.flatnonzero(self._gradings.are_rules(level.grades))
        self._levels.append(level)
        self._first.append(self._first[-1] + len(level.operator))
        self._rules = np.concatenate([self._rules, rules])
        self._n_rules.append(len(self._rules))

    def expression(self, number: int) -> Expression:
        """Return the first rule that was found for function ``number``."""
        nodes: list[Node] = []
        stack = [int(self._rules[number])]
        while stack:
            number = stack.pop()
            size = int(np.searchsorted(self._first, number, side="right"))
            level, row = self._levels[size - 1], number - self._first[size - 1]
            operator = int(level.operator[row])
            if operator == _LEAF:
                nodes.append(self._leaves[level.left[row]])
                continue
            name = self._functions[operator]
            nodes.append(name)
            if PRIMITIVES[name].arity == 2:
                stack.append(int(level.right[row]))
            stack.append(int(level.left[row]))
        return Expression(nodes)

    def _n_of(self, size: int) -> int:
        return self._first[size] - self._first[size - 1] if size else 0

    def _leaf_blocks(self) -> Iterator[_Level]:
        n = len(self._leaves)
        yield _Level(
            np.full(n, _LEAF, dtype=np.int16),
            np.arange(n, dtype=np.int32),
            np.zeros(n, dtype=np.int32),
            np.stack([self._algebra.leaf(leaf) for leaf in self._leaves], axis=1),
            np.stack([self._gradings.leaf(leaf) for leaf in self._leaves], axis=1),
        )

    def _empty_level(self) -> _Level:
        return next(self._leaf_blocks()).taken(np.empty(0, dtype=np.int64))

    def _blocks(self, size: int) -> Iterator[_Level]:
        """Yield all rules of ``size`` nodes over known functions, in a fixed order."""
        for operator, name in enumerate(self._functions):
            if PRIMITIVES[name].arity == 1:
                rows = np.arange(self._n_of(size - 1))
                yield self._block(operator, size - 1, rows, size - 1, rows)
        for left_size in range(1, size - 1):
            right_size = size - 1 - left_size
            if self._n_of(left_size) and self._n_of(right_size):
                for operator, name in enumerate(self._functions):
                    is_mirrored = name in _COMMUTATIVE and left_size > right_size
                    if PRIMITIVES[name].arity == 2 and not is_mirrored:
                        yield from self._binary_blocks(operator, left_size, right_size)

    def _binary_blocks(self, operator: int, left_size: int, right_size: int) -> Iterator[_Level]:
        n_left, n_right = self._n_of(left_size), self._n_of(right_size)
        is_triangle = left_size == right_size and self._functions[operator] in _COMMUTATIVE
        n_rows = max(1, _ROWS_AT_ONCE // n_right)
        for start in range(0, n_left, n_rows):
            rows, columns = np.divmod(
                np.arange(start * n_right, min(start + n_rows, n_left) * n_right), n_right
            )
            if is_triangle:
                is_kept = rows <= columns
                rows, columns = rows[is_kept], columns[is_kept]
            yield self._block(operator, left_size, rows, right_size, columns)

    def _block(
        self,
        operator: int,
        left_size: int,
        left: NDArray[np.int64],
        right_size: int,
        right: NDArray[np.int64],
    ) -> _Level:
        """Apply a function to pairs of rows of two levels; pairs without a grade are left out."""
        name = self._functions[operator]
        lefts, rights = self._levels[left_size - 1], self._levels[right_size - 1]
        grades = np.empty((0, len(left)), dtype=np.int16)
        if self._gradings:
            a, b = lefts.grades[:, left], rights.grades[:, right]
            grades, may = self._gradings.apply(name, a, b)
            left, right, grades = left[may], right[may], grades[:, may]
        return _Level(
            np.full(len(left), operator, dtype=np.int16),
            (self._first[left_size - 1] + left).astype(np.int32),
            (self._first[right_size - 1] + right).astype(np.int32),
            self._algebra.apply(name, lefts.values[:, left], rights.values[:, right]),
            grades,
        )

    def _without_known(self, level: _Level) -> _Level:
        """Keep the first of each function that is not known yet; note them as known."""
        keys = self._algebra.keys(level.values)
        n_seen = self._seen.shape[1]
        both = np.concatenate([self._seen, keys], axis=1)
        # Stable, so the known ones, then the earliest of the new ones, lead their group.
        order = np.lexsort((both[1], both[0]))
        ordered = both[:, order]
        is_first = np.ones(len(order), dtype=np.bool_)
        is_first[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
        new = np.sort(order[is_first & (order >= n_seen)]) - n_seen
        self._seen = np.concatenate([self._seen, keys[:, new]], axis=1)
        return level.taken(new)


def _joined(levels: Sequence[_Level]) -> _Level:
    return _Level(
        np.concatenate([level.operator for level in levels]),
        np.concatenate([level.left for level in levels]),
        np.concatenate([level.right for level in levels]),
        np.concatenate([level.values for level in levels], axis=1),
        np.concatenate([level.grades for level in levels], axis=1),
    )
