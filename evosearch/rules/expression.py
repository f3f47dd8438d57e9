"""Expressions as flat prefix sequences: no recursion, so that any depth works."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from math import isfinite
from typing import TypeAlias

from evosearch.errors import InputError
from evosearch.rules.primitives import ARITY

Node: TypeAlias = str | float
"""The name of a primitive, the name of a terminal, or a constant."""


class Expression:
    """One expression, immutable and hashable, as its nodes in prefix order.

    Args:
        nodes: primitives, terminals and constants; each primitive is followed by its operands.

    Raises:
        InputError: the sequence is not one whole expression, or a constant is not finite.

    Example:
        >>> e = Expression(("mul", "post", "sub", "pre", 0.5))
        >>> str(e), e.size, e.depth
        ('post*(pre - 0.5)', 5, 2)
    """

    __slots__ = ("__dict__", "nodes")

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes: tuple[Node, ...] = tuple(
            node if isinstance(node, str) else float(node) for node in nodes
        )
        self._check()

    @classmethod
    def made_of(cls, nodes: tuple[Node, ...]) -> Expression:
        """Return the expression of nodes that are known to be whole and finite; none is checked."""
        expression = cls.__new__(cls)
        expression.nodes = nodes
        return expression

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self.nodes)

    @property
    def is_number(self) -> bool:
        """Whether it is one constant, with a minus sign or without."""
        return not isinstance(self.nodes[-1], str) and self.nodes[:-1] in ((), ("neg",))

    @cached_property
    def depth(self) -> int:
        """Edges from the root to the deepest leaf."""
        deepest, open_depths = 0, [0]
        for node in self.nodes:
            depth = open_depths.pop()
            deepest = max(deepest, depth)
            open_depths.extend([depth + 1] * self.arity(node))
        return deepest

    @cached_property
    def terminals(self) -> frozenset[str]:
        """Names of the terminals that are read."""
        return frozenset(n for n in self.nodes if isinstance(n, str) and n not in ARITY)

    @property
    def constants(self) -> tuple[float, ...]:
        """Constants in prefix order."""
        return tuple(node for node in self.nodes if not isinstance(node, str))

    @staticmethod
    def arity(node: Node) -> int:
        """Return how many operands follow the node."""
        return ARITY.get(node, 0) if isinstance(node, str) else 0

    def with_constants(self, values: Sequence[float]) -> Expression:
        """Return the same structure with other constants, in prefix order."""
        left = iter(values)
        nodes = [node if isinstance(node, str) else float(next(left)) for node in self.nodes]
        return Expression(nodes)

    def subtree_end(self, start: int) -> int:
        """Return the position after the subtree that begins at ``start``."""
        missing, position = 1, start
        while missing:
            missing += self.arity(self.nodes[position]) - 1
            position += 1
        return position

    def subtree_ends(self) -> list[int]:
        """Return the end of the subtree at every position, in one pass."""
        return subtree_ends(self.nodes)

    def replace(self, start: int, end: int, nodes: Sequence[Node]) -> Expression:
        """Return the expression with ``nodes`` in place of nodes[start:end]."""
        return Expression((*self.nodes[:start], *nodes, *self.nodes[end:]))

    def _check(self) -> None:
        missing = 1
        for position, node in enumerate(self.nodes):
            if not isinstance(node, str) and not isfinite(node):
                raise InputError(f"the constant at node {position} is {node}; it must be finite.")
            if missing == 0:
                raise InputError(f"the expression ends before node {position}, {node!r}.")
            missing += self.arity(node) - 1
        if missing:
            raise InputError(f"the expression lacks {missing} operand(s) at its end.")

    @cached_property
    def _text(self) -> str:
        from evosearch.rules.printer import print_expression

        return print_expression(self)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Expression({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        # repr tells 0.0 from -0.0, which are different constants.
        return isinstance(other, Expression) and repr(self.nodes) == repr(other.nodes)

    def __hash__(self) -> int:
        return hash(self.nodes)


def subtree_ends(nodes: Sequence[Node]) -> list[int]:
    """Return the end of the subtree at every position of a prefix sequence, in one pass."""
    ends = [0] * len(nodes)
    stack: list[int] = []
    for position in reversed(range(len(nodes))):
        end = position + 1
        for _ in range(ARITY.get(nodes[position], 0)):  # type: ignore[call-overload]
            end = stack.pop()
        ends[position] = end
        stack.append(end)
    return ends


def joined(name: str, parts: Sequence[Sequence[Node]]) -> tuple[Node, ...]:
    """Return ``((p0 op p1) op p2) op …`` of at least one part, as nodes in prefix order."""
    nodes: list[Node] = [name] * (len(parts) - 1)
    for part in parts:
        nodes.extend(part)
    return tuple(nodes)
