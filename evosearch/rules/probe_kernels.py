"""Compiled loops over many expressions at once: their values at probe points, and digests of these.

An expression is a row of codes in prefix order: an operation code of the engine for a primitive,
``FIRST_TERMINAL`` + k for terminal k, and -1 - k for constant k. Nothing is allocated inside.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from evosearch.engine import elementary as el
from evosearch.engine.cache import compiled
from evosearch.engine.formulas import FORMULAS
from evosearch.engine.program import Op

_select: Any = el.select

FIRST_TERMINAL = len(Op)
STRIDE = 32
"""Values between two registers, whole vectors: there are fewer probe points than these."""

_VECTOR = 8
_FIRST_UNARY = int(Op.NEG)
_ADD, _SUB, _MUL = int(Op.ADD), int(Op.SUB), int(Op.MUL)
_NEG, _SQUARE = int(Op.NEG), int(Op.SQUARE)

u8 = np.uint64
_P = u8(2**61 - 1)
_LOW_30, _LOW_31 = u8(2**30 - 1), u8(2**31 - 1)
_ONE, _30, _31, _52, _61 = u8(1), u8(30), u8(31), u8(52), u8(61)
_FRACTION = u8(2**52 - 1)
_SIGN_AND_FRACTION, _HALF = u8(0x800FFFFFFFFFFFFF), u8(1022 << 52)
_NAN = u8(0xFFF8 << 48)
_LARGEST = np.finfo(np.float64).max

# The first words of the state of BLAKE2b.
_I0, _I1, _I2, _I3 = (
    u8(0x6A09E667F3BCC908), u8(0xBB67AE8584CAA73B), u8(0x3C6EF372FE94F82B), u8(0xA54FF53A5F1D36F1),
)  # fmt: skip
_I4, _I5, _I6, _I7 = (
    u8(0x510E527FADE682D1), u8(0x9B05688C2B3E6C1F), u8(0x1F83D9ABFB41BD6B), u8(0x5BE0CD19137E2179),
)  # fmt: skip


def _reinterpreted(source: Any, target: Any, kind: Any) -> Any:
    """Return a function that takes the bits of one type for another."""

    @intrinsic
    def function(typing: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], kind)

        return target(source), codegen

    return function


_bits_of = _reinterpreted(types.float64, types.uint64, ir.IntType(64))
_from_bits = _reinterpreted(types.uint64, types.float64, ir.DoubleType())


@compiled
def are_exact(codes: Any, starts: Any, out: Any) -> None:
    """Say of each expression whether it has only + - * neg square."""
    for n in range(out.size):
        found = True
        for i in range(starts[n], starts[n + 1]):
            code = codes[i]
            if 0 <= code < FIRST_TERMINAL:
                is_binary = code in (_ADD, _SUB, _MUL)
                found &= is_binary or code in (_NEG, _SQUARE)
        out[n] = found


@compiled
def _reduced(x: Any) -> Any:
    """Return x modulo 2^61 - 1 for x < 2^64."""
    x = (x & _P) + (x >> _61)
    return x - _P if x >= _P else x


@compiled
def _product(a: Any, b: Any) -> Any:
    """Return a*b modulo 2^61 - 1 from 31-bit halves; 2^62 = 2 and 2^61 = 1 there."""
    a_high, a_low, b_high, b_low = a >> _31, a & _LOW_31, b >> _31, b & _LOW_31
    middle = a_high * b_low + a_low * b_high
    high = ((a_high * b_high) << _ONE) + (middle >> _30) + ((middle & _LOW_30) << _31)
    return _reduced(_reduced(high) + a_low * b_low)


@compiled
def _residue(bits: Any) -> Any:
    """Return a finite float, given by its bits, modulo 2^61 - 1: a power of two is a rotation."""
    exponent, fraction = np.int64((bits >> _52) & u8(0x7FF)), bits & _FRACTION
    if exponent == 0:
        exponent = 1
    else:
        fraction |= _FRACTION + _ONE
    shift = u8((exponent - 1075 + 61 * 64) % 61)
    value = _reduced(((fraction << shift) & _P) | (fraction >> (_61 - shift)))
    return _P - value if bits >> u8(63) and value > u8(0) else value


@compiled
def residues(
    codes: Any, starts: Any, chosen: Any, constants: Any, terminals: Any, stack: Any, out: Any
) -> None:
    """Write values (m, 2) modulo 2^61 - 1 of the chosen expressions.

    ``constants`` holds the bits of floats, ``terminals`` (t, 2) residues, ``stack`` (k, 2) scratch.
    """
    for m in range(chosen.size):
        top = 0
        n = chosen[m]
        for i in range(starts[n + 1] - 1, starts[n] - 1, -1):
            code = codes[i]
            if code < 0:
                stack[top, 0] = stack[top, 1] = _residue(constants[-1 - code])
                top += 1
            elif code >= FIRST_TERMINAL:
                stack[top, 0] = terminals[code - FIRST_TERMINAL, 0]
                stack[top, 1] = terminals[code - FIRST_TERMINAL, 1]
                top += 1
            elif code >= _FIRST_UNARY:
                for k in range(2):
                    a = stack[top - 1, k]
                    stack[top - 1, k] = _reduced(_P - a) if code == _NEG else _product(a, a)
            else:
                top -= 1
                for k in range(2):
                    a, b = stack[top, k], stack[top - 1, k]
                    if code == _MUL:
                        value = _product(a, b)
                    elif code == _ADD:
                        value = _reduced(a + b)
                    else:
                        value = _reduced(a + (_P - b))
                    stack[top - 1, k] = value
        out[m, 0], out[m, 1] = stack[0, 0], stack[0, 1]


@intrinsic
def _apply(typing: Any, ws: Any, op: Any, d: Any, a: Any, b: Any, n: Any) -> Any:
    """Write ws[d + t] = op(ws[a + t], ws[b + t]) for t < n, a multiple of 8: a vector each."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        pointer = ir.VectorType(ir.DoubleType(), _VECTOR).as_pointer()
        arithmetic, whole = el.BuilderArithmetic(builder, False, _VECTOR), ir.IntType(64)
        end = builder.append_basic_block("probe.end")
        choice = builder.switch(args[1], end)
        for number, formula in FORMULAS.items():
            block = builder.append_basic_block(f"probe.op{int(number)}")
            choice.add_case(args[1].type(int(number)), block)
            builder.position_at_end(block)
            with cgutils.for_range_slice(builder, whole(0), args[5], whole(_VECTOR), whole) as (
                t, _,
            ):  # fmt: skip
                places = [
                    builder.bitcast(builder.gep(data, [builder.add(start, t)]), pointer)
                    for start in args[2:5]
                ]
                operands = [builder.load(place) for place in places[1:]]
                for operand in operands:
                    operand.align = 8
                builder.store(formula(arithmetic, *operands), places[0]).align = 8
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(ws, op, *(types.uint64,) * 4), codegen


