"""Print expressions as infix text that parses back to the same nodes."""

from __future__ import annotations

from functools import lru_cache

from evosearch.rules.expression import Expression, subtree_ends
from evosearch.rules.primitives import PRIMITIVES

_PRECEDENCE = {"add": 1, "sub": 1, "mul": 2, "div": 2}
_SPACED = {"add": " + ", "sub": " - ", "mul": "*", "div": "/"}
_UNARY_PRECEDENCE = 3
_CONSTANT = "\0"  # stands for a constant; no name has it
_MAX_KEPT = 1_000


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
    skeleton = tuple(node if isinstance(node, str) else _CONSTANT for node in nodes)
    between = _text_between(skeleton) if len(nodes) <= _MAX_KEPT else _printed(skeleton)
    constants = [print_constant(node) for node in nodes if not isinstance(node, str)]
    pieces = [between[0]]
    for constant, text in zip(constants, between[1:], strict=True):
        pieces += (constant, text)
    return "".join(pieces)


@lru_cache(maxsize=4096)
def _text_between(skeleton: tuple[str, ...]) -> list[str]:
    """Remember the text of a structure: searches print the same one with many constants."""
    return _printed(skeleton)


def _printed(skeleton: tuple[str, ...]) -> list[str]:
    """Return the text before, between and after the constants of a structure."""
    between: list[str] = []
    parts: list[str] = []
    # Either finished text, or a node's position with the least precedence that needs no brackets.
    ends = subtree_ends(skeleton)
    stack: list[str | tuple[int, int]] = [(0, 0)]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(reversed(_pieces(skeleton, ends, *item)))
        elif item == _CONSTANT:
            between.append("".join(parts))
            parts = []
        else:
            parts.append(item)
    return [*between, "".join(parts)]


def _pieces(
    nodes: tuple[str, ...], ends: list[int], position: int, least: int
) -> list[str | tuple[int, int]]:
    """Return the text pieces and operands of one node, from left to right."""
    node = nodes[position]
    if node not in PRIMITIVES:
        return [node]
    first = position + 1
    if node == "neg":
        # A constant after a minus sign would read back as a negative constant.
        if nodes[first] == _CONSTANT:
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
