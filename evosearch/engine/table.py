"""Evaluate many programs on the rows of one table, without a network around them.

Serves fingerprints, tests of agreement and regression: each terminal is a column, each row one
application of the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from evosearch.engine import interpreter, kernels
from evosearch.engine.contract import BLOCK, LANES
from evosearch.engine.program import Level, Program
from evosearch.engine.run import pack_programs

u8 = np.uint64


def evaluate_rows(programs: Sequence[Program], columns: NDArray[Any]) -> NDArray[Any]:
    """Return the first output of each program for each row.

    Args:
        programs: P rules, lowered with every terminal at the level ``POST``.
        columns: (terminals, N) float32 or float64, in the order of the programs' terminals.

    Returns:
        (P, N) values of the columns' type.
    """
    assert all((p.register_level == Level.POST).all() for p in programs if p.code.size)
    columns = np.ascontiguousarray(columns)
    batch = pack_programs(programs, columns.dtype)
    registers = int(batch.register_counts.max(initial=1))
    values = np.empty((len(programs), columns.shape[1]), columns.dtype)
    raw = np.zeros(registers * BLOCK + 2 * LANES, columns.dtype)
    workspace = raw[-raw.ctypes.data % 64 // columns.itemsize :]
    offsets = np.zeros((1, registers), np.uint64)
    first = batch.outputs[batch.output_start[:-1], 1]
    _evaluate(workspace, offsets, columns, batch.code, batch.code_start, batch.levels,
              batch.level_start, batch.constants, batch.values, batch.constant_start, first,
              values)  # fmt: skip
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _evaluate(
    ws: Any, off: Any, columns: Any, code: Any, code_start: Any, levels: Any, level_start: Any,
    constants: Any, values: Any, constant_start: Any, output: Any, results: Any,
) -> None:  # fmt: skip
    """Blocks of rows outside, programs inside: a block of the table stays in the L1 cache."""
    n_terminals, n_rows = columns.shape
    bind = np.zeros((1, n_terminals + 1), np.int64)
    bind[0, 0] = n_terminals
    for k in range(n_terminals):
        bind[0, k + 1] = k * BLOCK
    start = u8(0)
    while start < u8(n_rows):
        count = min(u8(BLOCK), u8(n_rows) - start)
        for k in range(u8(n_terminals)):
            for t in range(count):
                ws[k * u8(BLOCK) + t] = columns[k, start + t]
        for p in range(code_start.size - 1):
            interpreter.place(
                ws, off, 0, u8(n_terminals * BLOCK), bind, levels, level_start[p],
                level_start[p + 1], constants, values, constant_start[p], constant_start[p + 1],
                u8(1), count, u8(1),
            )  # fmt: skip
            kernels.execute(ws, code, u8(code_start[p]), u8(code_start[p + 1]), off, 0, count,
                            u8(1), u8(1), u8(0))  # fmt: skip
            source = off[0, output[p]]
            for t in range(count):
                results[p, start + t] = ws[source + t]
        start += u8(BLOCK)
