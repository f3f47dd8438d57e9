"""The functions that a rule may use: declared once, with their form in every target.

All are total: no input makes them raise. The NumPy forms keep the type of their operands and are
the truth that every back end is tested against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evosearch.engine.program import Op

SINE_LIMIT = 2.0**20


@dataclass(frozen=True)
class Primitive:
    """One function of rules.

    Attributes:
        name: the word used in expressions and rule text.
        op: its operation code in programs.
        arity: 1 or 2 operands.
        numpy: the total function on NumPy arrays.
        latex: template with ``{0}`` and ``{1}`` for the operands.
        meaning: one phrase for people.
        symbol: the infix sign, or None for a function call.
        is_polynomial: whether polynomials stay polynomials under it.
    """

    name: str
    op: Op
    arity: int
    numpy: Callable[..., Any]
    latex: str
    meaning: str
    symbol: str | None = None
    is_polynomial: bool = False


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    def total(*operands: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*operands)

    total.__name__ = function.__name__
    return total


def _divide(a: Any, b: Any) -> Any:
    value = np.true_divide(a, b)
    return np.where(np.equal(b, 0), np.zeros_like(value), value)


def _log(a: Any) -> Any:
    size = np.abs(a)
    is_zero = size == 0
    return np.where(is_zero, np.zeros_like(size), np.log(np.where(is_zero, np.ones_like(a), size)))


def _power(a: Any, b: Any) -> Any:
    # A Python number alone would become double precision in the logarithm.
    a = np.asarray(a, np.result_type(a, b))
    value = np.exp(b * _log(a))
    return np.where(np.equal(a, 0), np.zeros_like(value), value)


def _sign(a: Any) -> Any:
    return np.where(a > 0, np.ones_like(a), np.where(a < 0, -np.ones_like(a), np.zeros_like(a)))


def _sigmoid(a: Any) -> Any:
    small = np.exp(-np.abs(a))
    return np.where(a < 0, small, np.ones_like(small)) / (1 + small)


def _sin(a: Any) -> Any:
    return np.where(np.abs(a) > SINE_LIMIT, np.zeros_like(a), np.sin(a))


def _softplus(a: Any) -> Any:
    return np.where(a > 0, a, np.zeros_like(a)) + np.log1p(np.exp(-np.abs(a)))


_TABLE = (
    ("add", Op.ADD, 2, lambda a, b: a + b, "{0} + {1}", "sum", "+", True),
    ("sub", Op.SUB, 2, lambda a, b: a - b, "{0} - {1}", "difference", "-", True),
    ("mul", Op.MUL, 2, lambda a, b: a * b, "{0} {1}", "product", "*", True),
    ("div", Op.DIV, 2, _divide, r"\frac{{{0}}}{{{1}}}", "quotient, 0 where b is 0", "/", False),
    ("max", Op.MAX, 2, lambda a, b: np.where(a > b, a, b), r"\max({0}, {1})", "the greater",
     None, False),
    ("min", Op.MIN, 2, lambda a, b: np.where(a < b, a, b), r"\min({0}, {1})", "the lesser",
     None, False),
    ("pow", Op.POW, 2, _power, r"\left|{0}\right|^{{{1}}}", "exp(b log|a|), 0 where a is 0", None,
     False),
    ("neg", Op.NEG, 1, lambda a: -a, "-{0}", "negative", None, True),
    ("square", Op.SQUARE, 1, lambda a: a * a, "{0}^2", "square", None, True),
    ("abs", Op.ABS, 1, np.abs, r"\left|{0}\right|", "absolute value", None, False),
    ("sign", Op.SIGN, 1, _sign, r"\operatorname{{sign}}({0})", "-1, 0 or 1", None, False),
    ("sqrt", Op.SQRT, 1, lambda a: np.sqrt(np.abs(a)), r"\sqrt{{\left|{0}\right|}}",
     "root of |a|", None, False),
    ("exp", Op.EXP, 1, np.exp, r"\exp({0})", "exponential", None, False),
    ("log", Op.LOG, 1, _log, r"\log\left|{0}\right|", "logarithm of |a|, 0 at 0", None, False),
    ("tanh", Op.TANH, 1, np.tanh, r"\tanh({0})", "hyperbolic tangent", None, False),
    ("sigmoid", Op.SIGMOID, 1, _sigmoid, r"\sigma({0})", "logistic function", None, False),
    ("sin", Op.SIN, 1, _sin, r"\sin({0})", "sine, 0 where |a| > 2**20", None, False),
    ("softplus", Op.SOFTPLUS, 1, _softplus, r"\log(1 + e^{{{0}}})", "log(1 + exp(a))", None, False),
)  # fmt: skip

PRIMITIVES: dict[str, Primitive] = {
    name: Primitive(name, op, arity, _quiet(function), latex, meaning, symbol, is_polynomial)
    for name, op, arity, function, latex, meaning, symbol, is_polynomial in _TABLE
}
ARITY: dict[str, int] = {name: primitive.arity for name, primitive in PRIMITIVES.items()}
