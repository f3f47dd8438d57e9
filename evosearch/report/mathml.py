"""Rules as MathML, which browsers typeset without fonts or scripts of ours."""

from __future__ import annotations

from html import escape

from evosearch.rules.expression import Expression
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

MAX_NODES = 300
_SUM, _SIGN, _PRODUCT, _ATOM = 1, 2, 3, 5
_FUNCTIONS = {"sin": "sin", "tanh": "tanh", "sigmoid": "σ", "softplus": "softplus", "sign": "sgn"}
_FUNCTIONS |= {"max": "max", "min": "min"}


def rule_mathml(rule: Rule, *, is_formula: bool = False) -> str:
    """Return one displayed ``<math>`` element a part, or escaped text for very long rules.

    Args:
        rule: any rule; parts of more than 300 nodes are not typeset.
        is_formula: whether it computes y rather than a change of a weight.

    Returns:
        HTML, safe to place in a page.
    """
    lines = []
    for name, expression in rule.parts.items():
        if len(expression.nodes) > MAX_NODES:
            lines.append(f"<code>{escape(name)} = {escape(str(expression))}</code>")
            continue
        left = _left_side(name, expression, is_formula=is_formula)
        body = f"{left}{expression_mathml(expression)}"
        lines.append(f'<math display="block"><mrow>{body}</mrow></math>')
    return "\n".join(lines)


def expression_mathml(expression: Expression) -> str:
    """Return the MathML of one expression, brackets only where they are needed."""
    stack: list[tuple[str, int]] = []
    for node in reversed(expression.nodes):
        if not isinstance(node, str):
            stack.append(_number(float(node)))
        elif node in PRIMITIVES:
            operands = [stack.pop() for _ in range(PRIMITIVES[node].arity)]
            stack.append(_apply(node, operands))
        else:
            stack.append((_symbol(node), _ATOM))
    return stack.pop()[0]


def _left_side(name: str, expression: Expression, *, is_formula: bool) -> str:
    """Return what an expression is: a change of weights, a formula, a gene, or a state's next."""
    if name == "dw":
        symbol = "<mi>y</mi>" if is_formula else "<mi>Δ</mi><mi>w</mi>"
        return f"{symbol}<mo>=</mo>"
    return f"{_symbol(name)}<mo>{'=' if expression.is_number else '←'}</mo>"


def _symbol(name: str) -> str:
    base, _, index = name.partition("_")
    if not index:
        return f"<mi>{escape(name)}</mi>"
    return f"<msub><mi>{escape(base)}</mi><mi>{escape(index.replace('_', ' '))}</mi></msub>"


def _number(value: float) -> tuple[str, int]:
    text = f"{abs(value):.4g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        power = f"<msup><mn>10</mn><mn>{int(exponent)}</mn></msup>"
        markup, rank = f"<mn>{mantissa}</mn><mo>·</mo>{power}", _PRODUCT
    else:
        markup, rank = f"<mn>{text}</mn>", _ATOM
    return (f"<mo>−</mo>{markup}", _SIGN) if value < 0 else (markup, rank)


def _bracket(operand: tuple[str, int], least: int) -> str:
    markup, rank = operand
    inner = markup if rank >= least else f"<mo>(</mo>{markup}<mo>)</mo>"
    return f"<mrow>{inner}</mrow>"


def _bars(markup: str) -> str:
    return f"<mrow><mo>|</mo>{markup}<mo>|</mo></mrow>"


def _apply(name: str, operands: list[tuple[str, int]]) -> tuple[str, int]:
    first = operands[0]
    if name in ("add", "sub"):
        sign = "+" if name == "add" else "−"
        return f"{_bracket(first, _SUM)}<mo>{sign}</mo>{_bracket(operands[1], _PRODUCT)}", _SUM
    if name == "mul":
        return f"{_bracket(first, _SIGN)}<mo>·</mo>{_bracket(operands[1], _PRODUCT)}", _PRODUCT
    if name == "div":
        return f"<mfrac><mrow>{first[0]}</mrow><mrow>{operands[1][0]}</mrow></mfrac>", _ATOM
    if name == "neg":
        return f"<mo>−</mo>{_bracket(first, _PRODUCT)}", _SIGN
    if name == "square":
        return f"<msup>{_bracket(first, _ATOM)}<mn>2</mn></msup>", _PRODUCT
    if name == "pow":
        return f"<msup>{_bars(first[0])}<mrow>{operands[1][0]}</mrow></msup>", _PRODUCT
    if name == "exp":
        return f"<msup><mi>e</mi><mrow>{first[0]}</mrow></msup>", _PRODUCT
    if name == "abs":
        return _bars(first[0]), _ATOM
    if name == "sqrt":
        return f"<msqrt>{_bars(first[0])}</msqrt>", _ATOM
    if name == "log":
        return f"<mi>ln</mi>{_bars(first[0])}", _PRODUCT
    arguments = "<mo>,</mo>".join(markup for markup, _ in operands)
    symbol = escape(_FUNCTIONS.get(name, name))
    return f"<mi>{symbol}</mi><mrow><mo>(</mo>{arguments}<mo>)</mo></mrow>", _ATOM
