"""The child process of ``simplify``: rewrites rules with SymPy and prints what it finds.

Reads one JSON object ``{"texts": [...], "limit_s": ...}`` from standard input and prints a line
``[number, text]`` for each candidate as soon as it is found, so that a parent that ends it early
keeps them. Candidates are proposals: the parent checks their values. Texts are read by our own
parser, never by SymPy's.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import isfinite
from typing import Any

import sympy as sp

from evosearch.rules.expression import Expression, Node
from evosearch.rules.parser import parse_expression
from evosearch.rules.primitives import PRIMITIVES

_MAX_POWER = 16
_DIGITS = 7
Nodes = list[Node]


class reciprocal(sp.Function):  # noqa: N801 - SymPy's convention for functions
    """1/x, and 0 at 0: SymPy must not cancel x*reciprocal(x), which is 0 at 0."""

    nargs = 1

    @classmethod
    def eval(cls, *args: Any) -> Any:
        """Rewrite what holds for the protected reciprocal everywhere."""
        (x,) = args
        if x.is_Rational:
            return sp.Integer(0) if x == 0 else 1 / x
        if isinstance(x, cls):
            return x.args[0]
        if x.is_Mul:
            return sp.Mul(*(cls(factor) for factor in x.args))
        if x.is_Pow and x.exp.is_Integer and x.exp > 0:
            return cls(x.base) ** x.exp
        return None


def _opaque(name: str) -> Any:
    return sp.Function(name, real=True)


_OPAQUE = {name: _opaque(name) for name in ("pow", "log", "sigmoid", "sin", "softplus")}
_BUILDERS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "square": lambda a: a**2,
    "max": sp.Max,
    "min": sp.Min,
    "abs": sp.Abs,
    "sign": sp.sign,
    "sqrt": lambda a: sp.sqrt(sp.Abs(a)),
    "exp": sp.exp,
    "tanh": sp.tanh,
    **_OPAQUE,
}
_NAMES: dict[Any, str] = {
    sp.Abs: "abs", sp.sign: "sign", sp.exp: "exp", sp.tanh: "tanh", sp.Max: "max", sp.Min: "min",
    **{function: name for name, function in _OPAQUE.items()},
}  # fmt: skip


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    expressions = [parse_expression(text) for text in request["texts"]]
    built: dict[tuple[int, bool], Any] = {}
    printed: set[tuple[int, str]] = set()
    for is_protected, rewrite in _rewrites():
        for number, expression in enumerate(expressions):
            with _at_most(request["limit_s"]):
                key = (number, is_protected)
                if key not in built:
                    built[key] = _build(expression, is_protected)
                for form in rewrite(built[key]):
                    text = str(Expression(_Emitter().emit(form)))
                    if (number, text) not in printed:
                        sys.stdout.write(json.dumps([number, text]) + "\n")
                        sys.stdout.flush()
                    printed.add((number, text))


@contextmanager
def _at_most(limit_s: float) -> Generator[None, None, None]:
    """Leave the block after a time or at any error: it then brings no more candidates."""

    def stop(*_: object) -> None:
        raise TimeoutError

    has_timer = hasattr(signal, "setitimer")
    if has_timer:
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        if has_timer:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _rewrites() -> list[tuple[bool, Callable[[Any], Iterator[Any]]]]:
    """Return the rewrites, quick ones first, each with whether division is protected."""
    return [
        (True, lambda e: iter([e])),
        (True, _expanded),
        (True, _factored),
        (False, lambda e: iter([sp.cancel(e)])),
        (True, _collected),
        (False, lambda e: iter([sp.together(e), sp.factor(e)])),
        (False, lambda e: iter([sp.simplify(e)])),
    ]


def _expanded(e: Any) -> Iterator[Any]:
    expanded = sp.expand(e)
    yield expanded
    yield sp.factor_terms(expanded)


def _factored(e: Any) -> Iterator[Any]:
    factored = sp.factor(sp.expand(e))
    yield factored
    yield sp.signsimp(factored)


def _collected(e: Any) -> Iterator[Any]:
    expanded = sp.expand(e)
    for symbol in sorted(expanded.free_symbols, key=str):
        yield sp.collect(expanded, symbol)
        yield sp.collect(expanded, symbol, sp.factor)


def _build(expression: Expression, is_protected: bool) -> Any:
    """Return the expression in SymPy, with constants as the decimals that they print as."""
    terminals = [n for n in expression.nodes if isinstance(n, str) and n not in PRIMITIVES]
    # SymPy sorts by name: a number in front keeps the order in which the rule names them.
    symbols = {
        name: sp.Symbol(f"{number:0{_DIGITS}d}{name}", real=True)
        for number, name in enumerate(dict.fromkeys(terminals))
    }
    stack: list[Any] = []
    for node in reversed(expression.nodes):
        if not isinstance(node, str):
            stack.append(_rational(node))
        elif node in PRIMITIVES:
            operands = [stack.pop() for _ in range(PRIMITIVES[node].arity)]
            stack.append(_apply(node, operands, is_protected))
        else:
            stack.append(symbols[node])
    return stack.pop()


def _apply(name: str, operands: list[Any], is_protected: bool) -> Any:
    is_constant = all(operand.is_Rational for operand in operands)
    if is_constant and not PRIMITIVES[name].is_polynomial and name != "div":
        return _rational(float(PRIMITIVES[name].numpy(*map(float, operands))))
    if name != "div":
        return _BUILDERS[name](*operands)
    if is_protected or operands[1].is_Rational:
        return operands[0] * reciprocal(operands[1])
    return operands[0] / operands[1]


def _rational(value: float) -> Any:
    if not isfinite(value):
        raise ValueError("a constant that is not finite")
    # 0.1 as 1/10, not as its bits: then 0.1*x + 0.2*x - 0.3*x leaves no 2.8e-17*x.
    return sp.Rational(repr(value))


class _Emitter:
    """Write SymPy expressions as our nodes; recursion is as deep as SymPy's own."""

    def emit(self, e: Any) -> Nodes:
        """Return the nodes in prefix order."""
        if e.is_Rational:
            return [_float(e)]
        if e.is_Symbol:
            return [e.name[_DIGITS:]]
        if e.is_number and e.is_finite:
            return [float(e)]
        if e.is_Add:
            return self._sum(e)
        if isinstance(e, sp.exp):
            return ["exp", *self.emit(e.args[0])]
        if e.is_Mul or e.is_Pow or isinstance(e, reciprocal):
            return self._product(e)
        return self._call(e)

    def _call(self, e: Any) -> Nodes:
        name = _NAMES.get(e.func)
        if name is None:
            raise ValueError(f"no primitive for {e.func}")
        is_set = name in ("max", "min")
        operands = sorted(e.args, key=sp.default_sort_key) if is_set else e.args
        arguments = [self.emit(operand) for operand in operands]
        if PRIMITIVES[name].arity == 1:
            return [name, *arguments[0]]
        return _joined(name, arguments)

    def _sum(self, e: Any) -> Nodes:
        plus: list[Nodes] = []
        minus: list[Nodes] = []
        for term in e.as_ordered_terms():
            is_negative = term.as_coeff_Mul()[0] < 0
            (minus if is_negative else plus).append(self.emit(-term if is_negative else term))
        if not plus:
            # The last is mostly a constant: -0.5 - x has a node less than -x - 0.5.
            plus = [self._negative(minus.pop())]
        total = _joined("add", plus)
        for nodes in minus:
            total = ["sub", *total, *nodes]
        return total

    @staticmethod
    def _negative(nodes: Nodes) -> Nodes:
        if not isinstance(nodes[0], str):
            return [-nodes[0]]
        if nodes[0] == "mul" and not isinstance(nodes[1], str):
            return ["mul", -nodes[1], *nodes[2:]]
        return ["neg", *nodes]

    def _product(self, e: Any) -> Nodes:
        coefficient, rest = e.as_coeff_Mul()
        factors = list(sp.Mul.make_args(rest)) if e.is_Mul else [e]
        if coefficient == -1 and e.is_Mul:
            if not self._take_sign(factors):
                return self._negative(self.emit(rest))
            coefficient = sp.Integer(1)
        above: list[Nodes] = []
        below: list[Nodes] = []
        for factor in factors:
            self._factor(factor, above, below)
        if e.is_Mul and coefficient != 1:
            divisor: Any = 1 / coefficient
            if divisor.is_Integer and abs(divisor) < 1000 and not below and above:
                below.append([float(divisor)])
            else:
                above.insert(0, [_float(coefficient)])
        product: Nodes = _joined("mul", above) if above else [1.0]
        return ["div", *product, *_joined("mul", below)] if below else product

    def _take_sign(self, factors: list[Any]) -> bool:
        """Turn the sign of the first sum that gets no longer by it; return whether one was."""
        for position, factor in enumerate(factors):
            if factor.is_Add and len(self.emit(-factor)) <= len(self.emit(factor)):
                factors[position] = -factor
                return True
        return False

    def _factor(self, factor: Any, above: list[Nodes], below: list[Nodes]) -> None:
        base, exponent = factor.as_base_exp() if factor.is_Pow else (factor, sp.Integer(1))
        if isinstance(base, reciprocal):
            base, exponent = base.args[0], -exponent
        if isinstance(base, sp.exp) or not exponent.is_Rational:
            above.append(self.emit(factor))
            return
        side = above if exponent > 0 else below
        self._power(base, abs(exponent), side)

    def _power(self, base: Any, exponent: Any, side: list[Nodes]) -> None:
        whole, rest = divmod(exponent, 1)
        if whole > _MAX_POWER or rest not in (0, sp.Rational(1, 2)):
            raise ValueError(f"no primitive for the power {exponent}")
        if rest:
            # sqrt(|x|) = sqrt(abs(x)): our root takes the absolute value itself.
            inner = base.args[0] if isinstance(base, sp.Abs) else base
            side.append(["sqrt", *self.emit(inner)])
        power, nodes = int(whole), self.emit(base) if whole else []
        while power:
            if power & 1:
                side.append(nodes)
            nodes, power = ["square", *nodes], power >> 1


def _float(value: Any) -> float:
    return float(Fraction(int(value.p), int(value.q)))


def _joined(name: str, operands: list[Nodes]) -> Nodes:
    """Return the operands under a left-leaning chain of a binary primitive."""
    total = operands[0]
    for nodes in operands[1:]:
        total = [name, *total, *nodes]
    return total


if __name__ == "__main__":
    main()
