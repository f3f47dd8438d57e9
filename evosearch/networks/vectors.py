"""Rows of numbers, one a lane and example, for Numba's compiled code: products and losses.

A row holds one quantity, such as a hidden unit's activity, for ``LANES`` examples side by side.
Everything here works on rows, so that a sum over weights is the same vector code for every lane
and an example never meets another. Multiplications and additions of products are fused; the order
of every sum is written down here and depends on nothing but the sizes of the layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from evosearch.engine import formulas
from evosearch.engine.elementary import BuilderArithmetic

# Compiled code calls them without the typing context, which no annotation can say.
intrinsic: Any = extending.intrinsic

LANES = 64
"""Examples in a row."""
TILE = 5
"""Rows that a product writes at a time; they stay in registers."""

_PIECE = 16
"""Lanes that an activation is computed for at a time; its temporaries stay in registers."""

_INTEGER = ir.IntType(32)


class _Rows:
    """Writes instructions on whole rows of one floating type, or on pieces of rows."""

    def __init__(self, context: Any, builder: Any, dtype: Any, width: int = LANES) -> None:
        self.context, self.builder, self.width = context, builder, width
        self.is_single = dtype == types.float32
        self.scalar = ir.FloatType() if self.is_single else ir.DoubleType()
        self.kind = ir.VectorType(self.scalar, width)
        self.arithmetic = BuilderArithmetic(builder, self.is_single, width)

    def pointer(self, array_type: Any, array: Any, index: Any) -> Any:
        data = self.context.make_array(array_type)(self.context, self.builder, array).data
        return self.builder.gep(data, [index])

    def load(self, pointer: Any) -> Any:
        address = self.builder.bitcast(pointer, self.kind.as_pointer())
        return self.builder.load(address, align=4 if self.is_single else 8)

    def store(self, value: Any, pointer: Any) -> None:
        address = self.builder.bitcast(pointer, self.kind.as_pointer())
        self.builder.store(value, address, align=4 if self.is_single else 8)

    def row(self, pointer: Any, index: Any) -> Any:
        """Return where row ``index`` after ``pointer`` begins."""
        step = self.builder.mul(index, ir.Constant(index.type, LANES))
        return self.builder.gep(pointer, [step])

    def splat(self, value: Any) -> Any:
        single = self.builder.insert_element(
            ir.Constant(self.kind, ir.Undefined), value, ir.Constant(_INTEGER, 0)
        )
        mask = ir.Constant(ir.VectorType(_INTEGER, self.width), [0] * self.width)
        return self.builder.shuffle_vector(single, ir.Constant(self.kind, ir.Undefined), mask)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        suffix = f"v{self.width}f{32 if self.is_single else 64}"
        kind = ir.FunctionType(self.kind, [self.kind] * 3)
        function = self.builder.module.declare_intrinsic(f"llvm.fma.{suffix}", (), kind)
        return self.builder.call(function, [a, b, c])

    def larger(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def total(self, value: Any) -> Any:
        """Add the lanes: the upper half to the lower one, until one is left."""
        n = LANES
        while n > 1:
            n //= 2
            low, high = (
                ir.Constant(ir.VectorType(_INTEGER, n), list(range(first, first + n)))
                for first in (0, n)
            )
            value = self.builder.fadd(
                self.builder.shuffle_vector(value, value, low),
                self.builder.shuffle_vector(value, value, high),
            )
        return self.builder.extract_element(value, ir.Constant(_INTEGER, 0))

    def exp(self, x: Any) -> Any:
        """Return e**x of x <= 0 within 2 units in the last place; at least the least normal."""
        o = self.arithmetic
        bounded = self.larger(x, o.real(-87.0 if self.is_single else -708.0))
        power, r = self._reduced(bounded)
        value = self.fma(self._expm1(r), o.real(1.0), o.real(1.0))
        return o.from_bits(o.iadd(o.bits(value), power))

    def tanh(self, x: Any) -> Any:
        """Return the hyperbolic tangent within 3 units in the last place; NaN stays."""
        o = self.arithmetic
        size = o.abs(x)
        limit = o.real(10.0 if self.is_single else 22.0)
        small = self.builder.select(self.builder.fcmp_ordered(">", size, limit), limit, size)
        power, r = self._reduced(o.add(small, small))
        scale = o.from_bits(o.iadd(o.bits(o.real(1.0)), power))
        expm1 = self.fma(scale, self._expm1(r), o.sub(scale, o.real(1.0)))
        value = o.div(expm1, o.add(expm1, o.real(2.0)))
        return o.select(o.less(x, o.real(0.0)), o.neg(value), value)

    def _reduced(self, x: Any) -> tuple[Any, Any]:
        """Split x = k ln 2 + r; return k where a float keeps its exponent, and r."""
        o = self.arithmetic
        shift, bits = (1.5 * 2**23, 23) if self.is_single else (1.5 * 2**52, 52)
        high, low = _LN2_SINGLE if self.is_single else _LN2_DOUBLE
        shifted = self.fma(x, o.real(1.4426950408889634), o.real(shift))
        k = o.sub(shifted, o.real(shift))
        r = self.fma(k, o.real(-low), self.fma(k, o.real(-high), x))
        return o.shl(o.bits(shifted), bits), r

    def _expm1(self, r: Any) -> Any:
        """Return e**r - 1 of abs(r) <= ln 2 / 2 by its Taylor series."""
        o = self.arithmetic
        degree = 7 if self.is_single else 13
        value = o.real(1.0 / math.factorial(degree))
        for n in reversed(range(2, degree)):
            value = self.fma(value, r, o.real(1.0 / math.factorial(n)))
        return self.fma(o.mul(value, r), r, r)


_LN2_SINGLE = (0.693359375, -2.12194440e-4)
_LN2_DOUBLE = (0.6931471803691238, 1.9082149292705877e-10)


def _product(n_rows: int) -> Any:
    """Make ``(out, o, base, b, w, w0, stride, x, x0, n)``; all arrays flat, o, b, x0 in rows.

    ``out[o + r] = base[b + r] + sum over j < n of w[w0 + r * stride + j] * x[x0 + j]``, r < n_rows.
    """

    @intrinsic
    def product(
        typing: Any, out: Any, o: Any, base: Any, b: Any, w: Any, w0: Any, stride: Any,
        x: Any, x0: Any, n: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            rows = _Rows(context, builder, out.dtype)
            out_, o_, base_, b_, w_, w0_, stride_, x_, x0_, n_ = args
            zero = ir.Constant(o_.type, 0)
            out_at = rows.row(rows.pointer(out, out_, zero), o_)
            base_at = rows.row(rows.pointer(base, base_, zero), b_)
            x_at = rows.row(rows.pointer(x, x_, zero), x0_)
            w_at = rows.pointer(w, w_, w0_)
            numbers = [ir.Constant(zero.type, r) for r in range(n_rows)]
            w_rows = [builder.gep(w_at, [builder.mul(stride_, r)]) for r in numbers]
            sums = [cgutils.alloca_once(builder, rows.kind) for _ in numbers]
            for r, total in zip(numbers, sums, strict=True):
                builder.store(rows.load(rows.row(base_at, r)), total)
            with cgutils.for_range(builder, n_, intp=zero.type) as loop:
                value = rows.load(rows.row(x_at, loop.index))
                for w_row, total in zip(w_rows, sums, strict=True):
                    weight = rows.splat(builder.load(builder.gep(w_row, [loop.index])))
                    builder.store(rows.fma(weight, value, builder.load(total)), total)
            for r, total in zip(numbers, sums, strict=True):
                rows.store(builder.load(total), rows.row(out_at, r))
            return context.get_dummy_value()

        i = types.intp
        return types.void(out, i, base, i, w, i, i, x, i, i), codegen

    return product


product_1, product_2, product_3, product_4, product_tile = (
    _product(n_rows) for n_rows in range(1, TILE + 1)
)


@intrinsic
def shifted_row(
    typing: Any, out: Any, o: Any, base: Any, b: Any, shift: Any, factor: Any, s: Any, s0: Any
) -> Any:
    """Write ``out[o] = base[b] + shift + factor * s[s0]``; arrays flat, o, b and s0 in rows."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = _Rows(context, builder, out.dtype)
        zero = ir.Constant(args[1].type, 0)
        base_at = rows.row(rows.pointer(base, args[2], zero), args[3])
        s_at = rows.row(rows.pointer(s, args[6], zero), args[7])
        value = builder.fadd(rows.load(base_at), rows.splat(args[4]))
        value = rows.fma(rows.splat(args[5]), rows.load(s_at), value)
        rows.store(value, rows.row(rows.pointer(out, args[0], zero), args[1]))
        return context.get_dummy_value()

    i = types.intp
    return types.void(out, i, base, i, out.dtype, out.dtype, s, i), codegen