_run: Any = _apply


@compiled
def _evaluate(
    codes: Any, first: Any, end: Any, constants: Any, ws: Any, n_terminals: Any, n_points: Any,
    places: Any,
) -> Any:  # fmt: skip
    """Return where the values of one expression stand in ``ws``, after those of the terminals."""
    top, count, base = 0, u8(n_points), u8(n_terminals)
    for i in range(end - 1, first - 1, -1):
        node = codes[i]
        if node >= FIRST_TERMINAL:
            places[top] = u8(node - FIRST_TERMINAL) * u8(STRIDE)
            top += 1
            continue
        if node < 0:
            here, value = (base + u8(top)) * u8(STRIDE), constants[-1 - node]
            for t in range(u8(STRIDE)):
                ws[here + t] = value
            places[top] = here
            top += 1
            continue
        arity = 1 if node >= _FIRST_UNARY else 2
        a, b = places[top - 1], places[top - arity]
        top -= arity - 1
        here = (base + u8(top - 1)) * u8(STRIDE)
        _run(ws, node, here, a, b, count)
        places[top - 1] = here
    return places[0]


@compiled
def _split(value: Any) -> Any:
    """Return mantissa and exponent of a finite number as ``frexp`` does."""
    bits = _bits_of(value)
    exponent = np.int64((bits >> _52) & u8(0x7FF))
    if exponent == 0:
        mantissa, small = math.frexp(value)
        return mantissa, np.int64(small)
    return _from_bits((bits & _SIGN_AND_FRACTION) | _HALF), exponent - 1022


