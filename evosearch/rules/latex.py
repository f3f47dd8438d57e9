"""Rules as LaTeX mathematics. All loops are iterative."""

from __future__ import annotations

import math
from dataclasses import dataclass
from string import Formatter

from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.printer import print_constant
from evosearch.rules.rule import Rule

_SUM, _PRODUCT, _CALL, _ATOM = 1, 2, 4, 9
_LATEX_PRECEDENCE = {"add": _SUM, "sub": _SUM, "neg": _SUM, "mul": _PRODUCT}
_OPEN, _CLOSE = r"\left(", r"\right)"
_TEMPLATES = {
    name: [(text, field) for text, field, _, _ in Formatter().parse(primitive.latex)]
    for name, primitive in PRIMITIVES.items()
}


def latex(rule: Rule, *, is_formula: bool = False) -> str:
    r"""Return the rule as LaTeX mathematics, several parts in an ``aligned`` block.

    States have a prime, as they change with every step; genes, which are numbers, have none. What a
    formula computes is called y.

    Example:
        >>> print(latex(Rule("square(post)*w/2")))
        \Delta w = \frac{\mathrm{post}^{2} w}{2}
    """
    lines = []
    for part, expression in rule.parts.items():
        left = ("y" if is_formula else r"\Delta w") if part == "dw" else _latex_name(part)
        if part != "dw" and not expression.is_number:
            left += "'"
        lines.append((left, _latex_expression(expression)))
    if len(lines) == 1:
        return f"{lines[0][0]} = {lines[0][1]}"
    body = r" \\ ".join(f"{left} &= {right}" for left, right in lines)
    return rf"\begin{{aligned}} {body} \end{{aligned}}"


@dataclass(frozen=True)
class _Slot:
    """An operand to write: its node, the least precedence without brackets, and its place."""

    position: int
    least: int = 0
    is_first: bool = True


def _latex_expression(expression: Expression) -> str:
    nodes, ends = expression.nodes, expression.subtree_ends()
    begins_with_number = _leading_numbers(nodes)
    pieces: list[str] = []
    stack: list[str | _Slot] = [_Slot(0)]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            pieces.append(item)
        else:
            stack.extend(reversed(_latex_pieces(nodes, ends, begins_with_number, item)))
    return "".join(pieces)


def _leading_numbers(nodes: tuple[Node, ...]) -> list[bool]:
    """Return for every subtree whether its text as a factor begins with a digit."""
    leading = [False] * (len(nodes) + 1)
    for position in reversed(range(len(nodes))):
        node = nodes[position]
        if isinstance(node, str):
            leading[position] = node in ("mul", "square") and leading[position + 1]
        else:
            leading[position] = math.copysign(1.0, node) > 0
    return leading


def _latex_pieces(
    nodes: tuple[Node, ...], ends: list[int], begins_with_number: list[bool], slot: _Slot
) -> list[str | _Slot]:
    node, first = nodes[slot.position], slot.position + 1
    if not isinstance(node, str):
        text = _latex_number(node)
        if text[0] == "-":
            is_plain = slot.is_first and slot.least <= _PRODUCT
        else:
            is_plain = "^" not in text or slot.least <= _PRODUCT
        return [text] if is_plain else [_OPEN, text, _CLOSE]
    if node not in PRIMITIVES:
        return [_latex_name(node)]
    own = _LATEX_PRECEDENCE.get(node, _CALL)
    is_bracketed = own < slot.least or (node == "neg" and not slot.is_first)
    pieces = _latex_operation(node, first, ends[first], slot.is_first or is_bracketed)
    for index, piece in enumerate(pieces):
        if piece == " " and begins_with_number[ends[first]]:
            pieces[index] = r" \cdot "
    return [_OPEN, *pieces, _CLOSE] if is_bracketed else pieces


def _latex_operation(node: str, first: int, second: int, is_first: bool) -> list[str | _Slot]:
    """Return the pieces of a primitive without brackets around them."""
    if node == "neg":
        return ["-", _Slot(first, _PRODUCT, False)]
    if node == "add":
        return [_Slot(first, _SUM, is_first), " + ", _Slot(second, _SUM, False)]
    if node == "sub":
        return [_Slot(first, _SUM, is_first), " - ", _Slot(second, _PRODUCT, False)]
    if node == "mul":
        return [_Slot(first, _PRODUCT, is_first), " ", _Slot(second, _PRODUCT, False)]
    if node == "square":
        return [_Slot(first, _ATOM), "^{2}"]
    pieces: list[str | _Slot] = []
    for text, field in _TEMPLATES[node]:
        pieces.append(text)
        if field is not None:
            pieces.append(_Slot(second if field == "1" else first))
    return pieces


def _latex_name(name: str) -> str:
    escaped = name.replace("_", r"\_")
    return name if len(name) == 1 and name != "_" else rf"\mathrm{{{escaped}}}"


def _latex_number(value: float) -> str:
    if math.isnan(value):
        return r"\mathrm{NaN}"
    if math.isinf(value):
        return r"\infty" if value > 0 else r"-\infty"
    text = print_constant(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = f"10^{{{int(exponent)}}}"
    return {"1": power, "-1": f"-{power}"}.get(mantissa, rf"{mantissa} \times {power}")
