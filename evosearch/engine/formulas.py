"""Elementary functions, written once over abstract arithmetic; every CPU tier generates them.

Library calls differ between machines and cost a factor of ten inside a vector loop. These are
exact range reduction and Taylor polynomials in plain, unfused IEEE arithmetic, branch-free, hence
vector code and the same bits on every machine that keeps IEEE 754. They are part of the numerics
contract: a change here raises ``NUMERICS`` in :mod:`evosearch.engine.contract`.

Accuracy: at most 4 units in the last place, for float32 and float64 (softplus 4.5; the worst
measured are 4.10 and 4.20); the sine of arguments beyond 2**20 is defined as 0. A power is
exp(b log|a|): its relative error is that of exp plus abs(b log|a|) times that of log, at most
88 * 4 + 4 units in float32 and 710 * 4 + 4 in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from evosearch.engine.program import Op

SINE_LIMIT = float(2**20)

# The constants times 2^200, so that they can be cut into pieces of any width.
_LN2 = 1113844574712631719546256151097547306333272293549090750737802
_HALF_PI = 2524172377308996935986705070621218418107321710744331485767684


class Arithmetic(Protocol):
    """The operations on one width of floats; values are whatever a code generator works with.

    Floats are rounded to nearest and never fused. ``less`` and ``greater`` are false for NaN.
    """

    is_single: bool

    def real(self, value: float) -> Any:
        """Return a constant."""

    def integer(self, value: int) -> Any:
        """Return a constant of the integer type as wide as the floats."""

    def add(self, a: Any, b: Any) -> Any:
        """Return a + b."""

    def sub(self, a: Any, b: Any) -> Any:
        """Return a - b."""

    def mul(self, a: Any, b: Any) -> Any:
        """Return a * b."""

    def div(self, a: Any, b: Any) -> Any:
        """Return a / b as IEEE 754 does."""

    def neg(self, a: Any) -> Any:
        """Return -a."""

    def abs(self, a: Any) -> Any:
        """Return the absolute value."""

    def sqrt(self, a: Any) -> Any:
        """Return the square root."""

    def less(self, a: Any, b: Any) -> Any:
        """Return a mask."""

    def greater(self, a: Any, b: Any) -> Any:
        """Return a mask."""

    def equal(self, a: Any, b: Any) -> Any:
        """Return a mask."""

    def select(self, mask: Any, if_true: Any, if_false: Any) -> Any:
        """Choose without a branch."""

    def bits(self, a: Any) -> Any:
        """Reinterpret a float as an integer."""

    def from_bits(self, k: Any) -> Any:
        """Reinterpret an integer as a float."""

    def to_real(self, k: Any) -> Any:
        """Convert an integer."""

    def iadd(self, a: Any, b: Any) -> Any:
        """Return the sum of integers."""

    def isub(self, a: Any, b: Any) -> Any:
        """Return the difference of integers."""

    def iand(self, a: Any, b: Any) -> Any:
        """Return the common bits of integers."""

    def shl(self, a: Any, count: int) -> Any:
        """Shift an integer to the left."""

    def ashr(self, a: Any, count: int) -> Any:
        """Shift an integer to the right, keeping its sign."""

    def iequal(self, a: Any, b: Any) -> Any:
        """Return a mask."""

    def widen(self, a: Any) -> tuple[Arithmetic, Any]:
        """Convert to float64; returns its arithmetic too."""
        raise NotImplementedError

    def narrow(self, a: Any) -> Any:
        """Convert from float64 to this width."""


class _Constants:
    """Numbers that depend on the width of the float."""

    def __init__(self, is_single: bool) -> None:
        f = np.float32 if is_single else np.float64
        i = np.int32 if is_single else np.int64
        self.mantissa_bits, self.bias = (23, 127) if is_single else (52, 1023)
        shift = f(1.5 * 2.0**self.mantissa_bits)
        self.shift, self.shift_bits = float(shift), int(shift.view(i))
        self.root_half_bits = int(f(math.sqrt(0.5)).view(i))
        self.inverse_ln2 = 1 / math.log(2.0)
        self.ln2 = _pieces(_LN2, 15 if is_single else 32, 2, f)
        self.exp_low, self.exp_high = (-104.0, 89.0) if is_single else (-746.0, 710.0)
        self.tanh_limit = 10.0 if is_single else 22.0
        self.least_normal = float(np.finfo(f).tiny)
        self.lift, self.lift_log = (2.0**24, 24.0) if is_single else (2.0**54, 54.0)


def _pieces(digits: int, bits: int, count: int, dtype: type) -> tuple[float, ...]:
    """Cut a constant (given times 2^200) into parts of ``bits`` bits; the last is rounded."""
    parts = []
    for _ in range(count - 1):
        shift = max(digits.bit_length() - bits, 0)
        head = (digits >> shift) << shift
        parts.append(float(dtype(head / 2**200)))
        digits -= head
    return (*parts, float(dtype(digits / 2**200)))


def _factorials(first: int, last: int, step: int = 1, sign: float = 1.0) -> list[float]:
    return [sign**n / math.factorial(k) for n, k in enumerate(range(first, last + 1, step))]


_SINGLE, _DOUBLE = _Constants(True), _Constants(False)
_HALF_PI_PIECES = _pieces(_HALF_PI, 32, 3, np.float64)

# Coefficients for float32 and float64: (exp(r) - 1) / r, (log(m) / s - 2) / s^2 with
# s = (m - 1)/(m + 1), (sin(r)/r - 1)/r^2 and (cos(r) - 1)/r^2.
_EXPM1 = (_factorials(1, 8), _factorials(1, 15))
_LOG = (
    [2 / (2 * k + 1) for k in range(1, 7)],
    [2 / (2 * k + 1) for k in range(1, 13)],
)
_SIN = [-c for c in _factorials(3, 19, 2, -1.0)]
_COS = [-c for c in _factorials(2, 20, 2, -1.0)]


def _constants(o: Arithmetic) -> _Constants:
    return _SINGLE if o.is_single else _DOUBLE


def _horner(o: Arithmetic, x: Any, coefficients: list[float]) -> Any:
    """Return c[0] + x (c[1] + x (c[2] + …))."""
    total = o.real(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = o.add(o.real(coefficient), o.mul(total, x))
    return total


def _expm1_series(o: Arithmetic, r: Any) -> Any:
    return o.mul(r, _horner(o, r, _EXPM1[0] if o.is_single else _EXPM1[1]))


def _power_of_two(o: Arithmetic, exponent: Any) -> Any:
    """Build 2**exponent from its bits."""
    c = _constants(o)
    return o.from_bits(o.shl(o.iadd(exponent, o.integer(c.bias)), c.mantissa_bits))


def _reduce(o: Arithmetic, x: Any) -> tuple[Any, Any]:
    """Split x = k ln 2 + r with an integer k and abs(r) <= ln 2 / 2."""
    c = _constants(o)
    shifted = o.add(o.mul(x, o.real(c.inverse_ln2)), o.real(c.shift))
    k = o.sub(shifted, o.real(c.shift))
    high, low = c.ln2
    r = o.sub(o.sub(x, o.mul(k, o.real(high))), o.mul(k, o.real(low)))
    return o.isub(o.bits(shifted), o.integer(c.shift_bits)), r


def exp(o: Arithmetic, x: Any) -> Any:
    """Return e**x; 0 and infinity where it leaves the range."""
    c = _constants(o)
    low, high = o.real(c.exp_low), o.real(c.exp_high)
    bounded = o.select(o.less(x, low), low, o.select(o.greater(x, high), high, x))
    k, r = _reduce(o, bounded)
    # 2^k in two factors: k alone may leave the range of normal numbers.
    first = o.ashr(k, 1)
    value = o.add(o.real(1.0), _expm1_series(o, r))
    value = o.mul(value, _power_of_two(o, first))
    return o.mul(value, _power_of_two(o, o.isub(k, first)))


def log(o: Arithmetic, x: Any) -> Any:
    """Return the natural logarithm of abs(x), 0 for 0."""
    c = _constants(o)
    size = o.abs(x)
    is_small = o.less(size, o.real(c.least_normal))
    normal = o.select(is_small, o.mul(size, o.real(c.lift)), size)
    bits = o.bits(normal)
    exponent_bits = o.ashr(o.isub(bits, o.integer(c.root_half_bits)), c.mantissa_bits)
    mantissa = o.from_bits(o.isub(bits, o.shl(exponent_bits, c.mantissa_bits)))
    lifted = o.select(is_small, o.real(c.lift_log), o.real(0.0))
    exponent = o.sub(o.to_real(exponent_bits), lifted)
    s = o.div(o.sub(mantissa, o.real(1.0)), o.add(mantissa, o.real(1.0)))
    square = o.mul(s, s)
    series = _horner(o, square, _LOG[0] if o.is_single else _LOG[1])
    tail = o.mul(s, o.add(o.real(2.0), o.mul(square, series)))
    high, low = c.ln2
    value = o.add(o.mul(exponent, o.real(high)), o.add(tail, o.mul(exponent, o.real(low))))
    value = o.select(o.equal(size, o.real(0.0)), o.real(0.0), value)
    return o.select(o.less(size, o.real(math.inf)), value, size)


def tanh(o: Arithmetic, x: Any) -> Any:
    """Return the hyperbolic tangent."""
    c = _constants(o)
    size = o.abs(x)
    limit = o.real(c.tanh_limit)
    k, r = _reduce(o, o.mul(o.real(2.0), o.select(o.greater(size, limit), limit, size)))
    scale = _power_of_two(o, k)
    expm1 = o.add(o.mul(scale, _expm1_series(o, r)), o.sub(scale, o.real(1.0)))
    value = o.div(expm1, o.add(expm1, o.real(2.0)))
    return o.select(o.less(x, o.real(0.0)), o.neg(value), value)


def sigmoid(o: Arithmetic, x: Any) -> Any:
    """Return 1 / (1 + e**-x)."""
    e = exp(o, o.neg(o.abs(x)))
    one = o.real(1.0)
    return o.div(o.select(o.less(x, o.real(0.0)), e, one), o.add(one, e))


def softplus(o: Arithmetic, x: Any) -> Any:
    """Return log(1 + e**x)."""
    e = exp(o, o.neg(o.abs(x)))
    total = o.add(o.real(1.0), e)
    # log(1 + e) with the rounding of 1 + e put back (Kahan's correction).
    rest = o.div(o.sub(e, o.sub(total, o.real(1.0))), total)
    positive = o.select(o.greater(x, o.real(0.0)), x, o.real(0.0))
    return o.add(positive, o.add(log(o, total), rest))


def power(o: Arithmetic, a: Any, b: Any) -> Any:
    """Return |a|**b, with 0**b = 0."""
    value = exp(o, o.mul(b, log(o, a)))
    return o.select(o.equal(a, o.real(0.0)), o.real(0.0), value)


def divide(o: Arithmetic, a: Any, b: Any) -> Any:
    """Return a / b, with a / 0 = 0."""
    return o.select(o.equal(b, o.real(0.0)), o.real(0.0), o.div(a, b))


def sin(o: Arithmetic, x: Any) -> Any:
    """Return the sine; 0 beyond ``SINE_LIMIT``. Float32 is computed in float64."""
    if o.is_single:
        wide, value = o.widen(x)
        return o.narrow(sin(wide, value))
    c = _DOUBLE
    first, second, third = _HALF_PI_PIECES
    is_far = o.greater(o.abs(x), o.real(SINE_LIMIT))
    bounded = o.select(is_far, o.real(0.0), x)
    shifted = o.add(o.mul(bounded, o.real(2 / math.pi)), o.real(c.shift))
    k = o.sub(shifted, o.real(c.shift))
    r = o.sub(bounded, o.mul(k, o.real(first)))
    r = o.sub(o.sub(r, o.mul(k, o.real(second))), o.mul(k, o.real(third)))
    quadrant = o.isub(o.bits(shifted), o.integer(c.shift_bits))
    square = o.mul(r, r)
    sine = o.add(r, o.mul(o.mul(r, square), _horner(o, square, _SIN)))
    cosine = o.add(o.real(1.0), o.mul(square, _horner(o, square, _COS)))
    one, two = o.integer(1), o.integer(2)
    value = o.select(o.iequal(o.iand(quadrant, one), one), cosine, sine)
    return o.select(o.iequal(o.iand(quadrant, two), two), o.neg(value), value)


def maximum(o: Arithmetic, a: Any, b: Any) -> Any:
    """Return a where a > b, else b."""
    return o.select(o.greater(a, b), a, b)


def minimum(o: Arithmetic, a: Any, b: Any) -> Any:
    """Return a where a < b, else b."""
    return o.select(o.less(a, b), a, b)


def sign(o: Arithmetic, x: Any) -> Any:
    """Return 1, -1 or 0; 0 for NaN."""
    zero = o.real(0.0)
    negative = o.select(o.less(x, zero), o.real(-1.0), zero)
    return o.select(o.greater(x, zero), o.real(1.0), negative)


FORMULAS: dict[int, Callable[[Arithmetic, Any, Any], Any]] = {
    Op.ADD: lambda o, a, b: o.add(a, b),
    Op.SUB: lambda o, a, b: o.sub(a, b),
    Op.MUL: lambda o, a, b: o.mul(a, b),
    Op.DIV: divide,
    Op.MAX: maximum,
    Op.MIN: minimum,
    Op.POW: power,
    Op.NEG: lambda o, a, b: o.neg(a),
    Op.SQUARE: lambda o, a, b: o.mul(a, a),
    Op.ABS: lambda o, a, b: o.abs(a),
    Op.SIGN: lambda o, a, b: sign(o, a),
    Op.SQRT: lambda o, a, b: o.sqrt(o.abs(a)),
    Op.EXP: lambda o, a, b: exp(o, a),
    Op.LOG: lambda o, a, b: log(o, a),
    Op.TANH: lambda o, a, b: tanh(o, a),
    Op.SIGMOID: lambda o, a, b: sigmoid(o, a),
    Op.SIN: lambda o, a, b: sin(o, a),
    Op.SOFTPLUS: lambda o, a, b: softplus(o, a),
}
"""What each operation code writes; unary ones ignore the second operand."""
