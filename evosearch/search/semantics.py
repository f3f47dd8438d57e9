"""Tell rules apart by what they compute, at random points and in a few microseconds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from evosearch.rules.expression import Expression
from evosearch.rules.primitives import PRIMITIVES

_N_PROBES = 16
_SEED = 20_240_117
_MANTISSA_BITS = 30
_TINY = 1e-10


def semantic_key(expression: Expression) -> bytes:
    """Return bytes that are equal for rules with the same values at 16 fixed random points.

    Values are compared to about nine digits. Two rules whose roundoff differs right at the border
    of two numbers may get different keys, so that a search scores a function twice, not more.

    Example:
        >>> a = Expression(("mul", "pre", "post"))
        >>> b = Expression(("mul", "post", "pre"))
        >>> semantic_key(a) == semantic_key(b)
        True
    """
    values = probe_values(expression)
    with np.errstate(all="ignore"):
        largest = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
        mantissa, exponent = np.frexp(np.where(np.abs(values) < _TINY * largest, 0.0, values))
        digits = np.rint(mantissa * 2.0**_MANTISSA_BITS)
    # Adding zero turns -0 into 0.
    return (np.ldexp(digits, exponent) + 0.0).tobytes()


def probe_values(expression: Expression) -> NDArray[np.float64]:
    """Return the values (16,) of a rule at the probe points, which lie in (-2, 2)."""
    stack: list[NDArray[np.float64]] = []
    for node in reversed(expression.nodes):
        if not isinstance(node, str):
            stack.append(np.full(_N_PROBES, node))
        elif node in PRIMITIVES:
            primitive = PRIMITIVES[node]
            operands = [stack.pop() for _ in range(primitive.arity)]
            stack.append(primitive.numpy(*operands))
        else:
            stack.append(_probes(node))
    return stack.pop()


@lru_cache(maxsize=256)
def _probes(terminal: str) -> NDArray[np.float64]:
    values = np.random.default_rng([_SEED, *terminal.encode()]).uniform(-2.0, 2.0, _N_PROBES)
    values.setflags(write=False)
    return values