@intrinsic
def subtract_row(typing: Any, out: Any, o: Any, other: Any, b: Any) -> Any:
    """Subtract row ``b`` of ``other`` from row ``o`` of ``out``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = _Rows(context, builder, out.dtype)
        zero = ir.Constant(args[1].type, 0)
        out_at = rows.row(rows.pointer(out, args[0], zero), args[1])
        other_at = rows.row(rows.pointer(other, args[2], zero), args[3])
        rows.store(builder.fsub(rows.load(out_at), rows.load(other_at)), out_at)
        return context.get_dummy_value()

    i = types.intp
    return types.void(out, i, other, i), codegen


def _relu(rows: _Rows, x: Any) -> Any:
    zero = rows.arithmetic.real(0.0)
    return rows.builder.select(rows.builder.fcmp_ordered("<", x, zero), zero, x)


def _activation(formula: Callable[[_Rows, Any], Any]) -> Any:
    """Make ``(out, o)``, which replaces row ``o`` of a flat array by a function of it."""

    @intrinsic
    def activation(typing: Any, out: Any, o: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            rows = _Rows(context, builder, out.dtype, _PIECE)
            first = builder.mul(args[1], ir.Constant(args[1].type, LANES))
            for start in range(0, LANES, _PIECE):
                index = builder.add(first, ir.Constant(first.type, start))
                at = rows.pointer(out, args[0], index)
                rows.store(formula(rows, rows.load(at)), at)
            return context.get_dummy_value()

        return types.void(out, types.intp), codegen

    return activation


relu_row = _activation(_relu)
tanh_row = _activation(lambda rows, x: rows.tanh(x))
sigmoid_row = _activation(lambda rows, x: formulas.sigmoid(rows.arithmetic, x))
softplus_row = _activation(lambda rows, x: formulas.softplus(rows.arithmetic, x))


@intrinsic
def cross_entropy(typing: Any, logits: Any, o: Any, n: Any, is_label: Any, y: Any) -> Any:
    """Sum -log softmax at the label over the lanes of logits (n rows from row o).

    ``is_label``, from row y, holds 1 where a class is the label; lanes where no class is do not
    count.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = _Rows(context, builder, logits.dtype)
        zero = ir.Constant(args[1].type, 0)
        logits_at = rows.row(rows.pointer(logits, args[0], zero), args[1])
        label_at = rows.row(rows.pointer(is_label, args[3], zero), args[4])
        greatest, picked, counted, total = (
            cgutils.alloca_once(builder, rows.kind) for _ in range(4)
        )
        builder.store(rows.load(logits_at), greatest)
        for place in (picked, counted, total):
            builder.store(ir.Constant(rows.kind, [0.0] * LANES), place)
        with cgutils.for_range(builder, args[2], intp=zero.type) as loop:
            value = rows.load(rows.row(logits_at, loop.index))
            mask = rows.load(rows.row(label_at, loop.index))
            builder.store(rows.larger(builder.load(greatest), value), greatest)
            builder.store(rows.fma(mask, value, builder.load(picked)), picked)
            builder.store(builder.fadd(mask, builder.load(counted)), counted)
        top = builder.load(greatest)
        with cgutils.for_range(builder, args[2], intp=zero.type) as loop:
            value = rows.load(rows.row(logits_at, loop.index))
            share = rows.exp(builder.fsub(value, top))
            builder.store(builder.fadd(builder.load(total), share), total)
        spread = formulas.log(rows.arithmetic, builder.load(total))
        loss = builder.fadd(spread, builder.fsub(top, builder.load(picked)))
        return rows.total(builder.fmul(loss, builder.load(counted)))

    i = types.intp
    return logits.dtype(logits, i, i, is_label, i), codegen
