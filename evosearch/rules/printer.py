"""Print expressions as infix text that parses back to the same nodes."""

from __future__ import annotations

from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES

_PRECEDENCE = {"add": 1, "sub": 1, "mul": 2, "div": 2}
_SPACED = {"add": " + ", "sub": " - ", "mul": "*", "div": "/"}
_UNARY_PRECEDENCE = 3


def print_constant(value: float) -> str:
    """Print a constant so that it reads back to the bit; whole numbers lose their point."""
    text = repr(value)
    return text[:-2] if text.endswith(".0") and text != "-0.0" else text


def print_expression(expression: Expression) -> str:
    """Return the infix text with no more parentheses than needed.

    Example:
        >>> print_expression(Expression(("sub", "pre", "sub", "w", "post")))
        'pre - (w - post)'
    """
    parts: list[str] = []
    # Either finished text, or a node's position with the least precedence that needs no brackets.
    ends = expression.subtree_ends()
    stack: list[str | tuple[int, int]] = [(0, 0)]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
            continue
        position, least = item
        stack.extend(reversed(_pieces(expression.nodes, ends, position, least)))
    return "".join(parts)


def _pieces(
    nodes: tuple[Node, ...], ends: list[int], position: int, least: int
) -> list[str | tuple[int, int]]:
    """Return the text pieces and operands of one node, from left to right."""
    node = nodes[position]
    if not isinstance(node, str):
        return [print_constant(node)]
    if node not in PRIMITIVES:
        return [node]
    first = position + 1
    if node == "neg":
        # A constant after a minus sign would read back as a negative constant.
        if not isinstance(nodes[first], str):
            return ["-(", (first, 0), ")"]
        return ["-", (first, _UNARY_PRECEDENCE)]
    if node in _PRECEDENCE:
        own = _PRECEDENCE[node]
        inner: list[str | tuple[int, int]] = [
            (first, own), _SPACED[node], (ends[first], own + 1),
        ]  # fmt: skip
        return ["(", *inner, ")"] if own < least else inner
    if PRIMITIVES[node].arity == 1:
        return [f"{node}(", (first, 0), ")"]
    return [f"{node}(", (first, 0), ", ", (ends[first], 0), ")"]
