"""Lanes: 32 episodes side by side in vectors, each with weights of its own.

All arithmetic is plain and unfused, so that a lane gives the same bits whatever lies beside it.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from evosearch.engine import formulas
from evosearch.engine.cache import compiled
from evosearch.engine.elementary import BuilderArithmetic

LANES = 32

# numba's stub does not list _nrt
inlined: Any = numba.njit(  # pyright: ignore[reportCallIssue]
    inline="always", nogil=True, error_model="numpy", _nrt=False
)
"""Decorator of what is called inside a loop over lanes: with calls in it, it is no vector code."""


@compiled
def observe_state(state: Any, observations: Any) -> None:
    """Show the state (n_state, lanes) as it is, in float32, in the first rows of observations."""
    for k in range(state.shape[0]):
        for lane in range(LANES):
            observations[k, lane] = np.float32(state[k, lane])


def _trigonometric(name: str, shift: float) -> Any:
    """Return the sine of x + shift for float32, the mathematical library's function for float64.

    Environments in float64 equal those of others to the bit, which call that library too.
    """

    @intrinsic
    def function(typing: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if x == types.float64:
                kind = ir.FunctionType(ir.DoubleType(), [ir.DoubleType()])
                return builder.call(
                    builder.module.declare_intrinsic(f"llvm.{name}.f64", (), kind), args
                )
            single = BuilderArithmetic(builder, is_single=True)
            double, wide = single.widen(args[0])
            return single.narrow(formulas.sin(double, double.add(wide, double.real(shift))))

        return x(x), codegen

    return function


sine = _trigonometric("sin", 0.0)
cosine = _trigonometric("cos", math.pi / 2)


def _unit_code(
    typing: Any, weights: Any, row: Any, bias: Any, units: Any, first: Any, n_in: Any, target: Any,
    is_tanh: Any,
) -> Any:  # fmt: skip
    """Set ``units[target] = f(weights[bias] + sum_j weights[row + j] units[first + j])``."""
    is_single = weights.dtype == types.float32
    scalar = ir.FloatType() if is_single else ir.DoubleType()
    vector, i64 = ir.VectorType(scalar, LANES), ir.IntType(64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row, bias, first, n_in, target = args[1], args[2], args[4], args[5], args[6]

        def place(k: int, index: Any) -> Any:
            array = context.make_array(signature.args[k])(context, builder, args[k])
            return builder.gep(builder.bitcast(array.data, vector.as_pointer()), [index])

        def load(k: int, index: Any) -> Any:
            return builder.load(place(k, index), align=4 if is_single else 8)

        def store(value: Any) -> None:
            builder.store(value, place(3, target), align=4 if is_single else 8)

        start, entry = load(0, bias), builder.block
        body, end = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(body)
        builder.position_at_end(body)
        j, total = builder.phi(i64), builder.phi(vector)
        product = builder.fmul(load(0, builder.add(row, j)), load(3, builder.add(first, j)))
        following, added = builder.add(j, i64(1)), builder.fadd(total, product)
        for phi, before, after in ((j, i64(0), following), (total, start, added)):
            phi.add_incoming(before, entry)
            phi.add_incoming(after, body)
        builder.cbranch(builder.icmp_signed("<", following, n_in), body, end)
        builder.position_at_end(end)
        with builder.if_else(args[7]) as (hidden, output):
            with hidden:
                store(formulas.tanh(BuilderArithmetic(builder, is_single, LANES), added))
            with output:
                store(added)
        return context.get_dummy_value()

    i = types.int64
    return types.void(weights, i, i, units, i, i, i, types.boolean), codegen


_unit: Any = intrinsic(_unit_code)


@compiled
def layer(
    weights: Any, k: Any, units: Any, first: Any, n_in: Any, target: Any, n_out: Any, is_tanh: Any
) -> Any:
    """Compute a layer; return where the weights of the next one begin.

    Row k of ``weights`` (numbers, lanes) is the first of W (n_out, n_in), after which b (n_out)
    lies; row ``first`` of ``units`` (units, lanes) is the first of n_in inputs, and the n_out
    outputs, through tanh where ``is_tanh``, go to row ``target`` and those after it.
    """
    bias = k + n_out * n_in
    for i in range(n_out):
        _unit(weights, k + i * n_in, bias + i, units, first, n_in, target + i, is_tanh)
    return bias + n_out
