"""Which rules behave alike: values at probe points, exact for polynomials, and their digest."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.program import Terminal
from evosearch.errors import unknown_name
from evosearch.rules.expression import Node
from evosearch.rules.points import (
    DIGIT_BITS,
    MODULUS,
    N_NUMERIC,
    TINY,
    mixing_words,
    numbers_of,
    residues_of,
)
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

Values = NDArray[Any]
"""(points, n): the values of n functions at the probe points."""

_P = np.uint64(MODULUS)
_LOW_31 = np.uint64(2**31 - 1)
_LOW_30 = np.uint64(2**30 - 1)

Behaviour: TypeAlias = tuple[bool, tuple[str, ...], bytes]
"""Whether values are exact, the names of the parts, weights first, and two words of each."""


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
    return fingerprints([rule])[0]


def fingerprints(rules: Sequence[Rule]) -> list[str]:
    """Return the fingerprint of each rule; far faster together than one by one."""
    from evosearch.rules.probes import MAX_HEAD, digest_text

    found = behaviours(rules)
    texts = [""] * len(found)
    together: dict[str, list[int]] = {}
    for number, (is_exact, names, words) in enumerate(found):
        head = f"{'exact' if is_exact else 'rounded'}\n{names[0]} "
        if len(names) == 1 and len(head.encode()) <= MAX_HEAD:
            together.setdefault(head, []).append(number)
        else:
            texts[number] = _digest(is_exact, names, words)
    for head, numbers in together.items():
        words = b"".join([found[number][2] for number in numbers])
        for number, text in zip(numbers, digest_text(_pairs(words), head), strict=True):
            texts[number] = text
    return texts


def behaviours(rules: Sequence[Rule]) -> list[Behaviour]:
    """Return what is equal for rules of equal fingerprints, and takes less time than those."""
    from evosearch.rules.probes import Encoded

    if not rules:
        return []
    names = [tuple(rule.parts) for rule in rules]
    names = [key if len(key) == 1 else (key[0], *sorted(key[1:])) for key in names]
    counts = np.array([len(key) for key in names], np.int64)
    encoded = Encoded([r.parts[name] for r, key in zip(rules, names, strict=True) for name in key])
    ends = np.cumsum(counts)
    is_exact = encoded.are_exact()
    if len(is_exact) > len(rules):
        # A rule is exact where all of its parts are.
        is_exact = np.minimum.reduceat(is_exact, ends - counts)
    is_exact_part = np.repeat(is_exact, counts)
    words = np.empty((len(encoded), 2), np.uint64)
    exact, rounded = np.flatnonzero(is_exact_part), np.flatnonzero(~is_exact_part)
    words[exact], words[rounded] = encoded.residues(exact), encoded.rounded_words(rounded)
    raw, places = words.tobytes(), (16 * ends).tolist()
    starts = [0, *places[:-1]]
    return [
        (flag, key, raw[start:end])
        for flag, key, start, end in zip(is_exact.tolist(), names, starts, places, strict=True)
    ]


def _pairs(words: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(words, np.uint64).reshape(-1, 2)


def _digest(is_exact: bool, names: tuple[str, ...], words: bytes) -> str:
    lines = ["exact" if is_exact else "rounded"]
    for name, (first, second) in zip(names, _pairs(words).tolist(), strict=True):
        lines.append(f"{name} {first} {second}")
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


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
        self._words = mixing_words()

    def leaf(self, leaf: Node) -> Values:
        """Return 24 random values for a terminal, the constant 24 times."""
        if isinstance(leaf, str):
            return _numeric_leaf(leaf)
        return np.full(N_NUMERIC, float(leaf))

    def apply(self, name: str, a: Values, b: Values) -> Values:
        """Return the values of any primitive."""
        primitive = PRIMITIVES[name]
        return primitive.numpy(a) if primitive.arity == 1 else primitive.numpy(a, b)

    def keys(self, values: Values) -> NDArray[np.uint64]:
        """Return two sums of the rounded values with odd random weights."""
        with np.errstate(invalid="ignore"):
            mantissa, exponent = np.frexp(np.where(np.abs(values) < TINY, 0.0, values))
            digits = np.rint(mantissa * 2.0**DIGIT_BITS)
            # Rounded up to the next power of two: the same number, one exponent higher.
            is_full = np.abs(digits) == 2.0**DIGIT_BITS
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
        first, second = residues_of(leaf).tolist()
        return first, second
    numerator, denominator = float(leaf).as_integer_ratio()
    value = numerator * pow(denominator, -1, MODULUS) % MODULUS
    return value, value


@lru_cache(maxsize=4096)
def _numeric_leaf(name: str) -> Values:
    values = numbers_of(name)
    values.setflags(write=False)
    return values


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
