"""Building a candidate one symbol at a time: which may come next, and how likely by themselves."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray
from evosearch.rules.expression import Expression

Codes: TypeAlias = tuple[int, ...]
"""A whole candidate or its beginning, as the numbers of its symbols."""


def codes_text(codes: Codes) -> str:
    """Write a sequence as text."""
    return " ".join(map(str, codes))


def read_codes(text: str) -> Codes:
    """Read what ``codes_text`` wrote."""
    return tuple(int(word) for word in text.split())


@dataclass(frozen=True)
class Choices:
    """The symbols that may come next.

    Attributes:
        codes: (m,) their numbers, rising.
        log_prior: (symbols,) logarithms of the probabilities where nothing was learned; ``-inf``
            for symbols that may not come.
        cumulative: m running sums of these probabilities.
    """

    codes: NDArray[np.int64]
    log_prior: FloatArray
    cumulative: tuple[float, ...]


class Partial:
    """The beginning of a candidate, and what its open places belong to.

    Attributes:
        codes: symbols placed so far.
        places: the *context* of each open place, the next one last. In a rule the context is the
            operand that the place is (of which function, and which of its operands), 0 for the
            root; in a table it is the entry.
    """

    def __init__(self, places: list[int], arities: Sequence[int]) -> None:
        self.codes: list[int] = []
        self.places = places
        self._arities = arities

    @property
    def is_complete(self) -> bool:
        """Whether nothing is open."""
        return not self.places

    def add(self, code: int) -> None:
        """Put a symbol into the next open place."""
        self.codes.append(code)
        self.places.pop()
        arity = self._arities[code]
        self.places.extend(1 + 2 * code + operand for operand in reversed(range(arity)))


class Construction:
    """Rules in prefix order, or tables entry by entry, as sequences of symbols.

    Where nothing was learned a symbol comes with the probability that it has next in a candidate
    that is drawn uniformly over the possible sizes and then over all of that size. Constants of a
    range are represented by the values of ``space.actions``.

    Args:
        space: of rules or tables.
        max_size: nodes of the largest rules; the space's limit holds too.

    Example:
        >>> from evosearch.spaces import RuleSpace
        >>> construction = Construction(RuleSpace(("w", "pre"), ("add",), max_size=5))
        >>> construction.symbols, construction.codes_of(construction.genotype((2, 0, 1)))
        (('w', 'pre', 'add'), (2, 0, 1))
    """

    def __init__(self, space: Any, max_size: int) -> None:
        self._is_table = space.kind == "table"
        self.symbols: tuple[Any, ...] = tuple(space.actions(()))
        self.arities = [0 if self._is_table else Expression.arity(s) for s in self.symbols]
        self._code = {symbol: code for code, symbol in enumerate(self.symbols)}
        self._n_entries = space.n_entries if self._is_table else 1
        self.max_size = self._n_entries if self._is_table else min(max_size, space.max_size)
        self.n_contexts = self._n_entries if self._is_table else 1 + 2 * len(self.symbols)
        self._fixed = frozenset[float](() if self._is_table else space.constants)
        self._range = (None if self._is_table else space.ephemeral) or (0.0, 0.0)
        self._free = [
            code
            for code, symbol in enumerate(self.symbols)
            if not isinstance(symbol, str) and symbol not in self._fixed
        ]
        self._half_step = 0.5 * (self._range[1] - self._range[0]) / max(1, len(self._free))
        self._log_weight = self._log_weights()
        self._choices: dict[tuple[int, int], Choices] = {}

    def start(self, codes: Sequence[int] = ()) -> Partial:
        """Return a candidate that begins with ``codes``."""
        partial = Partial(list(reversed(range(self._n_entries))), self.arities)
        for code in codes:
            partial.add(code)
        return partial

    def choices(self, partial: Partial) -> Choices:
        """Return the symbols that may come next, so that the candidate can end in time."""
        place = (len(partial.codes), len(partial.places))
        if place not in self._choices:
            self._choices[place] = self._choices_at(*place)
        return self._choices[place]

    def playout(self, codes: Sequence[int], rng: np.random.Generator) -> Codes:
        """Return ``codes`` and random symbols after them until the candidate is complete."""
        partial = self.start(codes)
        while not partial.is_complete:
            choices = self.choices(partial)
            k = bisect_right(choices.cumulative, float(rng.random()))
            partial.add(int(choices.codes[min(k, len(choices.codes) - 1)]))
        return tuple(partial.codes)

    def genotype(self, codes: Sequence[int], rng: np.random.Generator | None = None) -> Any:
        """Return the candidate of a complete sequence.

        With ``rng`` each constant of a range is drawn uniformly about its value, half way to the
        next one; else it is that value.
        """
        symbols = [self.symbols[code] for code in codes]
        if rng is not None and self._half_step:
            symbols = [self._near(symbol, rng) for symbol in symbols]
        return np.array(symbols, dtype=np.int8) if self._is_table else Expression(symbols)

    def codes_of(self, genotype: Any) -> Codes:
        """Return the sequence of a candidate that was built here."""
        symbols = genotype.tolist() if self._is_table else genotype.nodes
        return tuple(self._code_of(symbol) for symbol in symbols)

    def _code_of(self, symbol: Any) -> int:
        if symbol in self._code:
            return self._code[symbol]
        return min(self._free, key=lambda code: abs(self.symbols[code] - symbol))

    def _near(self, symbol: Any, rng: np.random.Generator) -> Any:
        if isinstance(symbol, str) or symbol in self._fixed:
            return symbol
        low, high = self._range
        drawn = symbol + self._half_step * float(rng.uniform(-1.0, 1.0))
        return min(max(drawn, low), high)

    def _choices_at(self, n_placed: int, n_open: int) -> Choices:
        after = [n_open + arity - 1 for arity in self.arities]
        logs = np.array([self._log_weight[n_placed + 1, k] for k in after])
        codes = np.flatnonzero(np.isfinite(logs))
        weights = np.exp(logs[codes] - logs[codes].max())
        chances = weights / weights.sum()
        log_prior = np.full(len(self.symbols), -np.inf)
        log_prior[codes] = np.log(chances)
        return Choices(codes, log_prior, tuple(accumulate(chances.tolist())))

    def _log_weights(self) -> FloatArray:
        """Return log G: G(n, k) sums 1/T(s) over the ends of a beginning, s the size of the end.

        n symbols are placed and k places open; T(s) is the number of all candidates of size s, so
        that each size weighs the same. G(n, 0) = 1/T(n), G(n, k) = sum over symbols of arity a of
        G(n + 1, k + a - 1).
        """
        n = self.max_size
        logs = np.full((n + 2, n + 4), -np.inf)
        counts = [self.arities.count(arity) for arity in range(3)]
        for size, count in enumerate(self._n_candidates(counts)):
            logs[size, 0] = -math.log(count) if count else -np.inf
        for placed in reversed(range(n)):
            for arity, count in enumerate(counts):
                if count:
                    n_places = n + 1 - arity
                    part = math.log(count) + logs[placed + 1, arity : arity + n_places]
                    ends = slice(1, 1 + n_places)
                    logs[placed, ends] = np.logaddexp(logs[placed, ends], part)
        return logs

    def _n_candidates(self, counts: Sequence[int]) -> list[int]:
        """Return how many candidates there are of each size from 0 to the largest."""
        if self._is_table:
            return [0] * self.max_size + [1]
        leaves, unary, binary = counts
        n_trees = [0, leaves]
        for size in range(2, self.max_size + 1):
            pairs = sum(n_trees[k] * n_trees[size - 1 - k] for k in range(1, size - 1))
            n_trees.append(unary * n_trees[size - 1] + binary * pairs)
        return n_trees
