"""Replace fitted constants by exact ones where the fit does not lose by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.rules.expression import Expression
from evosearch.rules.primitives import PRIMITIVES

_NEAR = 1e-4
_LARGEST_DENOMINATOR = 12
_ROUNDOFF = 1e-26
_PI_DENOMINATOR = 8


def snapped(expression: Expression, names: Sequence[str], columns: FloatArray, target: FloatArray
            ) -> tuple[Expression, float]:  # fmt: skip
    """Return the formula with exact constants where its error does not rise, and its error.

    All constants are tried at once, then each by itself. Exact are fractions of small numbers,
    multiples of pi by these, and 0. An error that is roundoff counts as none.

    Args:
        expression: the formula.
        names: of the columns.
        columns: (k, N).
        target: (N,).
    """
    error = error_of(expression, names, columns, target)
    values = list(expression.constants)
    exact = [exact_near(value) for value in values]
    whole = [v if e is None else e for v, e in zip(values, exact, strict=True)]
    options: list[list[float | None]] = [[*whole]]
    for place, value in enumerate(exact):
        if value is not None and value != values[place]:
            options.append([value if k == place else None for k in range(len(values))])
    for option in options:
        tried = [old if new is None else new for old, new in zip(values, option, strict=True)]
        if tried == values:
            continue
        found = error_of(expression.with_constants(tried), names, columns, target)
        if found <= max(error, _ROUNDOFF):
            values, error = tried, found
    return expression.with_constants(values), error


def exact_near(value: float) -> float | None:
    """Return the simplest exact number within a ten-thousandth of ``value``, None without one."""
    if abs(value) < _NEAR:
        return 0.0
    for unit, largest in ((1.0, _LARGEST_DENOMINATOR), (math.pi, _PI_DENOMINATOR)):
        for denominator in range(1, largest + 1):
            numerator = round(value / unit * denominator)
            found = float(Fraction(numerator, denominator)) * unit
            if numerator and abs(numerator) <= 1000 and abs(found - value) <= _NEAR * abs(value):
                return found
    return None


def error_of(
    expression: Expression, names: Sequence[str], columns: FloatArray, target: FloatArray
) -> float:
    """Return the mean squared error over the variance of the target, inf where not finite."""
    values = dict(zip(names, columns, strict=True))
    stack: list[FloatArray] = []
    for node in reversed(expression.nodes):
        if not isinstance(node, str):
            stack.append(np.full(len(target), node))
        elif node in PRIMITIVES:
            operands = [stack.pop() for _ in range(PRIMITIVES[node].arity)]
            stack.append(PRIMITIVES[node].numpy(*operands))
        else:
            stack.append(values[node])
    with np.errstate(all="ignore"):
        error = float(np.square(stack.pop() - target).mean() / target.var())
    return error if math.isfinite(error) else math.inf
