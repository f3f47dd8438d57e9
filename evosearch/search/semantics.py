"""Tell rules apart by what they compute, at random points and in about a microsecond each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from evosearch.rules.expression import Expression
from evosearch.rules.points import N_HASHED, hashed_numbers_of
from evosearch.rules.primitives import PRIMITIVES


def semantic_key(expression: Expression) -> int:
    """Return a 64-bit hash that is equal for rules with the same values at 16 random points.

    Values are compared to about nine digits, relative to the largest. Two rules whose roundoff
    differs right at the border of two numbers may get different keys, so that a search scores a
    function twice, not more. Keys are the same in every process and for every search.

    Example:
        >>> a = Expression(("mul", "pre", "post"))
        >>> b = Expression(("mul", "post", "pre"))
        >>> semantic_key(a) == semantic_key(b)
        True
    """
    return semantic_keys([expression])[0]


def semantic_keys(expressions: Sequence[Expression]) -> list[int]:
    """Return the key of each expression; far faster together than one by one."""
    from evosearch.rules.probes import Encoded

    return Encoded(expressions).rounded_hashes().tolist()


def probe_values(expression: Expression) -> NDArray[np.float64]:
    """Return the values (16,) of a rule at the probe points, which lie in (-2, 2)."""
    stack: list[NDArray[np.float64]] = []
    for node in reversed(expression.nodes):
        if not isinstance(node, str):
            stack.append(np.full(N_HASHED, node))
        elif node in PRIMITIVES:
            primitive = PRIMITIVES[node]
            operands = [stack.pop() for _ in range(primitive.arity)]
            stack.append(primitive.numpy(*operands))
        else:
            stack.append(_probes(node))
    return stack.pop()


@lru_cache(maxsize=256)
def _probes(terminal: str) -> NDArray[np.float64]:
    values = hashed_numbers_of(terminal)
    values.setflags(write=False)
    return values
