"""Evaluate many programs on the rows of one table, without a network around them.

Serves regression and tests of agreement: each terminal is a column, each row one application of
the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.cache import compiled, compiled_with_allocation
from evosearch.engine.program import Program
from evosearch.engine.table_code import TableCode, table_code
from evosearch.engine.table_machine import GROUP_BYTES, run_group, sum_of_squares

u8 = np.uint64
_run_group: Any = run_group
_sum_of_squares: Any = sum_of_squares
MAX_BYTES = 128 * 1024
"""Of all places for the rows that are worked on: they stay in the second cache.

In the first there is room for few groups, and each program is mispredicted in its first one."""

PAIRWISE = 128
"""Most numbers that NumPy adds up without halving them."""


def evaluate_rows(
    programs: Sequence[Program] | TableCode,
    columns: NDArray[Any],
    *,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return the first output of each program for each row.

    Args:
        programs: P rules, lowered with every terminal at the level ``POST``, or translated already
            for the type of the columns by :func:`~evosearch.engine.table_code.table_code`.
        columns: (terminals, N) float32 or float64, in the order of the programs' terminals.
        out: (P, N) memory for the result, in rows; new memory costs as much as short programs.

    Returns:
        (P, N) values of the columns' type.
    """
    code = programs if isinstance(programs, TableCode) else table_code(programs, columns.dtype)
    values = np.empty((len(code), columns.shape[1]), columns.dtype) if out is None else out
    rows, pitch, workspace = _memory(code, columns)
    _evaluate(workspace, pitch, rows, columns, code.steps, code.start, code.values,
              code.constant_start, values)  # fmt: skip
    return values


def squared_errors(
    programs: Sequence[Program] | TableCode, columns: NDArray[Any], target: NDArray[Any]
) -> NDArray[Any]:
    """Return each program's mean squared error over the rows.

    It is ``np.square(evaluate_rows(programs, columns) - target).mean(axis=1)`` to the bit, and no
    values are written that are not wanted.

    Args:
        programs: P rules, as for :func:`evaluate_rows`.
        columns: (terminals, N) float32 or float64.
        target: (N,) of the columns' type; N is at least 1.

    Returns:
        (P,) errors, not finite where a value is not.
    """
    code = programs if isinstance(programs, TableCode) else table_code(programs, columns.dtype)
    rows, pitch, workspace = _memory(code, columns)
    leaves, merges = _halves(len(target))
    parts = np.empty((len(code), 64), columns.dtype)
    _evaluate_errors(workspace, pitch, rows, columns, target, code.steps, code.start, code.values,
                     code.constant_start, leaves, merges, parts)  # fmt: skip
    return parts[:, 0] / len(target)


