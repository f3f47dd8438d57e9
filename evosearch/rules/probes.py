"""What many expressions compute at fixed random points, in one compiled call for all of them.

Expressions are encoded as numbers first. A terminal's values at the points depend on its name
alone, so that they are the same in every search and process.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from evosearch.rules import probe_kernels as kernels
from evosearch.rules.expression import Expression, Node
from evosearch.rules.points import (
    DIGIT_BITS,
    HASHED_BITS,
    TINY,
    hashed_numbers_of,
    mixing_words,
    numbers_of,
    residues_of,
)
from evosearch.rules.primitives import PRIMITIVES

_MAX_TERMINALS = 4096
_MAX_KEPT_DEPTH = 64


class _Tables(dict[Node, int]):
    """The code of each primitive and of each terminal met, with the terminals' values.

    Constants are collected for the caller and not kept: there is no end of them.
    """

    def __init__(self) -> None:
        super().__init__((name, int(primitive.op)) for name, primitive in PRIMITIVES.items())
        self.constants: list[float] = []
        self.n_terminals = 0
        self.residues = np.zeros((8, 2), np.uint64)
        self.numeric = np.zeros((8, kernels.STRIDE))
        self.hashed = np.zeros((8, kernels.STRIDE))
        self._kept: dict[str, _Scratch] = {}

    def scratch(self, name: str, depth: int) -> _Scratch:
        """Return memory that begins with the values of all terminals in one of the tables."""
        table: NDArray[np.float64] = getattr(self, name)[: self.n_terminals]
        if depth > _MAX_KEPT_DEPTH:
            return _Scratch(table, depth)
        kept = self._kept.get(name)
        if kept is None or kept.n_terminals != self.n_terminals:
            kept = self._kept[name] = _Scratch(table, _MAX_KEPT_DEPTH)
        return kept

    def __missing__(self, node: Node) -> int:
        if not isinstance(node, str):
            self.constants.append(node)
            return -len(self.constants)
        k = self.n_terminals
        if k == len(self.residues):
            self.residues, self.numeric, self.hashed = (
                np.concatenate([table, np.zeros_like(table)])
                for table in (self.residues, self.numeric, self.hashed)
            )
        numbers, hashed = numbers_of(node), hashed_numbers_of(node)
        self.residues[k] = residues_of(node)
        self.numeric[k, : len(numbers)], self.hashed[k, : len(hashed)] = numbers, hashed
        self.n_terminals += 1
        self[node] = kernels.FIRST_TERMINAL + k
        return self[node]


class _Scratch:
    """Memory for the values of one expression of a depth, after those of the terminals."""

    def __init__(self, table: NDArray[np.float64], depth: int) -> None:
        self.n_terminals, stride = table.shape
        n = self.n_terminals
        self.values = np.empty((n + depth) * stride)
        self.values[: n * stride] = table.ravel()
        self.places = np.empty(depth, np.uint64)
        self.operands = (self.values, n, self.places)


_lock = threading.RLock()
_tables: list[_Tables] = []


class Encoded:
    """Expressions as numbers: codes in prefix order, one after the other.

    Args:
        expressions: n of any size.
    """

    def __init__(self, expressions: Sequence[Expression]) -> None:
        nodes = [expression.nodes for expression in expressions]
        sizes = list(map(len, nodes))
        with _lock:
            if not _tables or _tables[0].n_terminals > _MAX_TERMINALS:
                _tables[:] = [_Tables()]
            self._tables = _tables[0]
            self._tables.constants.clear()
            codes = map(self._tables.__getitem__, chain.from_iterable(nodes))
            self._codes = np.fromiter(codes, np.int32, sum(sizes))
            self._constants = np.array(self._tables.constants, np.float64)
        self._starts = np.fromiter(accumulate(sizes, initial=0), np.int64, len(nodes) + 1)
        self._depth = max(max(sizes, default=0) // 2 + 2, _MAX_KEPT_DEPTH)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def are_exact(self) -> NDArray[np.bool_]:
        """Return (n,) whether an expression has only + - * neg square, whose values are exact."""
        out = np.empty(len(self), np.bool_)
        kernels.are_exact(self._codes, self._starts, out)
        return out

    def residues(self, chosen: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return values (m, 2) modulo 2^61 - 1 at two points of the chosen, exact expressions."""
        out, stack = np.empty((len(chosen), 2), np.uint64), np.empty((self._depth, 2), np.uint64)
        kernels.residues(self._codes, self._starts, chosen, self._constants.view(np.uint64),
                         self._tables.residues, stack, out)  # fmt: skip
        return out

    def rounded_words(self, chosen: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return two sums (m, 2) of rounded values at 24 points of the chosen expressions."""
        out = np.empty((len(chosen), 2), np.uint64)
        with _lock:
            scratch = self._tables.scratch("numeric", self._depth)
            kernels.rounded_words(self._codes, self._starts, chosen, self._constants,
                                  *scratch.operands, _weights(), TINY, DIGIT_BITS, out)  # fmt: skip
        return out

    def rounded_hashes(self) -> NDArray[np.uint64]:
        """Return 64-bit hashes (n,) of the values at 16 points, rounded to about nine digits."""
        out = np.empty(len(self), np.uint64)
        with _lock:
            scratch = self._tables.scratch("hashed", self._depth)
            kernels.rounded_hashes(self._codes, self._starts, self._constants, *scratch.operands,
                                   TINY, HASHED_BITS, _block(), out)  # fmt: skip
        return out


def digest_text(words: NDArray[np.uint64], head: str) -> list[str]:
    """Return 32 hexadecimal digits for each pair of words (n, 2).

    They are the BLAKE2b digest, 16 bytes, of ``head`` and the two words in decimal digits.
    """
    out = np.empty((len(words), 2), np.uint64)
    with _lock:
        block = _block()
        kernels.digests(words, np.frombuffer(head.encode(), np.uint8), block.view(np.uint8),
                        block, out)  # fmt: skip
    text = out.tobytes().hex()
    return [text[start : start + 32] for start in range(0, len(text), 32)]


MAX_HEAD = 128 - 2 * 20 - 1
"""Bytes of a head, so that the text fills one block at most."""


@lru_cache(maxsize=1)
def _block() -> NDArray[np.uint64]:
    return np.zeros(16, np.uint64)


@lru_cache(maxsize=1)
def _weights() -> NDArray[np.uint64]:
    return np.ascontiguousarray(mixing_words()[..., 0])