@compiled
def rounded_words(
    codes: Any, starts: Any, chosen: Any, constants: Any, ws: Any, n_terminals: Any, places: Any,
    weights: Any, tiny: Any, digit_bits: Any, out: Any,
) -> None:  # fmt: skip
    """Write two words (m, 2) of the chosen expressions: sums of rounded values, weighted.

    ``weights`` (2, 2, points) are odd.
    """
    n_points = weights.shape[2]
    full = 2.0**digit_bits
    for m in range(chosen.size):
        n = chosen[m]
        place = _evaluate(codes, starts[n], starts[n + 1], constants, ws, n_terminals, n_points,
                          places)  # fmt: skip
        first, second = u8(0), u8(0)
        # Without branches, hence vectors; numbers this small are zeros, so that all are normal.
        for t in range(n_points):
            value = ws[place + u8(t)]
            size, bits = abs(value), _bits_of(value)
            mantissa = _from_bits((bits & _SIGN_AND_FRACTION) | _HALF)
            digits, exponent = np.rint(mantissa * full), ((bits >> _52) & u8(0x7FF)) - u8(1022)
            # Rounded up to the next power of two: the same number, one exponent higher.
            is_full = abs(digits) == full
            digits = _select(is_full, digits * 0.5, digits)
            exponent = _select(is_full, exponent + _ONE, exponent)
            # No number has the digits that stand for the three values that are not finite.
            special = _select(value == value, _select(value > 0.0, 1.0, -1.0), 3.0)
            digits = _select(size <= _LARGEST, digits, special)
            digits = _select(size < tiny, 0.0, digits)
            is_plain = (size <= _LARGEST) & (size >= tiny)
            exponent = _select(is_plain, exponent, u8(0))
            word = u8(np.int64(digits))
            first += word * weights[0, 0, t] + exponent * weights[1, 0, t]
            second += word * weights[0, 1, t] + exponent * weights[1, 1, t]
        out[m, 0], out[m, 1] = first, second


@compiled
def rounded_hashes(
    codes: Any, starts: Any, constants: Any, ws: Any, n_terminals: Any, places: Any, share: Any,
    digit_bits: Any, block: Any, out: Any,
) -> None:  # fmt: skip
    """Write a word (n,) of each expression: BLAKE2b of its 16 rounded values.

    Values below ``share`` of the largest finite one count as 0; ``block`` (16,) is scratch.
    """
    full = 2.0**digit_bits
    for n in range(out.size):
        place = _evaluate(codes, starts[n], starts[n + 1], constants, ws, n_terminals, 16,
                          places)  # fmt: skip
        largest = 0.0
        for t in range(u8(16)):
            size = abs(ws[place + t])
            if size <= _LARGEST and size > largest:
                largest = size
        for t in range(u8(16)):
            value = ws[place + t]
            if abs(value) <= _LARGEST:
                if abs(value) < share * largest:
                    value = 0.0
                mantissa, exponent = _split(value)
                digits = np.rint(mantissa * full)
                if -1000 < exponent < 990:
                    value = digits * _from_bits(u8(exponent + 1023) << _52)
                else:
                    value = math.ldexp(digits, exponent)
            # Adding zero turns -0 into 0; there is one NaN.
            block[t] = _bits_of(value + 0.0) if value == value else _NAN
        out[n], _ = _blake2b(block, u8(128), u8(8))


@compiled
def digests(words: Any, head: Any, text: Any, block: Any, out: Any) -> None:
    """Write 16 bytes, as two words (n, 2), of each pair of words (n, 2): BLAKE2b of a text.

    The text is ``head`` and both words in decimal digits with a space between; ``text`` (128,)
    and ``block`` (16,) are the same memory, as bytes and as words, and hold it.
    """
    for n in range(out.shape[0]):
        for k in range(16):
            block[k] = u8(0)
        for k in range(head.size):
            text[k] = head[k]
        length = _decimal(text, head.size, words[n, 0])
        text[length] = 32
        length = _decimal(text, length + 1, words[n, 1])
        out[n, 0], out[n, 1] = _blake2b(block, u8(length), u8(16))


