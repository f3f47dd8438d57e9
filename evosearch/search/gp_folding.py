"""Write a rule with fewer constants where the function stays the same."""

from __future__ import annotations

import math

from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES

_Nodes = tuple[Node, ...]


def folded(rule: Expression) -> Expression:
    """Return the rule with its constant parts computed; for spaces with constants of a range.

    ``2*(3*x)`` becomes ``6*x``; factors of one and summands of zero vanish. Values may differ in
    their last bits.

    Example:
        >>> from evosearch.rules.parser import parse_expression
        >>> str(folded(parse_expression("2*(w*(1 + 2)) + 0")))
        '6*w'
    """
    if not rule.constants:
        return rule
    stack: list[_Nodes] = []
    for node in reversed(rule.nodes):
        if isinstance(node, str) and node in PRIMITIVES:
            operands = [stack.pop() for _ in range(PRIMITIVES[node].arity)]
            stack.append(_applied(node, operands))
        else:
            stack.append((node,))
    return Expression.made_of(stack.pop())


def _applied(name: str, operands: list[_Nodes]) -> _Nodes:
    values = [_constant(operand) for operand in operands]
    if all(value is not None for value in values):
        result = float(PRIMITIVES[name].numpy(*values))
        if math.isfinite(result):
            return (result,)
    if name == "mul":
        return _product(operands[0], operands[1])
    if name in ("add", "sub") and values[1] == 0.0:
        return operands[0]
    if name == "add" and values[0] == 0.0:
        return operands[1]
    return (name, *operands[0], *operands[1]) if len(operands) == 2 else (name, *operands[0])


def _product(a: _Nodes, b: _Nodes) -> _Nodes:
    """Return ``a*b`` with the constant in front, merged with the one that ``b`` begins with."""
    if _constant(b) is not None:
        a, b = b, a
    factor = _constant(a)
    if factor == 0.0:
        return (0.0,)
    if factor == 1.0:
        return b
    if factor is not None and b[0] == "mul" and not isinstance(b[1], str):
        merged = factor * b[1]
        if math.isfinite(merged):
            return b[2:] if merged == 1.0 else ("mul", merged, *b[2:])
    return ("mul", *a, *b)


def _constant(nodes: _Nodes) -> float | None:
    return float(nodes[0]) if not isinstance(nodes[0], str) else None
