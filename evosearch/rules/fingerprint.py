"""Which rules behave alike: values at probe points, exact for polynomials, and their digest."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.program import Terminal
from evosearch.errors import unknown_name
from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule, evaluate

Values = NDArray[Any]
"""(points, n): the values of n functions at the probe points."""

MODULUS = 2**61 - 1
_PROBE_SEED = 20_241_961
_P = np.uint64(MODULUS)
_LOW_31 = np.uint64(2**31 - 1)
_LOW_30 = np.uint64(2**30 - 1)
_N_PROBES = 24
_DIGIT_BITS = 33
_TINY = 1e-10


def fingerprint(rule: Rule, terminals: Sequence[str | Terminal] | None = None) -> str:
    """Return a digest that is the same for rules that behave alike.

    It depends on the form, on the names of the parts and on what each part computes, not on
    spelling: ``post*(pre - post*w)`` and ``pre*post - square(post)*w`` have one fingerprint.

    Where all parts use only + - * neg square, their values are exact, modulo the prime 2^61 - 1
    at two random points (every float is a dyadic fraction, which has a value there): equal
    polynomials always agree, and two different ones of degree d agree with probability at most
    (d / 2^61)^2, below 1e-34 for degree 16. Note that 0.1 + 0.2 and 0.3 are different constants.

    Other rules are compared by float64 values at 24 points in (-2, 2), rounded to 33 bits, about
    ten digits. Different functions agree only if they are within rounding at all 24 points, as
    functions that differ just outside that range do. Two spellings of one function are told
    apart where rounding falls on a border: about 2^33 2^-53 24 = 2e-5 for each last-place error
    between them, more after cancellation.

    Args:
        rule: any rule; a hundred thousand nodes take about a second.
        terminals: what the rule may read, or None for anything. A terminal's probe values depend
            on its name alone, so this never changes the digest.

    Returns:
        32 hexadecimal digits.

    Raises:
        InputError: the rule reads a terminal that is not in ``terminals``.

    Example:
        >>> oja = fingerprint(Rule("post*(pre - post*w)"))
        >>> oja == fingerprint(Rule("pre*post - square(post)*w"))
        True
    """
    if terminals is not None:
        names = {t.name if isinstance(t, Terminal) else t for t in terminals}
        missing = sorted(rule.terminals - names)
        if missing:
            raise unknown_name("terminal", missing[0], names)
    is_exact = all(_is_exact(expression) for expression in rule.parts.values())
    values_of = _exact_words if is_exact else _rounded_words
    main, *states = rule.parts
    lines = ["exact" if is_exact else "rounded"]
    for name in (main, *sorted(states)):
        first, second = values_of(rule.parts[name])
        lines.append(f"{name} {first} {second}")
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def _is_exact(expression: Expression) -> bool:
    return all(
        (node not in PRIMITIVES or PRIMITIVES[node].is_polynomial)
        if isinstance(node, str)
        else isfinite(node)
        for node in expression.nodes
    )


def _exact_words(expression: Expression) -> tuple[int, int]:
    """Return the values modulo 2^61 - 1; Python's integers beat arrays of two elements."""
    stack: list[tuple[int, int]] = []
    for node in reversed(expression.nodes):
        if not isinstance(node, str) or node not in PRIMITIVES:
            stack.append(_modular_leaf(node))
            continue
        a0, a1 = stack.pop()
        if node == "neg":
            stack.append((-a0 % MODULUS, -a1 % MODULUS))
        elif node == "square":
            stack.append((a0 * a0 % MODULUS, a1 * a1 % MODULUS))
        else:
            b0, b1 = stack.pop()
            if node == "add":
                stack.append(((a0 + b0) % MODULUS, (a1 + b1) % MODULUS))
            elif node == "sub":
                stack.append(((a0 - b0) % MODULUS, (a1 - b1) % MODULUS))
            else:
                stack.append((a0 * b0 % MODULUS, a1 * b1 % MODULUS))
    return stack.pop()


def _rounded_words(expression: Expression) -> tuple[int, int]:
    algebra = NumericAlgebra()
    probes = {name: algebra.leaf(name) for name in expression.terminals}
    values = np.broadcast_to(np.asarray(evaluate(expression, probes), np.float64), _N_PROBES)
    first, second = algebra.keys(values[:, None])[:, 0]
    return int(first), int(second)


class Algebra(ABC):
    """Values of functions at probe points, and how they are told apart."""

    @abstractmethod
    def leaf(self, leaf: Node) -> Values:
        """Return the values (points,) of a terminal or constant."""

    @abstractmethod
    def apply(self, name: str, a: Values, b: Values) -> Values:
        """Return the values of a primitive; a unary one ignores ``b``."""

    @abstractmethod
    def keys(self, values: Values) -> NDArray[np.uint64]:
        """Return two words (2, n) for each function, equal for equal functions."""


