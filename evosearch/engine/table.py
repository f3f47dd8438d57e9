"""Evaluate many programs on the rows of one table, without a network around them.

Serves fingerprints, tests of agreement and regression: each terminal is a column, each row one
application of the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import kernels
from evosearch.engine.cache import compiled_with_allocation
from evosearch.engine.contract import BLOCK, LANES
from evosearch.engine.program import Level, Program
from evosearch.engine.run import Batch, pack_programs

u8 = np.uint64


def evaluate_rows(
    programs: Sequence[Program] | Batch, columns: NDArray[Any], *, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return the first output of each program for each row.

    Args:
        programs: P rules, lowered with every terminal at the level ``POST``, or packed already.
        columns: (terminals, N) float32 or float64, in the order of the programs' terminals.
        out: (P, N) memory for the result; new memory costs as much as short programs.

    Returns:
        (P, N) values of the columns' type.
    """
    columns = np.ascontiguousarray(columns)
    batch = programs if isinstance(programs, Batch) else pack_programs(programs, columns.dtype)
    assert ((batch.levels == Level.POST) | (batch.levels == Level.NETWORK)).all()
    n_programs, n_terminals = len(batch.register_counts), len(columns)
    # Registers of one program; terminals come first and are the same for all.
    registers = int(batch.register_counts.max(initial=1))
    values = np.empty((n_programs, columns.shape[1]), columns.dtype) if out is None else out
    raw = np.zeros(registers * BLOCK + 2 * LANES, columns.dtype)
    workspace = raw[-raw.ctypes.data % 64 // columns.itemsize :]
    offsets = np.arange(registers, dtype=np.uint64).reshape(1, -1) * np.uint64(BLOCK)
    first = batch.outputs[batch.output_start[:-1], 1]
    _evaluate(workspace, offsets, columns, n_terminals, batch.code, batch.code_start,
              batch.constants, batch.values, batch.constant_start, first, values)  # fmt: skip
    return values


@compiled_with_allocation
def _evaluate(
    ws: Any, off: Any, columns: Any, n_terminals: Any, code: Any, code_start: Any,
    constants: Any, values: Any, constant_start: Any, output: Any, results: Any,
) -> None:  # fmt: skip
    """Blocks of rows outside, programs inside: a block of the table stays in the L1 cache."""
    n_rows = u8(columns.shape[1])
    start = u8(0)
    while start < n_rows:
        count = min(u8(BLOCK), n_rows - start)
        for k in range(u8(n_terminals)):
            for t in range(count):
                ws[k * u8(BLOCK) + t] = columns[k, start + t]
        for p in range(code_start.size - 1):
            for k in range(constant_start[p], constant_start[p + 1]):
                target, value = off[0, constants[k]], values[k]
                for t in range(count):
                    ws[target + t] = value
            kernels.execute(ws, code, u8(code_start[p]), u8(code_start[p + 1]), off, u8(0), count,
                            u8(1), u8(1), u8(0))  # fmt: skip
            source = off[0, output[p]]
            for t in range(count):
                results[p, start + t] = ws[source + t]
        start += u8(BLOCK)
