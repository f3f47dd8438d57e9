"""The interpreter as it would be with the C library's exp and tanh, everything else the same."""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numba

import evosearch.engine
from evosearch.engine import cache, elementary, interpreter, kernels


@numba.njit(inline="always")
def _exp(x):
    return math.exp(x)


@numba.njit(inline="always")
def _tanh(x):
    return math.tanh(x)


@contextmanager
def library_calls() -> Generator[Callable[[Callable[[], Any]], Any]]:
    """Yield a function that calls another while lives run in that interpreter.

    The modules are loaded a second time over other functions and compiled anew, which takes half
    a minute; nothing of it is kept.
    """
    functions = types.ModuleType("elementary_with_library_calls")
    vars(functions).update(vars(elementary), exp=_exp, tanh=_tanh)
    engine, originals = evosearch.engine, (elementary, kernels, interpreter)
    decorators = cache.compiled, cache.compiled_with_allocation
    # What is compiled here must not be kept where the engine looks for its own code.
    cache.compiled = numba.njit(nogil=True, error_model="numpy", _nrt=False)
    cache.compiled_with_allocation = numba.njit(nogil=True, error_model="numpy")
    try:
        engine.elementary = functions
        engine.kernels = _second(kernels)
        other = _second(interpreter)
    finally:
        cache.compiled, cache.compiled_with_allocation = decorators
        engine.elementary, engine.kernels, engine.interpreter = originals

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
