"""The interpreter as it would be with the C library's exp and tanh, everything else the same."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils

import evosearch.engine
from evosearch.engine import cache, interpreter, kernels
from evosearch.engine.formulas import FORMULAS
from evosearch.engine.program import Op


def _library(name: str) -> Callable[[Any, Any, Any], Any]:
    """Return a formula that calls the C library for each number of a vector."""

    def formula(arithmetic: Any, a: Any, _: Any) -> Any:
        builder, scalar = arithmetic.builder, a.type.element
        symbol = name + ("f" if arithmetic.is_single else "")
        kind = ir.FunctionType(scalar, [scalar])
        function = cgutils.get_or_insert_function(builder.module, kind, symbol)
        result = ir.Constant(a.type, ir.Undefined)
        for k in range(a.type.count):
            lane = ir.IntType(32)(k)
            value = builder.call(function, [builder.extract_element(a, lane)])
            result = builder.insert_element(result, value, lane)
        return result

    return formula


@contextmanager
def library_calls() -> Generator[Callable[[Callable[[], Any]], Any]]:
    """Yield a function that calls another while lives run in that interpreter.

    The modules are loaded a second time over other functions and compiled anew, which takes half
    a minute; nothing of it is kept.
    """
    engine, originals = evosearch.engine, (kernels, interpreter)
    own = {op: FORMULAS[op] for op in (Op.EXP, Op.TANH)}
    decorators = cache.compiled, cache.compiled_with_allocation
    # What is compiled here must not be kept where the engine looks for its own code.
    cache.compiled = numba.njit(nogil=True, error_model="numpy", _nrt=False)
    cache.compiled_with_allocation = numba.njit(nogil=True, error_model="numpy")
    try:
        FORMULAS.update({Op.EXP: _library("exp"), Op.TANH: _library("tanh")})
        engine.kernels = _second(kernels)
        other = _second(interpreter)
    finally:
        cache.compiled, cache.compiled_with_allocation = decorators
        FORMULAS.update(own)
        engine.kernels, engine.interpreter = originals

    def run(function: Callable[[], Any]) -> Any:
        engine.interpreter = other
        try:
            return function()
        finally:
            engine.interpreter = interpreter

    yield run


def _second(module: types.ModuleType) -> types.ModuleType:
    """Load a module once more, under another name."""
    name = module.__name__ + "_with_library_calls"
    spec = importlib.util.spec_from_file_location(name, module.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    sys.modules[name] = copy
    spec.loader.exec_module(copy)
    return copy
