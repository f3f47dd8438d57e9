"""Elementary functions of our own: branch-free, so that loops over them become vector code.

Library calls differ between machines and cost a factor of ten inside a vector loop. These are
exact range reduction and Taylor polynomials in plain, unfused IEEE arithmetic, hence the same
bits on every machine that keeps IEEE 754. They are part of the numerics contract: a change here
raises ``NUMERICS`` in :mod:`evosearch.engine.contract`.

Each function works on float32 and float64 scalars inside compiled code. Accuracy: at most 4
units in the last place; the sine of arguments beyond 2**20 is defined as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

SINE_LIMIT = float(2**20)

# The constants times 2^200, so that they can be cut into pieces of any width.
_LN2 = 1113844574712631719546256151097547306333272293549090750737802
_HALF_PI = 2524172377308996935986705070621218418107321710744331485767684


@intrinsic
def _as_int(typing: Any, value: Any) -> Any:
    """Reinterpret the bits of a float as an integer of the same width."""
    target = types.int32 if value == types.float32 else types.int64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(target))

    return target(value), codegen


@intrinsic
def _power_of_two(typing: Any, exponent: Any) -> Any:
    """Build 2**exponent from its bits; int32 gives float32, int64 gives float64."""
    is_single = exponent == types.int32
    target = types.float32 if is_single else types.float64
    bias, shift = (127, 23) if is_single else (1023, 52)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.shl(builder.add(args[0], args[0].type(bias)), args[0].type(shift))
        return builder.bitcast(bits, context.get_value_type(target))

    return target(exponent), codegen


@intrinsic
def _split_exponent(typing: Any, value: Any) -> Any:
    """Split a positive normal float into (mantissa in [sqrt 1/2, sqrt 2), exponent as float)."""
    is_single = value == types.float32
    integer = types.int32 if is_single else types.int64
    dtype = np.float32 if is_single else np.float64
    origin = int(np.array(math.sqrt(0.5), dtype).view(np.int32 if is_single else np.int64))
    shift = 23 if is_single else 52

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole, real = context.get_value_type(integer), context.get_value_type(value)
        bits = builder.bitcast(args[0], whole)
        exponent = builder.ashr(builder.sub(bits, whole(origin)), whole(shift))
        mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, whole(shift))), real)
        pair = (mantissa, builder.sitofp(exponent, real))
        return context.make_tuple(builder, signature.return_type, pair)

    return types.UniTuple(value, 2)(value), codegen


@intrinsic
def select(typing: Any, condition: Any, if_true: Any, if_false: Any) -> Any:
    """Choose without a branch; both operands must have the same type."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(cgutils.as_bool_bit(builder, args[0]), args[1], args[2])

    return if_true(types.boolean, if_true, if_true), codegen


