"""The loop that runs a program of :mod:`evosearch.engine.table_code` on a group of rows.

It is written as LLVM's basic blocks, one for each step: the accumulator is a handful of vectors
that stay in registers from one step to the next, which a compiler does not find by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from evosearch.engine import elementary as el
from evosearch.engine.formulas import FORMULAS
from evosearch.engine.program import Op
from evosearch.engine.table_code import END, LOAD, LOAD_CONSTANT, N_FORMS, STORE, Form

VECTOR_BYTES = 64
N_VECTORS = 8 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 4
"""Vectors of the accumulator, half of the registers; results do not depend on it."""

GROUP_BYTES = VECTOR_BYTES * N_VECTORS
"""Bytes of a value for the rows that a step works on."""

_LONG = (Op.EXP, Op.LOG, Op.TANH, Op.SIGMOID, Op.SIN, Op.SOFTPLUS)
_SHORT = (Op.NEG, Op.SQUARE, Op.ABS, Op.SIGN, Op.SQRT)
_SYMMETRIC = (Op.ADD, Op.MUL)
_BINARY = (Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.MAX, Op.MIN)
_i32, _i64 = ir.IntType(32), ir.IntType(64)


@intrinsic
def run_group(
    typing: Any, ws: Any, row: Any, scratch: Any, pitch: Any, steps: Any, first: Any, values: Any,
    first_value: Any, out: Any, start: Any, count: Any,
) -> Any:  # fmt: skip
    """Run one program on a group of rows and write ``count`` results of it.

    ``ws`` holds places of ``pitch`` floats each; the group begins ``row`` floats after their
    start, and from ``scratch`` on a group of floats can be kept for a while. The program begins at
    row ``first`` of ``steps``, its constants at ``first_value`` of ``values``, and the results of
    the group at ``start`` of ``out``.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = {
            k: context.make_array(signature.args[k])(context, builder, args[k]).data
            for k in (0, 4, 6, 8)
        }
        dtype = signature.args[0].dtype
        machine = _Machine(context, builder, dtype == types.float32)
        machine.place_at(builder.gep(arrays[0], [args[1]]), args[3])
        machine.constants = builder.gep(arrays[6], [args[7]])
        machine.scratch = builder.gep(arrays[0], [args[2]])
        code = builder.gep(arrays[4], [builder.mul(args[5], _i64(4))])
        machine.write(code, builder.gep(arrays[8], [args[9]]), args[10])
        return context.get_dummy_value()

    u8 = types.uint64
    return types.void(ws, u8, u8, u8, steps, u8, values, u8, out, u8, u8), codegen


