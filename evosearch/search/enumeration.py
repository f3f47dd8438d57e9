"""All functions that rules up to a size compute, built bottom-up, each once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES

Values = NDArray[Any]
"""(points, n): the values of n functions at the probe points."""

_COMMUTATIVE = frozenset({"add", "mul"})
_LEAF = -1
_ROWS_AT_ONCE = 1_000_000
_PROBE_SEED = 20_241_961


@dataclass(frozen=True)
class _Level:
    """The functions first reached at one size; operands are numbers of earlier functions."""

    operator: NDArray[np.int16]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    values: Values


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

    Args:
        leaves: terminals and constants.
        functions: names of primitives.

    Example:
        >>> functions = Enumeration(("w", "pre", "post", 1.0), ("add", "sub", "mul"))
        >>> for _ in range(3):
        ...     functions.extend()
        >>> functions.size, functions.n_functions
        (3, 33)
    """

    def __init__(self, leaves: Sequence[Node], functions: Sequence[str]) -> None:
        self.is_exact = all(PRIMITIVES[name].is_polynomial for name in functions)
        self._leaves = tuple(leaves)
        self._functions = tuple(functions)
        self._algebra: _Algebra = _Modular() if self.is_exact else _Numeric()
        self._levels: list[_Level] = []
        self._first: list[int] = [0]
        self._seen: NDArray[np.uint64] = np.empty((2, 0), dtype=np.uint64)

    @property
    def size(self) -> int:
        """All functions of rules up to this many nodes are there."""
        return len(self._levels)

    @property
    def n_functions(self) -> int:
        """Functions built so far."""
        return self._first[-1]

    def n_up_to(self, size: int) -> int:
        """Return the functions of rules up to ``size`` nodes, at most those built."""
        return self._first[min(size, self.size)]

    def size_of(self, number: int) -> int:
        """Return the nodes of the shortest rule of function ``number``."""
        return int(np.searchsorted(self._first, number, side="right"))

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
        level = _joined(kept) if kept else _empty_level(self._algebra)
        self._levels.append(level)
        self._first.append(self._first[-1] + len(level.operator))

    def expression(self, number: int) -> Expression:
        """Return the first rule that was found for function ``number``."""
        nodes: list[Node] = []
        stack = [number]
        while stack:
            number = stack.pop()
            size = self.size_of(number)
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
        )

    def _blocks(self, size: int) -> Iterator[_Level]:
        """Yield all rules of ``size`` nodes over known functions, in a fixed order."""
        for operator, name in enumerate(self._functions):
            if PRIMITIVES[name].arity == 1:
                operand = self._levels[size - 2].values
                numbers = self._first[size - 2] + np.arange(operand.shape[1])
                yield self._block(operator, numbers, numbers, operand, operand)
        for left_size in range(1, size - 1):
            right_size = size - 1 - left_size
            if self._n_of(left_size) and self._n_of(right_size):
                for operator, name in enumerate(self._functions):
                    is_mirrored = name in _COMMUTATIVE and left_size > right_size
                    if PRIMITIVES[name].arity == 2 and not is_mirrored:
                        yield from self._binary_blocks(operator, left_size, right_size)

    def _binary_blocks(self, operator: int, left_size: int, right_size: int) -> Iterator[_Level]:
        left, right = self._levels[left_size - 1].values, self._levels[right_size - 1].values
        n_left, n_right = left.shape[1], right.shape[1]
        is_triangle = left_size == right_size and self._functions[operator] in _COMMUTATIVE
        n_rows = max(1, _ROWS_AT_ONCE // n_right)
        for start in range(0, n_left, n_rows):
            rows, columns = np.divmod(
                np.arange(start * n_right, min(start + n_rows, n_left) * n_right), n_right
            )
            if is_triangle:
                is_kept = rows <= columns
                rows, columns = rows[is_kept], columns[is_kept]
            yield self._block(
                operator,
                self._first[left_size - 1] + rows,
                self._first[right_size - 1] + columns,
                left[:, rows],
                right[:, columns],
            )

    def _block(
        self,
        operator: int,
        left: NDArray[Any],
        right: NDArray[Any],
        left_values: Values,
        right_values: Values,
    ) -> _Level:
        return _Level(
            np.full(len(left), operator, dtype=np.int16),
            left.astype(np.int32),
            right.astype(np.int32),
            self._algebra.apply(self._functions[operator], left_values, right_values),
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
        return _Level(
            level.operator[new], level.left[new], level.right[new], level.values[:, new]
        )


def _joined(levels: Sequence[_Level]) -> _Level:
    return _Level(
        np.concatenate([level.operator for level in levels]),
        np.concatenate([level.left for level in levels]),
        np.concatenate([level.right for level in levels]),
        np.concatenate([level.values for level in levels], axis=1),
    )


def _empty_level(algebra: _Algebra) -> _Level:
    none = np.empty(0, dtype=np.int32)
    return _Level(none.astype(np.int16), none, none, algebra.leaf(0.0)[:, None][:, :0])


class _Algebra(ABC):
    """Values of functions at probe points, and how they are told apart."""

    @abstractmethod
    def leaf(self, leaf: Node) -> Values:
        """Return the values (points,) of a terminal or constant."""

    @abstractmethod
    def apply(self, name: str, a: Values, b: Values) -> Values:
        """Return the values of a primitive; a unary one ignores ``b``."""

    @abstractmethod
    def keys(self, values: Values) -> NDArray[np.uint64]:
        """Return two words (2, n) for each function, equal for equal functions."""


_P = np.uint64(2**61 - 1)
_LOW_31 = np.uint64(2**31 - 1)
_LOW_30 = np.uint64(2**30 - 1)


class _Modular(_Algebra):
    """Exact arithmetic on integers and dyadic fractions, modulo 2^61 - 1, at two points."""

    def leaf(self, leaf: Node) -> Values:
        if isinstance(leaf, str):
            return _probe_rng(leaf).integers(0, int(_P), 2).astype(np.uint64)
        numerator, denominator = float(leaf).as_integer_ratio()
        value = numerator * pow(denominator, -1, int(_P)) % int(_P)
        return np.full(2, value, dtype=np.uint64)

    def apply(self, name: str, a: Values, b: Values) -> Values:
        if name == "add":
            return _reduced(a + b)
        if name == "sub":
            return _reduced(a + (_P - b))
        if name == "neg":
            return _reduced(_P - a)
        return _product(a, a if name == "square" else b)

    def keys(self, values: Values) -> NDArray[np.uint64]:
        return values


def _reduced(x: Values) -> Values:
    """Return x modulo 2^61 - 1 for x < 2^64."""
    x = (x & _P) + (x >> np.uint64(61))
    return np.where(x >= _P, x - _P, x)


def _product(a: Values, b: Values) -> Values:
    """Return a*b modulo 2^61 - 1 from 31-bit halves; 2^62 = 2 and 2^61 = 1 there."""
    shift = np.uint64(31)
    a_high, a_low = a >> shift, a & _LOW_31
    b_high, b_low = b >> shift, b & _LOW_31
    middle = a_high * b_low + a_low * b_high
    high = (a_high * b_high) << np.uint64(1)
    middle_high, middle_low = middle >> np.uint64(30), middle & _LOW_30
    return _reduced(_reduced(high + middle_high + (middle_low << shift)) + a_low * b_low)


_N_PROBES = 24
_DIGIT_BITS = 33
_TINY = 1e-10


class _Numeric(_Algebra):
    """Float64 at random points in (-2, 2), compared after rounding to ten digits."""

    def __init__(self) -> None:
        words = _probe_rng("words").integers(0, 2**63, (2, 2, _N_PROBES, 1), dtype=np.uint64)
        self._words = words * np.uint64(2) + np.uint64(1)

    def leaf(self, leaf: Node) -> Values:
        if isinstance(leaf, str):
            return _probe_rng(leaf).uniform(-2.0, 2.0, _N_PROBES)
        return np.full(_N_PROBES, float(leaf))

    def apply(self, name: str, a: Values, b: Values) -> Values:
        primitive = PRIMITIVES[name]
        return primitive.numpy(a) if primitive.arity == 1 else primitive.numpy(a, b)

    def keys(self, values: Values) -> NDArray[np.uint64]:
        with np.errstate(invalid="ignore"):
            mantissa, exponent = np.frexp(np.where(np.abs(values) < _TINY, 0.0, values))
            digits = np.rint(mantissa * 2.0**_DIGIT_BITS)
            # Rounded up to the next power of two: the same number, one exponent higher.
            is_full = np.abs(digits) == 2.0**_DIGIT_BITS
            digits = np.where(is_full, digits / 2, digits)
            exponent = exponent + is_full
            # No number has the digits that stand for the three values that are not finite.
            special = np.where(np.isnan(values), 3.0, np.sign(values))
            digits = np.where(np.isfinite(values), digits, special)
        words = digits.astype(np.int64).view(np.uint64)
        powers = exponent.astype(np.int64).view(np.uint64)
        return (words * self._words[0] + powers * self._words[1]).sum(axis=1, dtype=np.uint64)


def _probe_rng(name: str) -> np.random.Generator:
    """Return the generator of a terminal's probe values; the same in every search."""
    return np.random.default_rng([_PROBE_SEED, *name.encode()])
