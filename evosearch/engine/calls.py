"""Calls of machine code at an address, from the interpreter."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def call_native(
    typing: Any, address: Any, ws: Any, data: Any, tables: Any, index: Any, indices: Any,
    group: Any, values: Any, first: Any, eta: Any, bounds: Any, rows: Any, units: Any,
) -> Any:  # fmt: skip
    """Call a compiled life at an address; ``first`` is the place of the rule's constants.

    ``rows`` and ``units`` are addresses of functions of the rule, or 0.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()

        def start_of(k: int) -> Any:
            array = context.make_array(signature.args[k])(context, builder, args[k])
            return builder.bitcast(array.data, pointer)

        values_array = context.make_array(signature.args[7])(context, builder, args[7])
        constants = builder.bitcast(builder.gep(values_array.data, [args[8]]), pointer)
        rule = [builder.inttoptr(args[k], pointer) for k in (11, 12)]
        operands = [
            *(start_of(k) for k in range(1, 6)), args[6], constants, args[9], start_of(10), *rule,
        ]  # fmt: skip
        kind = ir.FunctionType(ir.IntType(32), [operand.type for operand in operands])
        function = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(function, operands)

    return types.int32(
        types.int64, ws, data, tables, index, indices, types.int64, values, types.int64, eta,
        bounds, types.int64, types.int64,
    ), codegen  # fmt: skip


@intrinsic
def call_kernel(
    typing: Any, address: Any, ws: Any, target: Any, a: Any, b: Any, n_out: Any, n_in: Any,
    examples: Any,
) -> Any:  # fmt: skip
    """Call a kernel of :mod:`evosearch.engine.native.tiles` on parts of the workspace."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[1])(context, builder, args[1]).data
        places = [builder.gep(data, [offset]) for offset in args[2:5]]
        operands = [*places, *args[5:]]
        kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), operands)
        return context.get_dummy_value()

    return types.void(types.int64, ws, *(types.uint64,) * 3, *(types.int64,) * 3), codegen