@intrinsic
def _divide(typing: Any, a: Any, b: Any) -> Any:
    """Divide as IEEE 754 does, without a test for zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fdiv(args[0], args[1])

    return a(a, a), codegen


def _polynomial(single: list[float], double: list[float]) -> Callable[..., Any]:
    """Return an intrinsic for c[0] + x (c[1] + x (c[2] + …)), unfused."""

    @intrinsic
    def horner(typing: Any, x: Any) -> Any:
        terms = single if x == types.float32 else double

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            real = context.get_value_type(x)
            rounded = [float(np.float32(c)) if x == types.float32 else c for c in terms]
            total = real(rounded[-1])
            for coefficient in reversed(rounded[:-1]):
                total = builder.fadd(real(coefficient), builder.fmul(total, args[0]))
            return total

        return x(x), codegen

    return horner


def _pieces(digits: int, bits: int, count: int, dtype: type) -> tuple[Any, ...]:
    """Cut a constant (given times 2^200) into parts of ``bits`` bits; the last is rounded."""
    parts = []
    for _ in range(count - 1):
        shift = max(digits.bit_length() - bits, 0)
        head = (digits >> shift) << shift
        parts.append(dtype(head / 2**200))
        digits -= head
    return (*parts, dtype(digits / 2**200))


def _factorials(first: int, last: int, step: int = 1, sign: float = 1.0) -> list[float]:
    return [sign**n / math.factorial(k) for n, k in enumerate(range(first, last + 1, step))]


# (exp(r) - 1) / r, (log(m) / s - 2) / s^2 with s = (m - 1)/(m + 1), (sin(r)/r - 1)/r^2 and
# (cos(r) - 1)/r^2.
_expm1_series = _polynomial(_factorials(1, 8), _factorials(1, 15))
_log_series = _polynomial(
    [2 / (2 * k + 1) for k in range(1, 7)], [2 / (2 * k + 1) for k in range(1, 13)]
)
_sin_series = _polynomial(
    [-c for c in _factorials(3, 11, 2, -1.0)], [-c for c in _factorials(3, 19, 2, -1.0)]
)
_cos_series = _polynomial(
    [-c for c in _factorials(2, 12, 2, -1.0)], [-c for c in _factorials(2, 20, 2, -1.0)]
)


class _Constants:
    """Numbers that depend on the width of the float."""

    def __init__(self, is_single: bool) -> None:
        f = self.f = np.float32 if is_single else np.float64
        self.i = np.int32 if is_single else np.int64
        self.shift = f(1.5 * 2.0 ** (23 if is_single else 52))
        self.shift_bits = self.i(self.shift.view(self.i))
        self.inverse_ln2 = f(1 / math.log(2.0))
        self.ln2 = _pieces(_LN2, 15 if is_single else 32, 2, f)
        self.exp_low, self.exp_high = f(-104 if is_single else -746), f(89 if is_single else 710)
        self.tanh_limit = f(10 if is_single else 22)
        self.least_normal = np.finfo(f).tiny
        self.lift, self.lift_log = (f(2.0**24), f(24)) if is_single else (f(2.0**54), f(54))
        self.infinity = f(np.inf)
        self.zero, self.one, self.two, self.half = f(0), f(1), f(2), f(0.5)


_SINGLE, _DOUBLE = _Constants(True), _Constants(False)


def _constants(x: Any) -> _Constants | None:
    return {types.float32: _SINGLE, types.float64: _DOUBLE}.get(x)


def _for_floats(name: str) -> Callable[..., Any]:
    """Make a name that compiled code can call; ``@overload`` gives it a body for each width."""

    def stub(*args: Any) -> Any:
        raise TypeError(f"{name} is called inside compiled code only")

    stub.__name__ = name
    return stub


_reduce = _for_floats("reduce")
exp = _for_floats("exp")
log = _for_floats("log")
tanh = _for_floats("tanh")
sigmoid = _for_floats("sigmoid")
sin = _for_floats("sin")
softplus = _for_floats("softplus")
power = _for_floats("power")
divide = _for_floats("divide")


@overload(_reduce)
def _reduce_body(x: Any) -> Any:
    """Split x = k ln 2 + r with integer k (as bits) and abs(r) <= ln 2 / 2."""
    c = _constants(x)
    shift, shift_bits, inverse, high, low = c.shift, c.shift_bits, c.inverse_ln2, *c.ln2
    integer = c.i

    def body(x: Any) -> Any:
        shifted = x * inverse + shift
        k = shifted - shift
        return integer(_as_int(shifted) - shift_bits), (x - k * high) - k * low

    return body


@overload(exp)
def _exp_body(x: Any) -> Any:
    c = _constants(x)
    low, high, one, integer = c.exp_low, c.exp_high, c.one, c.i

    def body(x: Any) -> Any:
        bounded = select(x < low, low, select(x > high, high, x))
        k, r = _reduce(bounded)
        # 2^k in two factors: k alone may leave the range of normal numbers.
        first = integer(k >> 1)
        value = one + r * _expm1_series(r)
        return value * _power_of_two(first) * _power_of_two(integer(k - first))

    return body


@overload(log)
def _log_body(x: Any) -> Any:
    c = _constants(x)
    least, lift, lift_log, zero, one, two = (
        c.least_normal, c.lift, c.lift_log, c.zero, c.one, c.two,
    )  # fmt: skip
    infinity, high, low = c.infinity, *c.ln2

    def body(x: Any) -> Any:
        size = abs(x)
        is_small = size < least
        mantissa, exponent = _split_exponent(select(is_small, size * lift, size))
        exponent = exponent - select(is_small, lift_log, zero)
        s = _divide(mantissa - one, mantissa + one)
        square = s * s
        value = exponent * high + (s * (two + square * _log_series(square)) + exponent * low)
        value = select(size == zero, zero, value)
        return select(size < infinity, value, size)

    return body


@overload(tanh)
def _tanh_body(x: Any) -> Any:
    c = _constants(x)
    limit, one, two, zero = c.tanh_limit, c.one, c.two, c.zero

    def body(x: Any) -> Any:
        size = abs(x)
        k, r = _reduce(two * select(size > limit, limit, size))
        scale = _power_of_two(k)
        expm1 = scale * (r * _expm1_series(r)) + (scale - one)
        value = _divide(expm1, expm1 + two)
        return select(x < zero, -value, value)

    return body


@overload(sigmoid)
def _sigmoid_body(x: Any) -> Any:
    c = _constants(x)
    one, zero = c.one, c.zero

    def body(x: Any) -> Any:
        e = exp(-abs(x))
        return _divide(select(x < zero, e, one), one + e)

    return body


@overload(softplus)
def _softplus_body(x: Any) -> Any:
    c = _constants(x)
    one, zero = c.one, c.zero

    def body(x: Any) -> Any:
        e = exp(-abs(x))
        total = one + e
        # log(1 + e) with the rounding of 1 + e put back (Kahan's correction).
        return select(x > zero, x, zero) + (log(total) + _divide(e - (total - one), total))

    return body


@overload(power)
def _power_body(a: Any, b: Any) -> Any:
    zero = _constants(a).zero

    def body(a: Any, b: Any) -> Any:
        return select(a == zero, zero, exp(b * log(a)))

    return body


@overload(divide)
def _divide_body(a: Any, b: Any) -> Any:
    c = _constants(a)
    zero, one = c.zero, c.one

    def body(a: Any, b: Any) -> Any:
        return select(b == zero, zero, _divide(a, select(b == zero, one, b)))

    return body


_HALF_PI_PIECES = _pieces(_HALF_PI, 32, 3, np.float64)


@overload(sin)
def _sin_body(x: Any) -> Any:
    if x == types.float32:

        def single(x: Any) -> Any:
            return np.float32(sin(np.float64(x)))

        return single
    first, second, third = _HALF_PI_PIECES
    shift, shift_bits, inverse, limit = (
        _DOUBLE.shift, _DOUBLE.shift_bits, 2 / math.pi, SINE_LIMIT,
    )  # fmt: skip

    def body(x: Any) -> Any:
        bounded = select(abs(x) > limit, 0.0, x)
        shifted = bounded * inverse + shift
        k = shifted - shift
        r = ((bounded - k * first) - k * second) - k * third
        quadrant = _as_int(shifted) - shift_bits
        square = r * r
        sine = r + r * square * _sin_series(square)
        cosine = 1.0 + square * _cos_series(square)
        value = select((quadrant & 1) == 1, cosine, sine)
        return select((quadrant & 2) == 2, -value, value)

    return body
