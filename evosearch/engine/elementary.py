"""The elementary functions of :mod:`evosearch.engine.formulas` for Numba's compiled code.

Each name is called on float32 or float64 scalars inside compiled functions and becomes plain
arithmetic there, so that loops over it turn into vector code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from evosearch.engine import formulas
from evosearch.engine.formulas import Arithmetic


class BuilderArithmetic(Arithmetic):
    """Arithmetic that writes instructions on scalars or vectors through a builder of llvmlite."""

    def __init__(self, builder: Any, is_single: bool, width: int = 1) -> None:
        self.builder = builder
        self.is_single = is_single
        self._width = width
        self._real = self._type(ir.FloatType() if is_single else ir.DoubleType())
        self._integer = self._type(ir.IntType(32 if is_single else 64))

    def real(self, value: float) -> Any:
        return self._constant(self._real, float(np.float32(value)) if self.is_single else value)

    def integer(self, value: int) -> Any:
        return self._constant(self._integer, value)

    def _type(self, scalar: Any) -> Any:
        return scalar if self._width == 1 else ir.VectorType(scalar, self._width)

    def _constant(self, kind: Any, value: Any) -> Any:
        return ir.Constant(kind, value if self._width == 1 else [value] * self._width)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b)

    def sub(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b)

    def mul(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b)

    def div(self, a: Any, b: Any) -> Any:
        return self.builder.fdiv(a, b)

    def neg(self, a: Any) -> Any:
        return self.builder.fneg(a)

    def abs(self, a: Any) -> Any:
        return self._call("llvm.fabs", a)

    def sqrt(self, a: Any) -> Any:
        return self._call("llvm.sqrt", a)

    def less(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_ordered("<", a, b)

    def greater(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_ordered(">", a, b)

    def equal(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_ordered("==", a, b)

    def select(self, mask: Any, if_true: Any, if_false: Any) -> Any:
        return self.builder.select(mask, if_true, if_false)

    def bits(self, a: Any) -> Any:
        return self.builder.bitcast(a, self._integer)

    def from_bits(self, k: Any) -> Any:
        return self.builder.bitcast(k, self._real)

    def to_real(self, k: Any) -> Any:
        return self.builder.sitofp(k, self._real)

    def iadd(self, a: Any, b: Any) -> Any:
        return self.builder.add(a, b)

    def isub(self, a: Any, b: Any) -> Any:
        return self.builder.sub(a, b)

    def iand(self, a: Any, b: Any) -> Any:
        return self.builder.and_(a, b)

    def shl(self, a: Any, count: int) -> Any:
        return self.builder.shl(a, self.integer(count))

    def ashr(self, a: Any, count: int) -> Any:
        return self.builder.ashr(a, self.integer(count))

    def iequal(self, a: Any, b: Any) -> Any:
        return self.builder.icmp_signed("==", a, b)

    def widen(self, a: Any) -> tuple[Arithmetic, Any]:
        wide = BuilderArithmetic(self.builder, False, self._width)
        return wide, self.builder.fpext(a, wide._real)

    def narrow(self, a: Any) -> Any:
        return self.builder.fptrunc(a, self._real)

    def _call(self, name: str, a: Any) -> Any:
        suffix = "f32" if self.is_single else "f64"
        suffix = suffix if self._width == 1 else f"v{self._width}{suffix}"
        kind = ir.FunctionType(self._real, [self._real])
        function = self.builder.module.declare_intrinsic(f"{name}.{suffix}", (), kind)
        return self.builder.call(function, [a])


def _unary(formula: Callable[[Arithmetic, Any], Any]) -> Any:
    @intrinsic
    def function(typing: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return formula(BuilderArithmetic(builder, x == types.float32), args[0])

        return x(x), codegen

    return function


def _binary(formula: Callable[[Arithmetic, Any, Any], Any]) -> Any:
    @intrinsic
    def function(typing: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return formula(BuilderArithmetic(builder, a == types.float32), *args)

        return a(a, a), codegen

    return function


exp = _unary(formulas.exp)
log = _unary(formulas.log)
tanh = _unary(formulas.tanh)
sigmoid = _unary(formulas.sigmoid)
sin = _unary(formulas.sin)
softplus = _unary(formulas.softplus)
sign = _unary(formulas.sign)
power = _binary(formulas.power)
divide = _binary(formulas.divide)


@intrinsic
def select(typing: Any, condition: Any, if_true: Any, if_false: Any) -> Any:
    """Choose without a branch; both operands must have the same type."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(cgutils.as_bool_bit(builder, args[0]), args[1], args[2])

    return if_true(types.boolean, if_true, if_true), codegen
