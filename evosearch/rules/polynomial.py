"""Rules as polynomials: their terms, and the form that rules share up to their constants."""

from __future__ import annotations

from typing import TypeAlias

from evosearch.rules.expression import Expression
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

Monomial: TypeAlias = tuple[tuple[str, int], ...]
"""Names and powers, sorted by name; () is the constant term."""

MAX_TERMS = 64
MAX_DEGREE = 12


def polynomial(expression: Expression) -> dict[Monomial, float] | None:
    """Expand an expression of + - * neg square into monomials and coefficients.

    Returns:
        A mapping of monomials, e.g. ``(("post", 2), ("w", 1))``, to coefficients without zeros;
        None where another function occurs, or beyond 64 terms or degree 12.
    """
    stack: list[dict[Monomial, float]] = []
    for node in reversed(expression.nodes):
        if not isinstance(node, str):
            stack.append({(): float(node)})
        elif node not in PRIMITIVES:
            stack.append({((node, 1),): 1.0})
        else:
            operands = [stack.pop() for _ in range(PRIMITIVES[node].arity)]
            value = _combine(node, operands)
            if value is None:
                return None
            stack.append(value)
    terms = stack.pop()
    largest = max((abs(value) for value in terms.values()), default=0.0)
    return {key: value for key, value in terms.items() if abs(value) > 1e-9 * largest}


def _combine(name: str, operands: list[dict[Monomial, float]]) -> dict[Monomial, float] | None:
    if name in ("add", "sub"):
        return _sum(operands[0], operands[1], 1.0 if name == "add" else -1.0)
    if name == "neg":
        return {key: -value for key, value in operands[0].items()}
    if name == "mul":
        return _product(operands[0], operands[1])
    if name == "square":
        return _product(operands[0], operands[0])
    return None


def _sum(
    a: dict[Monomial, float], b: dict[Monomial, float], sign: float
) -> dict[Monomial, float] | None:
    total = dict(a)
    for key, value in b.items():
        total[key] = total.get(key, 0.0) + sign * value
    return total if len(total) <= MAX_TERMS else None


def _product(a: dict[Monomial, float], b: dict[Monomial, float]) -> dict[Monomial, float] | None:
    total: dict[Monomial, float] = {}
    for left, x in a.items():
        for right, y in b.items():
            powers = dict(left)
            for name, power in right:
                powers[name] = powers.get(name, 0) + power
            if sum(powers.values()) > MAX_DEGREE:
                return None
            key = tuple(sorted(powers.items()))
            total[key] = total.get(key, 0.0) + x * y
    return total if len(total) <= MAX_TERMS else None


def form_of(rule: Rule) -> str | None:
    """Return the signed terms of a polynomial rule, constants left out, or None.

    Example:
        ``0.3*post*(pre - 2*post*w)`` has the form ``+ post·pre − post²·w``, as Oja's rule.
    """
    parts = []
    for name, expression in rule.parts.items():
        terms = polynomial(expression)
        if terms is None:
            return None
        ordered = sorted(terms.items(), key=lambda item: (sum(p for _, p in item[0]), item[0]))
        signed = " ".join(f"{'+' if value > 0 else '−'} {_text(key)}" for key, value in ordered)
        parts.append(signed or "0" if len(rule.parts) == 1 else f"{name}: {signed or '0'}")
    return "; ".join(parts)


def _text(monomial: Monomial) -> str:
    powers = {1: "", 2: "²", 3: "³"}
    factors = [f"{name}{powers.get(power, f'^{power}')}" for name, power in monomial]
    return "·".join(factors) or "1"