class _Machine:
    """Writes the blocks; ``A`` is a list of vectors, one group of rows."""

    base: Any
    pitch: Any
    constants: Any
    scratch: Any

    def __init__(self, context: Any, builder: Any, is_single: bool) -> None:
        self._context, self._builder, self._is_single = context, builder, is_single
        real = ir.FloatType() if is_single else ir.DoubleType()
        self._bytes = 4 if is_single else 8
        self.width = VECTOR_BYTES // self._bytes
        self._vector = ir.VectorType(real, self.width)
        self.arithmetic = el.BuilderArithmetic(builder, is_single, self.width)

    def place_at(self, base: Any, pitch: Any) -> None:
        """Say where the group's rows stand in place 0, and how far apart places are."""
        self.base, self.pitch = base, pitch

    def write(self, code: Any, out: Any, count: Any) -> None:
        """Write the loop: fetch a step, do it, until the end."""
        builder = self._builder
        before, function = builder.block, builder.function
        fetch = function.append_basic_block("table.fetch")
        finish = function.append_basic_block("table.finish")
        builder.branch(fetch)
        builder.position_at_end(fetch)
        step = builder.phi(code.type)
        accumulator = [builder.phi(self._vector) for _ in range(N_VECTORS)]
        step.add_incoming(code, before)
        for value in accumulator:
            value.add_incoming(ir.Constant(self._vector, None), before)
        fields = [self._field(step, k) for k in range(4)]
        following = builder.gep(step, [_i64(4)])
        choice = builder.switch(fields[0], finish)
        for number, body in self._steps().items():
            block = function.append_basic_block(f"table.step{number}")
            choice.add_case(_i32(number), block)
            builder.position_at_end(block)
            results = body(accumulator, *fields[1:])
            step.add_incoming(following, builder.block)
            for value, result in zip(accumulator, results, strict=True):
                value.add_incoming(result, builder.block)
            builder.branch(fetch)
        builder.position_at_end(finish)
        self._write_results(accumulator, out, count)

    def _steps(self) -> dict[int, Callable[..., list[Any]]]:
        found: dict[int, Callable[..., list[Any]]] = {
            LOAD: self._load,
            LOAD_CONSTANT: self._load_constant,
            STORE: self._store,
            Op.POW * N_FORMS + Form.MA: self._long(Op.POW),
        }
        assert END not in found
        for op in _SHORT:
            found[op * N_FORMS + Form.A] = self._unary(op)
        for op in _LONG:
            found[op * N_FORMS + Form.A] = self._long(op)
        for op in _BINARY:
            for form in Form:
                if form != Form.A:
                    found[op * N_FORMS + form] = self._binary(op, form)
        return found

    def _field(self, step: Any, k: int) -> Any:
        return self._builder.load(self._builder.gep(step, [_i64(k)]))

    def _address(self, place: Any) -> Any:
        """Return where a place's rows of the group begin."""
        builder = self._builder
        offset = builder.mul(builder.zext(place, _i64), self.pitch)
        return builder.gep(self.base, [offset])

    def _vectors(self, pointer: Any) -> list[Any]:
        return [self._vector_at(pointer, k) for k in range(N_VECTORS)]

    def _pointer(self, pointer: Any, k: Any) -> Any:
        builder = self._builder
        start = builder.gep(pointer, [builder.mul(_i64(self.width), k)])
        return builder.bitcast(start, self._vector.as_pointer())

    def _vector_at(self, pointer: Any, k: Any) -> Any:
        value = self._builder.load(self._pointer(pointer, _i64(k) if isinstance(k, int) else k))
        value.align = self._bytes
        return value

    def _keep(self, values: list[Any], pointer: Any) -> None:
        for k, value in enumerate(values):
            self._builder.store(value, self._pointer(pointer, _i64(k))).align = self._bytes

    def _constant(self, number: Any) -> list[Any]:
        builder = self._builder
        scalar = builder.load(builder.gep(self.constants, [builder.zext(number, _i64)]))
        undefined = ir.Constant(self._vector, ir.Undefined)
        first = builder.insert_element(undefined, scalar, _i32(0))
        zeros = ir.Constant(ir.VectorType(_i32, self.width), None)
        return [builder.shuffle_vector(first, undefined, zeros)] * N_VECTORS

    def _load(self, held: list[Any], x: Any, y: Any, target: Any) -> list[Any]:
        self._keep(held, self._address(target))
        return self._vectors(self._address(x))

    def _load_constant(self, held: list[Any], x: Any, y: Any, target: Any) -> list[Any]:
        self._keep(held, self._address(target))
        return self._constant(x)

    def _store(self, held: list[Any], x: Any, y: Any, target: Any) -> list[Any]:
        self._keep(held, self._address(target))
        return held

    def _unary(self, op: Op) -> Callable[..., list[Any]]:
        def body(held: list[Any], x: Any, y: Any, target: Any) -> list[Any]:
            return [FORMULAS[op](self.arithmetic, value, value) for value in held]

        return body

    def _binary(self, op: Op, form: Form) -> Callable[..., list[Any]]:
        sources = form.name

        def body(held: list[Any], x: Any, y: Any, target: Any) -> list[Any]:
            if "A" not in sources:
                self._keep(held, self._address(target))
            operands = [
                held if source == "A" else
                self._constant(number) if source == "C" else self._vectors(self._address(number))
                for source, number in zip(sources, (x, y), strict=True)
            ]  # fmt: skip
            formula = FORMULAS[op]
            return [formula(self.arithmetic, a, b) for a, b in zip(*operands, strict=True)]

        return body

    def _long(self, op: Op) -> Callable[..., list[Any]]:
        """Return a step of many instructions: a loop over the vectors, which go to memory."""

        def body(held: list[Any], x: Any, y: Any, target: Any) -> list[Any]:
            builder = self._builder
            self._keep(held, self.scratch)
            first = self._address(x) if op == Op.POW else self.scratch
            with cgutils.for_range(builder, _i64(N_VECTORS), intp=_i64) as loop:
                value = self._vector_at(self.scratch, loop.index)
                left = self._vector_at(first, loop.index)
                result = FORMULAS[op](self.arithmetic, left, value)
                place = self._pointer(self.scratch, loop.index)
                builder.store(result, place).align = self._bytes
            return self._vectors(self.scratch)

        return body

    def _write_results(self, values: list[Any], out: Any, count: Any) -> None:
        builder = self._builder
        is_whole = builder.icmp_unsigned(">=", count, _i64(N_VECTORS * self.width))
        with builder.if_else(is_whole) as (whole, part):
            with whole:
                self._keep(values, out)
            with part:
                self._keep(values, self.scratch)
                with cgutils.for_range(builder, count, intp=_i64) as loop:
                    value = builder.load(builder.gep(self.scratch, [loop.index]))
                    builder.store(value, builder.gep(out, [loop.index]))


@intrinsic
def sum_of_squares(typing: Any, ws: Any, a: Any, b: Any, n: Any) -> Any:
    """Sum (ws[a + t] - ws[b + t])**2 over t < n, a multiple of 8, as NumPy adds up 8 to 128.

    Sum k of eight takes each t = k (mod 8) in order; then neighbours are added, three times.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        data = context.make_array(array_type)(context, builder, args[0]).data
        vector = ir.VectorType(context.get_value_type(array_type.dtype), 8)

        def load(start: Any, t: Any) -> Any:
            pointer = builder.gep(data, [builder.add(start, t)])
            value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
            value.align = array_type.dtype.bitwidth // 8
            return value

        total = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
        with cgutils.for_range_slice(builder, _i64(0), args[3], _i64(8), _i64) as (t, _):
            difference = builder.fsub(load(args[1], t), load(args[2], t))
            square = builder.fmul(difference, difference)
            builder.store(builder.fadd(builder.load(total), square), total)
        sums = [builder.extract_element(builder.load(total), _i32(k)) for k in range(8)]
        while len(sums) > 1:
            sums = [builder.fadd(x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
        return sums[0]

    return ws.dtype(ws, *(types.uint64,) * 3), codegen
