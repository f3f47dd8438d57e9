"""Breed rules in batches: rules become rows of arrays, compiled code makes children of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.cache import announced
from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES
from evosearch.search import breeding_kernels as kernels
from evosearch.search.formula_tree_kernels import CONST, VAR
from evosearch.search.gp_variation import LARGEST_NEW
from evosearch.search.row_kernels import Grammar, Rows
from evosearch.spaces.rule import RuleSpace

OPERATORS = ("crossover", "subtree", "point", "hoist", "constant")


class Breeder:
    """Children and random rules of one space, many at a time.

    Args:
        space: terminals, functions, constants and the greatest size.
        rng: the source of random numbers; every batch draws the state of its own from it.
        frequencies: how often each of ``OPERATORS`` is used, relative to their sum.
    """

    def __init__(
        self, space: RuleSpace, rng: np.random.Generator, frequencies: Mapping[str, float]
    ) -> None:
        self._rng = rng
        self._width = space.max_size
        self._space = space
        self._codes = _Codes(space.terminals)
        self._grammar = make_grammar(space, [frequencies.get(name, 0.0) for name in OPERATORS])

    def children(
        self, parents: Sequence[tuple[Expression, Expression]]
    ) -> tuple[list[Expression], list[str]]:
        """Return a child of each pair of parents, and the name of the operator that made it."""
        numbers: dict[int, int] = {}
        rules: list[Expression] = []
        for rule in chain.from_iterable(parents):
            if id(rule) not in numbers:
                numbers[id(rule)] = len(rules)
                rules.append(rule)
        pairs = [(numbers[id(a)], numbers[id(b)]) for a, b in parents]
        n, m = len(rules), len(pairs)
        rows = _empty_rows(n + m + 1, self._width)
        self._codes.write(rules, rows)
        kinds = np.zeros(m, np.int64)
        with announced("breeding"):
            kernels.breed(rows, np.array(pairs, np.int64).reshape(m, 2), n, n + m, kinds,
                      self._grammar, self._words())  # fmt: skip
        return self._codes.read(rows, n, n + m), [OPERATORS[kind] for kind in kinds.tolist()]

    def random(self, n: int, largest: int) -> list[Expression]:
        """Return random rules; the size of each is uniform over those up to ``largest``."""
        sizes = self._space.possible_sizes(min(largest, self._width))
        if sizes[-1] >= len(self._grammar.cumulative):
            table = left_chances(self._space, sizes[-1])
            self._grammar = self._grammar._replace(cumulative=table)
        rows = _empty_rows(n, self._width)
        with announced("random rules"):
            kernels.draw(rows, n, np.array(sizes, np.int64), self._grammar, self._words())
        return self._codes.read(rows, 0, n)

    def _words(self) -> NDArray[np.uint64]:
        return self._rng.integers(2**64, size=4, dtype=np.uint64)


class _Codes(dict[Node, int]):
    """The code of each function and terminal; constants are collected on the way."""

    def __init__(self, terminals: Sequence[str]) -> None:
        super().__init__((name, int(primitive.op)) for name, primitive in PRIMITIVES.items())
        self.update((name, VAR + k) for k, name in enumerate(terminals))
        self._constants: list[float] = []
        self._names: list[Node] = [""] * (VAR + len(terminals))
        for name, code in self.items():
            self._names[code] = name

    def __missing__(self, node: Node) -> int:
        assert not isinstance(node, str), "a rule reads terminals of its space"
        self._constants.append(node)
        return CONST

    def write(self, rules: Sequence[Expression], rows: Rows) -> None:
        """Write rules into the first rows."""
        n, width = len(rules), rows.ops.shape[1]
        self._constants.clear()
        nodes: Iterable[Node] = chain.from_iterable(rule.nodes for rule in rules)
        codes = np.array(list(map(self.__getitem__, nodes)), np.int16)
        rows.length[:n] = [len(rule.nodes) for rule in rules]
        is_node = np.arange(width) < rows.length[:n, None]
        rows.ops[:n][is_node] = codes
        values = np.zeros(len(codes))
        values[codes == CONST] = self._constants
        rows.vals[:n][is_node] = values

    def read(self, rows: Rows, first: int, end: int) -> list[Expression]:
        """Return the rules of rows ``first`` to ``end``."""
        is_node = np.arange(rows.ops.shape[1]) < rows.length[first:end, None]
        codes = rows.ops[first:end][is_node]
        nodes = list(map(self._names.__getitem__, codes.tolist()))
        places = np.flatnonzero(codes == CONST)
        values = rows.vals[first:end][is_node][places]
        for place, value in zip(places.tolist(), values.tolist(), strict=True):
            nodes[place] = value
        made, start = [], 0
        for length in rows.length[first:end].tolist():
            made.append(Expression.made_of(tuple(nodes[start : start + length])))
            start += length
        return made


def make_grammar(space: RuleSpace, frequencies: Sequence[float]) -> Grammar:
    """Return what the compiled code needs to know of a space."""
    arity = np.zeros(VAR + len(space.terminals), np.int64)
    for primitive in PRIMITIVES.values():
        arity[int(primitive.op)] = primitive.arity
    leaves = [VAR + k for k in range(len(space.terminals))]
    grown = space.possible_sizes(min(LARGEST_NEW, space.max_size))
    weights = np.array(frequencies, np.float64)
    n_cells = 2 * space.max_size + 2
    return Grammar(
        arity=arity,
        unary=np.array([int(PRIMITIVES[name].op) for name in space.unary], np.int64),
        binary=np.array([int(PRIMITIVES[name].op) for name in space.binary], np.int64),
        leaves=np.array(leaves + [CONST] * len(space.constants), np.int64),
        values=np.array([0.0] * len(leaves) + list(space.constants)),
        fixed=np.array(space.constants, np.float64),
        range=np.array(space.ephemeral or (), np.float64),
        cumulative=left_chances(space, grown[-1]),
        grown=np.array(grown, np.int64),
        cuts=np.cumsum(weights / weights.sum()),
        ends=np.zeros(n_cells, np.int64),
        codes=np.zeros(n_cells, np.int16),
        numbers=np.zeros(n_cells),
    )


def left_chances(space: RuleSpace, largest: int) -> NDArray[np.float64]:
    """Return cumulated chances (S, S) of the nodes of a root's left operand, 0 for a unary root."""
    table = np.ones((largest + 1, largest + 1))
    for size in space.possible_sizes(largest):
        if size > 1:
            row = space.left_size_chances(size)
            table[size, : len(row)] = row
    return table


def _empty_rows(n: int, width: int) -> Rows:
    return Rows(np.zeros((n, width), np.int16), np.zeros((n, width)), np.zeros(n, np.int64))
