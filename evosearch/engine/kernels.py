"""The loops of the interpreter: instructions over flat memory, matrix products in 16 lanes.

All values live in one flat workspace and are named by their offset in it: slices passed to
helpers would cost more than the work. A value of n units for V draws side by side is stored as
n rows of V numbers; V is 1 where a row of synapses fills a vector by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from evosearch.engine import elementary as el
from evosearch.engine.cache import compiled
from evosearch.engine.contract import LANES
from evosearch.engine.formulas import FORMULAS
from evosearch.engine.program import Op

_ADD, _SUB, _MUL, _DIV = int(Op.ADD), int(Op.SUB), int(Op.MUL), int(Op.DIV)
_MAX, _MIN, _POW = int(Op.MAX), int(Op.MIN), int(Op.POW)
_NEG, _SQUARE, _ABS, _SIGN, _SQRT = (
    int(Op.NEG), int(Op.SQUARE), int(Op.ABS), int(Op.SIGN), int(Op.SQRT),
)  # fmt: skip
_EXP, _LOG, _TANH, _SIGMOID = int(Op.EXP), int(Op.LOG), int(Op.TANH), int(Op.SIGMOID)
_SIN, _SOFTPLUS = int(Op.SIN), int(Op.SOFTPLUS)
_EXPAND_NETWORK, _EXPAND_PRE = int(Op.EXPAND_NETWORK), int(Op.EXPAND_PRE)

u8 = np.uint64


@intrinsic
def dot16(typing: Any, ws: Any, a: Any, b: Any, n: Any) -> Any:
    """Sum ws[a + j] * ws[b + j] over j < n in 16 lanes, as the numerics contract says.

    Whole vectors are read: the workspace must hold 16 values beyond the operands.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        array = context.make_array(array_type)(context, builder, args[0])
        real = context.get_value_type(array_type.dtype)
        vector = ir.VectorType(real, LANES)
        whole = ir.IntType(64)

        def load(start: Any, j: Any) -> Any:
            pointer = builder.gep(array.data, [builder.add(start, j)])
            value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
            value.align = array_type.dtype.bitwidth // 8
            return value

        zero = ir.Constant(vector, [0.0] * LANES)
        total = cgutils.alloca_once_value(builder, zero)
        full = builder.and_(args[3], whole(-LANES))
        with cgutils.for_range_slice(builder, whole(0), full, whole(LANES), whole) as (j, _):
            product = builder.fmul(load(args[1], j), load(args[2], j))
            builder.store(builder.fadd(builder.load(total), product), total)
        rest = builder.sub(args[3], full)
        with builder.if_then(builder.icmp_signed("!=", rest, whole(0))):
            product = builder.fmul(load(args[1], full), load(args[2], full))
            narrow = ir.IntType(32)
            wide = ir.VectorType(narrow, LANES)
            count = builder.insert_element(
                ir.Constant(wide, ir.Undefined), builder.trunc(rest, narrow), narrow(0)
            )
            count = builder.shuffle_vector(
                count, ir.Constant(wide, ir.Undefined), ir.Constant(wide, [0] * LANES)
            )
            lane = ir.Constant(wide, list(range(LANES)))
            product = builder.select(builder.icmp_signed("<", lane, count), product, zero)
            builder.store(builder.fadd(builder.load(total), product), total)
        value = builder.load(total)
        half = LANES // 2
        while half:
            index = ir.VectorType(ir.IntType(32), half)
            undefined = ir.Constant(value.type, ir.Undefined)
            low = builder.shuffle_vector(value, undefined, ir.Constant(index, list(range(half))))
            high = builder.shuffle_vector(
                value, undefined, ir.Constant(index, list(range(half, 2 * half)))
            )
            value = builder.fadd(low, high)
            half //= 2
        return builder.extract_element(value, ir.IntType(32)(0))

    integers = (types.uint64,) * 3
    return ws.dtype(ws, *integers), codegen


