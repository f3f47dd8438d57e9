"""Print expressions as infix text that parses back to the same nodes."""

from __future__ import annotations

from evosearch.rules.expression import Expression, Node, subtree_ends
from evosearch.rules.primitives import ARITY

_PRECEDENCE = {"add": 1, "sub": 1, "mul": 2, "div": 2}
_SPACED = {"add": " + ", "sub": " - ", "mul": "*", "div": "/"}
_UNARY_PRECEDENCE = 3
_MAX_JOINED = 200
_NUMBER, _WHOLE = 3, 4
"""Precedence of constants, in brackets after a minus sign alone, and of what never needs any."""
_BINARY = {name: (own, _SPACED[name]) for name, own in _PRECEDENCE.items()}


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
    nodes = expression.nodes
    # Text is joined anew at every node, which long rules in one chain must not pay for.
    return _joined_text(nodes) if len(nodes) <= _MAX_JOINED else _printed(nodes)


def _joined_text(nodes: tuple[Node, ...]) -> str:
    """Return the text of an expression from the texts of its operands, from the right."""
    texts: list[str] = []
    precedences: list[int] = []
    for node in reversed(nodes):
        own = _WHOLE
        if not isinstance(node, str):
            text, own = print_constant(node), _NUMBER
        elif node in _BINARY:
            own, sign = _BINARY[node]
            first, second = texts.pop(), texts.pop()
            if precedences.pop() < own:
                first = f"({first})"
            if precedences.pop() <= own:
                second = f"({second})"
            text = f"{first}{sign}{second}"
        elif node not in ARITY:
            text = node
        elif node == "neg":
            # A constant after a minus sign would read back as a negative constant.
            text = f"-({texts.pop()})" if precedences.pop() <= _NUMBER else f"-{texts.pop()}"
        else:
            operands = [texts.pop() for _ in range(ARITY[node])]
            del precedences[-len(operands) :]
            text = f"{node}({', '.join(operands)})"
        texts.append(text)
        precedences.append(own)
    return texts.pop()


def _printed(nodes: tuple[Node, ...]) -> str:
    """Return the text of an expression of any length, piece by piece from the left."""
    parts: list[str] = []
    # Either finished text, or a node's position with the least precedence that needs no brackets.
    ends = subtree_ends(nodes)
    stack: list[str | tuple[int, int]] = [(0, 0)]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(reversed(_pieces(nodes, ends, *item)))
        else:
            parts.append(item)
    return "".join(parts)


def _pieces(
    nodes: tuple[Node, ...], ends: list[int], position: int, least: int
) -> list[str | tuple[int, int]]:
    """Return the text pieces and operands of one node, from left to right."""
    node = nodes[position]
    if not isinstance(node, str):
        return [print_constant(node)]
    if node not in ARITY:
        return [node]
    first = position + 1
    if node == "neg":
        if not isinstance(nodes[first], str):
            return ["-(", (first, 0), ")"]
        return ["-", (first, _UNARY_PRECEDENCE)]
    if node in _BINARY:
        own, sign = _BINARY[node]
        inner: list[str | tuple[int, int]] = [(first, own), sign, (ends[first], own + 1)]
        return ["(", *inner, ")"] if own < least else inner
    if ARITY[node] == 1:
        return [f"{node}(", (first, 0), ")"]
    return [f"{node}(", (first, 0), ", ", (ends[first], 0), ")"]
