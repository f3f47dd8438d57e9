"""Rules that are tables: one small integer for each case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.rules.expression import Expression, Node
from evosearch.rules.parser import parse_expression
from evosearch.rules.rule import Rule
from evosearch.spaces.base import SequentialSpace
from evosearch.spaces.vector import read_vector

Table: TypeAlias = NDArray[np.int8]


class TableSpace(SequentialSpace):
    """Tables (k,), int8, with each entry one of ``values``; there are len(values)^k of them.

    A table decodes to the rule ``sum_k value_k * indicator_k``.

    Args:
        entries: for each entry the indicator of its case, as rule text or expression: 1 in that
            case and 0 in all others.
        values: the allowed values of an entry, at least two, each a distinct int8.
        form: ``"increment"`` or ``"absolute"``.

    Raises:
        InputError: no entries, bad values, or an indicator that is no rule text.

    Example:
        >>> import numpy as np
        >>> space = TableSpace(("pre*post", "pre*(1 - post)"))
        >>> print(space.decode(np.array([1, -1], np.int8)).main)
        pre*post - pre*(1 - post)
    """

    kind = "table"

    def __init__(
        self,
        entries: Sequence[str | Expression],
        values: Sequence[int] = (-1, 0, 1),
        *,
        form: str = "increment",
    ) -> None:
        if not entries:
            raise InputError("a table space has no entries; give at least one indicator.")
        if len(values) < 2 or len(set(values)) != len(values):
            raise InputError(f"values are {list(values)}; give at least two, all different.")
        if any(not -128 <= value <= 127 or value != int(value) for value in values):
            raise InputError(f"values are {list(values)}; each must be an integer in -128..127.")
        self.entries = tuple(
            entry if isinstance(entry, Expression) else parse_expression(entry, source="entries")
            for entry in entries
        )
        self.values = tuple(int(value) for value in values)
        self.form = form

    @property
    def n_entries(self) -> int:
        """Numbers in a table."""
        return len(self.entries)

    @property
    def n_tables(self) -> int:
        """All tables of the space."""
        return len(self.values) ** self.n_entries

    def table(self, position: int) -> Table:
        """Return table number ``position``: the first entry changes slowest."""
        digits = []
        for _ in range(self.n_entries):
            position, digit = divmod(position, len(self.values))
            digits.append(self.values[digit])
        return np.array(digits[::-1], dtype=np.int8)

    def sample(self, rng: np.random.Generator, n: int = 1) -> list[Table]:
        """Draw each entry uniformly, so that all tables are equally likely."""
        drawn = rng.integers(len(self.values), size=(n, self.n_entries))
        return list(np.array(self.values, dtype=np.int8)[drawn])

    def mutate(self, genotype: Table, rng: np.random.Generator) -> Table:
        """Give one entry, or each with probability 1/k, another value."""
        is_changed = rng.random(self.n_entries) < 1.0 / self.n_entries
        is_changed[rng.integers(self.n_entries)] = True
        child = genotype.copy()
        for k in np.flatnonzero(is_changed):
            others = [value for value in self.values if value != genotype[k]]
            child[k] = others[rng.integers(len(others))]
        return child

    def crossover(
        self, first: Table, second: Table, rng: np.random.Generator
    ) -> tuple[Table, Table]:
        """Swap each entry with probability a half."""
        is_swapped = rng.random(self.n_entries) < 0.5
        return np.where(is_swapped, second, first), np.where(is_swapped, first, second)

    def neighbours(self, genotype: Table) -> list[Table]:
        """Return the tables that differ in one entry: k * (len(values) - 1) of them."""
        found = []
        for k in range(self.n_entries):
            for value in self.values:
                if value != genotype[k]:
                    other = genotype.copy()
                    other[k] = value
                    found.append(other)
        return found

    def actions(self, prefix: Sequence[int]) -> list[int]:
        """Return the values that may come next."""
        return list(self.values) if len(prefix) < self.n_entries else []

    def decode(self, genotype: Table) -> Rule:
        """Return the sum of values times indicators as a rule; zero entries are left out."""
        operators: list[Node] = []
        operands: list[tuple[Node, ...]] = []
        for value, entry in zip(genotype.tolist(), self.entries, strict=True):
            if value == 0:
                continue
            term = entry.nodes if abs(value) == 1 else ("mul", float(abs(value)), *entry.nodes)
            if operands:
                operators.append("add" if value > 0 else "sub")
            elif value < 0:
                term = ("neg", *term)
            operands.append(term)
        if not operands:
            return Rule(Expression((0.0,)), form=self.form)
        nodes = [*reversed(operators), *(node for term in operands for node in term)]
        return Rule(Expression(tuple(nodes)), form=self.form)

    def encode_text(self, genotype: Table) -> str:
        """Write a JSON list of integers."""
        return str(genotype.tolist())

    def decode_text(self, text: str) -> Table:
        """Read a JSON list of allowed values."""
        numbers: FloatArray = read_vector(text, self.n_entries)
        if not np.isin(numbers, self.values).all():
            raise InputError(f"{text[:60]!r} is not a table of the values {list(self.values)}.")
        return numbers.astype(np.int8)

    def key(self, genotype: Table) -> bytes:
        """Return the entries as bytes."""
        return genotype.tobytes()