def _elementwise(op: Op, wide: int) -> Any:
    """Return an intrinsic that runs one operation over n values, in whole vectors.

    Results beyond n fall into the padding of the register that is written. Where operands overlap
    need not be asked, which a compiler would do at each call.
    """
    formula = FORMULAS[op]

    @intrinsic
    def run(typing: Any, ws: Any, d: Any, a: Any, b: Any, n: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array_type = signature.args[0]
            data = context.make_array(array_type)(context, builder, args[0]).data
            real = context.get_value_type(array_type.dtype)
            whole, is_single = ir.IntType(64), array_type.dtype == types.float32

            def loop(start: Any, stop: Any, width: int) -> None:
                pointer = ir.VectorType(real, width).as_pointer()

                def place(offset: Any, t: Any) -> Any:
                    return builder.bitcast(builder.gep(data, [builder.add(offset, t)]), pointer)

                o = el.BuilderArithmetic(builder, is_single, width)
                with cgutils.for_range_slice(builder, start, stop, whole(width), whole) as (t, _):
                    operands = [builder.load(place(offset, t)) for offset in args[2:4]]
                    for operand in operands:
                        operand.align = array_type.dtype.bitwidth // 8
                    done = builder.store(formula(o, *operands), place(args[1], t))
                    done.align = array_type.dtype.bitwidth // 8

            padded = builder.and_(builder.add(args[4], whole(LANES - 1)), whole(-LANES))
            full = builder.and_(padded, whole(-wide))
            loop(whole(0), full, wide)
            if wide > LANES:
                loop(full, padded, LANES)
            return context.get_dummy_value()

        return types.void(ws, *(types.uint64,) * 4), codegen

    return run


_run_add = _elementwise(Op.ADD, 4 * LANES)
_run_sub = _elementwise(Op.SUB, 4 * LANES)
_run_mul = _elementwise(Op.MUL, 4 * LANES)
_run_div = _elementwise(Op.DIV, 4 * LANES)
_run_max = _elementwise(Op.MAX, 4 * LANES)
_run_min = _elementwise(Op.MIN, 4 * LANES)
_run_pow = _elementwise(Op.POW, LANES)
_run_neg = _elementwise(Op.NEG, 4 * LANES)
_run_square = _elementwise(Op.SQUARE, 4 * LANES)
_run_abs = _elementwise(Op.ABS, 4 * LANES)
_run_sign = _elementwise(Op.SIGN, 4 * LANES)
_run_sqrt = _elementwise(Op.SQRT, 4 * LANES)
_run_exp = _elementwise(Op.EXP, LANES)
_run_log = _elementwise(Op.LOG, LANES)
_run_tanh = _elementwise(Op.TANH, LANES)
_run_sigmoid = _elementwise(Op.SIGMOID, LANES)
_run_sin = _elementwise(Op.SIN, LANES)
_run_softplus = _elementwise(Op.SOFTPLUS, LANES)


@compiled
def execute(
    ws: Any, code: Any, start: Any, end: Any, off: Any, site: Any, count: Any, lanes: Any,
    n_in: Any, row: Any,
) -> None:  # fmt: skip
    """Run instructions start..end over ``count`` consecutive values.

    ``off[site]`` holds the offsets of the registers; ``row`` is the post unit of the first value,
    for expansions from post units to synapses.
    """
    n = u8(count)
    for i in range(start, end):
        op = code[i, 0]
        d, a, b = off[site, code[i, 1]], off[site, code[i, 2]], off[site, code[i, 3]]
        if op == _ADD:
            _run_add(ws, d, a, b, n)
        elif op == _SUB:
            _run_sub(ws, d, a, b, n)
        elif op == _MUL:
            _run_mul(ws, d, a, b, n)
        elif op == _DIV:
            _run_div(ws, d, a, b, n)
        elif op == _MAX:
            _run_max(ws, d, a, b, n)
        elif op == _MIN:
            _run_min(ws, d, a, b, n)
        elif op == _POW:
            _run_pow(ws, d, a, b, n)
        elif op == _NEG:
            _run_neg(ws, d, a, b, n)
        elif op == _SQUARE:
            _run_square(ws, d, a, b, n)
        elif op == _ABS:
            _run_abs(ws, d, a, b, n)
        elif op == _SIGN:
            _run_sign(ws, d, a, b, n)
        elif op == _SQRT:
            _run_sqrt(ws, d, a, b, n)
        elif op == _EXP:
            _run_exp(ws, d, a, b, n)
        elif op == _LOG:
            _run_log(ws, d, a, b, n)
        elif op == _TANH:
            _run_tanh(ws, d, a, b, n)
        elif op == _SIGMOID:
            _run_sigmoid(ws, d, a, b, n)
        elif op == _SIN:
            _run_sin(ws, d, a, b, n)
        elif op == _SOFTPLUS:
            _run_softplus(ws, d, a, b, n)
        elif op == _EXPAND_NETWORK:
            _repeat(ws, d, a, lanes, n // lanes)
        elif op == _EXPAND_PRE:
            period = n_in * lanes
            _repeat(ws, d, a, period, n // period)
        else:
            copies = min(n_in, n // lanes)
            for r in range(n // (copies * lanes)):
                _repeat(ws, d + r * copies * lanes, a + (row + r) * lanes, lanes, copies)


@njit(cache=True, nogil=True, inline="always", _nrt=False)
def _repeat(ws: Any, target: Any, source: Any, length: Any, copies: Any) -> None:
    """Write ``copies`` copies of ws[source : source + length] one after the other."""
    if length == 1:
        value = ws[source]
        for t in range(u8(copies)):
            ws[target + t] = value
        return
    for copy in range(u8(copies)):
        start = target + copy * length
        for t in range(u8(length)):
            ws[start + t] = ws[source + t]


@compiled
def matvec(ws: Any, y: Any, w: Any, x: Any, n_out: Any, n_in: Any, lanes: Any, acc: Any) -> None:
    """y_i = sum over j of w_ij x_j; ``acc`` is scratch of 16 * lanes values."""
    if lanes == 1:
        for i in range(u8(n_out)):
            ws[y + i] = dot16(ws, w + i * n_in, x, n_in)
        return
    for i in range(u8(n_out)):
        width = min(n_in, u8(LANES))
        for t in range(width * lanes):
            ws[acc + t] = ws.dtype.type(0)
        for j in range(u8(n_in)):
            lane = acc + (j & u8(LANES - 1)) * lanes
            a, b = w + (i * n_in + j) * lanes, x + j * lanes
            for t in range(u8(lanes)):
                ws[lane + t] = ws[lane + t] + ws[a + t] * ws[b + t]
        _fold_lanes(ws, acc, width, lanes)
        for t in range(u8(lanes)):
            ws[y + i * lanes + t] = ws[acc + t]


@compiled
def matvec_t(ws: Any, x: Any, w: Any, y: Any, n_out: Any, n_in: Any, lanes: Any, acc: Any) -> None:
    """x_j = sum over i of w_ij y_i; ``acc`` is scratch of 16 * n_in * lanes values."""
    row = n_in * lanes
    width = min(n_out, u8(LANES))
    for t in range(width * row):
        ws[acc + t] = ws.dtype.type(0)
    for i in range(u8(n_out)):
        lane, a, b = acc + (i & u8(LANES - 1)) * row, w + i * row, y + i * lanes
        if lanes == 1:
            value = ws[b]
            for t in range(u8(row)):
                ws[lane + t] = ws[lane + t] + ws[a + t] * value
        else:
            for j in range(u8(n_in)):
                for t in range(u8(lanes)):
                    k = j * lanes + t
                    ws[lane + k] = ws[lane + k] + ws[a + k] * ws[b + t]
    _fold_lanes(ws, acc, width, row)
    for t in range(u8(row)):
        ws[x + t] = ws[acc + t]


@compiled
def sum_rows(ws: Any, target: Any, source: Any, n: Any, lanes: Any, acc: Any) -> None:
    """Sum n units for each draw in 16 lanes; ``acc`` is scratch of 16 * lanes values."""
    width = min(n, u8(LANES))
    for t in range(width * lanes):
        ws[acc + t] = ws.dtype.type(0)
    for j in range(u8(n)):
        lane, a = acc + (j & u8(LANES - 1)) * lanes, source + j * lanes
        for t in range(u8(lanes)):
            ws[lane + t] = ws[lane + t] + ws[a + t]
    _fold_lanes(ws, acc, width, lanes)
    for t in range(u8(lanes)):
        ws[target + t] = ws[acc + t]


@compiled
def _fold_lanes(ws: Any, acc: Any, width: Any, row: Any) -> None:
    """Add lanes k + 8 to k, then k + 4, k + 2, k + 1; lanes beyond ``width`` hold +0."""
    half = u8(LANES // 2)
    while half > 0:
        if width > half:
            shift = half * row
            for t in range((width - half) * row):
                ws[acc + t] = ws[acc + t] + ws[acc + shift + t]
            width = half
        half = half // u8(2)