class ModularAlgebra(Algebra):
    """Exact arithmetic on integers and dyadic fractions, modulo 2^61 - 1, at two points."""

    def leaf(self, leaf: Node) -> Values:
        """Return two random residues for a terminal, the exact residue for a constant."""
        return np.array(_modular_leaf(leaf), dtype=np.uint64)

    def apply(self, name: str, a: Values, b: Values) -> Values:
        """Return the residues of a polynomial primitive."""
        if name == "add":
            return _reduced(a + b)
        if name == "sub":
            return _reduced(a + (_P - b))
        if name == "neg":
            return _reduced(_P - a)
        return _product(a, a if name == "square" else b)

    def keys(self, values: Values) -> NDArray[np.uint64]:
        """Return the residues themselves."""
        return values


class NumericAlgebra(Algebra):
    """Float64 at random points in (-2, 2), compared after rounding to ten digits."""

    def __init__(self) -> None:
        self._words = _mixing_words()

    def leaf(self, leaf: Node) -> Values:
        """Return 24 random values for a terminal, the constant 24 times."""
        if isinstance(leaf, str):
            return _numeric_leaf(leaf)
        return np.full(_N_PROBES, float(leaf))

    def apply(self, name: str, a: Values, b: Values) -> Values:
        """Return the values of any primitive."""
        primitive = PRIMITIVES[name]
        return primitive.numpy(a) if primitive.arity == 1 else primitive.numpy(a, b)

    def keys(self, values: Values) -> NDArray[np.uint64]:
        """Return two sums of the rounded values with odd random weights."""
        with np.errstate(invalid="ignore"):
            mantissa, exponent = np.frexp(np.where(np.abs(values) < _TINY, 0.0, values))
            digits = np.rint(mantissa * 2.0**_DIGIT_BITS)
            # Rounded up to the next power of two: the same number, one exponent higher.
            is_full = np.abs(digits) == 2.0**_DIGIT_BITS
            digits = np.where(is_full, digits / 2, digits)
            exponent = exponent + is_full
            # No number has the digits that stand for the three values that are not finite.
            is_finite = np.isfinite(values)
            special = np.where(np.isnan(values), 3.0, np.sign(values))
            digits = np.where(is_finite, digits, special)
            exponent = np.where(is_finite, exponent, 0)
        words = digits.astype(np.int64).view(np.uint64)
        powers = exponent.astype(np.int64).view(np.uint64)
        return (words * self._words[0] + powers * self._words[1]).sum(axis=1, dtype=np.uint64)


@lru_cache(maxsize=4096)
def _modular_leaf(leaf: Node) -> tuple[int, int]:
    if isinstance(leaf, str):
        first, second = _probe_rng(leaf).integers(0, MODULUS, 2)
        return int(first), int(second)
    numerator, denominator = float(leaf).as_integer_ratio()
    value = numerator * pow(denominator, -1, MODULUS) % MODULUS
    return value, value


@lru_cache(maxsize=4096)
def _numeric_leaf(name: str) -> Values:
    values = _probe_rng(name).uniform(-2.0, 2.0, _N_PROBES)
    values.setflags(write=False)
    return values


@lru_cache(maxsize=1)
def _mixing_words() -> NDArray[np.uint64]:
    words = _probe_rng("words").integers(0, 2**63, (2, 2, _N_PROBES, 1), dtype=np.uint64)
    return words * np.uint64(2) + np.uint64(1)


def _probe_rng(name: str) -> np.random.Generator:
    """Return the generator of a terminal's probe values; the same in every search."""
    return np.random.default_rng([_PROBE_SEED, *name.encode()])


def _reduced(x: Values) -> Values:
    """Return x modulo 2^61 - 1 for x < 2^64."""
    x = (x & _P) + (x >> np.uint64(61))
    return np.where(x >= _P, x - _P, x)


def _product(a: Values, b: Values) -> Values:
    """Return a*b modulo 2^61 - 1 from 31-bit halves; 2^62 = 2 and 2^61 = 1 there."""
    shift = np.uint64(31)
    a_high, a_low = a >> shift, a & _LOW_31
    b_high, b_low = b >> shift, b & _LOW_31
    middle = a_high * b_low + a_low * b_high
    high = (a_high * b_high) << np.uint64(1)
    middle_high, middle_low = middle >> np.uint64(30), middle & _LOW_30
    return _reduced(_reduced(high + middle_high + (middle_low << shift)) + a_low * b_low)