def _memory(code: TableCode, columns: NDArray[Any]) -> tuple[np.uint64, np.uint64, NDArray[Any]]:
    """Return how many rows are worked on at a time, how far apart places are, and the places."""
    group = GROUP_BYTES // columns.itemsize
    # Two more for results and what they should be.
    n_places = code.n_places + 2
    fitting = max(MAX_BYTES // (n_places * GROUP_BYTES), -(-PAIRWISE // group))
    n_groups = max(min(fitting, -(-columns.shape[1] // group)), 1)
    # Places a power of two apart would share the lines of a cache.
    line = 64 // columns.itemsize
    pitch = n_groups * group + line
    size = n_places * pitch + group
    raw = np.empty(size + line, columns.dtype)
    shift = -raw.ctypes.data % 64 // columns.itemsize
    return u8(n_groups * group), u8(pitch), raw[shift : shift + size]


@compiled
def _fill(ws: Any, pitch: Any, columns: Any, start: Any, count: Any, padded: Any) -> None:
    """Copy the rows that are worked on; rows beyond the last are 1, which no step is slow with."""
    for k in range(u8(columns.shape[0])):
        for t in range(u8(count)):
            ws[k * pitch + t] = columns[k, start + t]
        for t in range(u8(count), u8(padded)):
            ws[k * pitch + t] = ws.dtype.type(1)


@compiled
def _run(
    ws: Any, pitch: Any, steps: Any, first: Any, values: Any, first_value: Any, out: Any,
    place: Any, count: Any, group: Any,
) -> None:  # fmt: skip
    """Run one program on ``count`` rows and write their results from ``place`` on."""
    scratch = u8(ws.size) - group
    t = u8(0)
    while t < count:
        _run_group(ws, t, scratch, pitch, steps, first, values, first_value, out, place + t,
                   count - t)  # fmt: skip
        t += group


@compiled_with_allocation
def _evaluate(
    ws: Any, pitch: Any, rows: Any, columns: Any, steps: Any, start: Any, values: Any,
    constant_start: Any, results: Any,
) -> None:  # fmt: skip
    """Some rows outside, programs inside: those rows of the table stay in a cache."""
    n_rows, group = u8(columns.shape[1]), u8(GROUP_BYTES // ws.itemsize)
    flat = results.reshape(results.size)
    row = u8(0)
    while row < n_rows:
        count = min(rows, n_rows - row)
        _fill(ws, pitch, columns, row, count, rows)
        for p in range(start.size - 1):
            _run(ws, pitch, steps, u8(start[p]), values, u8(constant_start[p]), flat,
                 u8(p) * n_rows + row, count, group)  # fmt: skip
        row += rows


@lru_cache(maxsize=256)
def _halves(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how NumPy adds n numbers up: the leaves of its tree, and the sums after each.

    A leaf is so many numbers that follow each other; after it, that many times the last two sums
    are added. The lists are those of ``pairwise_sum`` in NumPy's ``loops_utils``.
    """
    leaves, merges = [], []
    stack: list[int | None] = [n]
    while stack:
        size = stack.pop()
        if size is None:
            merges[-1] += 1
        elif size <= PAIRWISE:
            leaves.append(size)
            merges.append(0)
        else:
            half = size // 2 // 8 * 8
            stack += [None, size - half, half]
    return np.array(leaves, np.int64), np.array(merges, np.int64)


@compiled
def _leaf(ws: Any, a: Any, b: Any, n: Any) -> Any:
    """Return the sum of the squared differences of at most 128 numbers, in NumPy's order."""
    total, whole = ws.dtype.type(0), n // u8(8) * u8(8)
    if whole > 0:
        total = _sum_of_squares(ws, a, b, whole)
    for t in range(whole, n):
        difference = ws[a + t] - ws[b + t]
        total += difference * difference
    return total


@compiled_with_allocation
def _evaluate_errors(
    ws: Any, pitch: Any, rows: Any, columns: Any, target: Any, steps: Any, start: Any,
    values: Any, constant_start: Any, leaves: Any, merges: Any, sums: Any,
) -> None:  # fmt: skip
    """Leave the sum of each program's squared errors in ``sums[:, 0]``, a stack of sums."""
    group = u8(GROUP_BYTES // ws.itemsize)
    # Before the last place, which steps use: the results, then the target.
    result = u8(ws.size) - group - u8(2) * pitch
    wanted = result + pitch
    leaf, row, depth = 0, u8(0), 0
    while leaf < leaves.size:
        first, count = leaf, u8(0)
        while leaf < leaves.size and count + u8(leaves[leaf]) <= rows:
            count += u8(leaves[leaf])
            leaf += 1
        _fill(ws, pitch, columns, row, count, rows)
        for t in range(count):
            ws[wanted + t] = target[row + t]
        top = depth
        for p in range(start.size - 1):
            _run(ws, pitch, steps, u8(start[p]), values, u8(constant_start[p]), ws, result, count,
                 group)  # fmt: skip
            top = _add_leaves(ws, result, wanted, leaves, merges, first, leaf, sums[p], depth)
        depth = top
        row += count


@compiled
def _add_leaves(
    ws: Any, result: Any, wanted: Any, leaves: Any, merges: Any, first: Any, last: Any, stack: Any,
    depth: Any,
) -> Any:  # fmt: skip
    """Put the sums of some leaves on a stack, adding up those that are done; return its height."""
    place = u8(0)
    for leaf in range(first, last):
        stack[depth] = _leaf(ws, result + place, wanted + place, u8(leaves[leaf]))
        place += u8(leaves[leaf])
        depth += 1
        for _ in range(merges[leaf]):
            depth -= 1
            stack[depth - 1] = stack[depth - 1] + stack[depth]
    return depth