@compiled
def _decimal(text: Any, start: Any, value: Any) -> Any:
    """Write the decimal digits of a whole number; return the place after them."""
    size, rest = 1, value // u8(10)
    while rest > u8(0):
        size += 1
        rest //= u8(10)
    for k in range(size - 1, -1, -1):
        text[start + k] = u8(48) + value % u8(10)
        value //= u8(10)
    return start + size


@compiled
def _blake2b(m: Any, length: Any, size: Any) -> Any:
    """Return the first two words of the digest of a message of one block.

    Source: M.-J. Saarinen, J.-P. Aumasson, "The BLAKE2 Cryptographic Hash", RFC 7693, 2015.

    Args:
        m: (16,) words of the message, zeros after its end.
        length: its bytes, at most 128.
        size: bytes of the digest.
    """
    h0 = _I0 ^ u8(0x01010000) ^ size
    v = (h0, _I1, _I2, _I3, _I4, _I5, _I6, _I7,
         _I0, _I1, _I2, _I3, _I4 ^ length, _I5, ~_I6, _I7)  # fmt: skip
    m0, m1, m2, m3, m4, m5, m6, m7 = m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7]
    m8, m9, m10, m11 = m[8], m[9], m[10], m[11]
    m12, m13, m14, m15 = m[12], m[13], m[14], m[15]
    v = _round(v, m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15)
    v = _round(v, m14, m10, m4, m8, m9, m15, m13, m6, m1, m12, m0, m2, m11, m7, m5, m3)
    v = _round(v, m11, m8, m12, m0, m5, m2, m15, m13, m10, m14, m3, m6, m7, m1, m9, m4)
    v = _round(v, m7, m9, m3, m1, m13, m12, m11, m14, m2, m6, m5, m10, m4, m0, m15, m8)
    v = _round(v, m9, m0, m5, m7, m2, m4, m10, m15, m14, m1, m11, m12, m6, m8, m3, m13)
    v = _round(v, m2, m12, m6, m10, m0, m11, m8, m3, m4, m13, m7, m5, m15, m14, m1, m9)
    v = _round(v, m12, m5, m1, m15, m14, m13, m4, m10, m0, m7, m6, m3, m9, m2, m8, m11)
    v = _round(v, m13, m11, m7, m14, m12, m1, m3, m9, m5, m0, m15, m4, m8, m6, m2, m10)
    v = _round(v, m6, m15, m14, m9, m11, m3, m0, m8, m12, m2, m13, m7, m1, m4, m10, m5)
    v = _round(v, m10, m2, m8, m4, m7, m6, m1, m5, m15, m11, m9, m14, m3, m12, m13, m0)
    v = _round(v, m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15)
    v = _round(v, m14, m10, m4, m8, m9, m15, m13, m6,
               m1, m12, m0, m2, m11, m7, m5, m3)  # fmt: skip
    return h0 ^ v[0] ^ v[8], _I1 ^ v[1] ^ v[9]


@compiled
def _round(
    v: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, i: Any, j: Any,
    k: Any, q: Any, m: Any, n: Any, o: Any, p: Any,
) -> Any:  # fmt: skip
    """Mix columns, then diagonals."""
    v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15 = v
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, a, b)
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, c, d)
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, e, f)
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, g, h)
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, i, j)
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, k, q)
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m, n)
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, o, p)
    return v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15


@compiled
def _mix(a: Any, b: Any, c: Any, d: Any, x: Any, y: Any) -> Any:
    a = a + b + x
    d = _rotated(d ^ a, u8(32))
    c = c + d
    b = _rotated(b ^ c, u8(24))
    a = a + b + y
    d = _rotated(d ^ a, u8(16))
    c = c + d
    b = _rotated(b ^ c, u8(63))
    return a, b, c, d


@compiled
def _rotated(x: Any, n: Any) -> Any:
    return (x >> n) | (x << (u8(64) - n))
