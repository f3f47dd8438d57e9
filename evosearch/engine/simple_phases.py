"""The simple phases of a life in the interpreter: loads, random numbers, reductions, argmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch.engine import kernels, philox
from evosearch.engine.cache import compiled
from evosearch.engine.phases import REDUCE_MAX, REDUCE_MEAN, REDUCE_MIN, A, B, C, D, E

u8 = np.uint64


@compiled
def load(
    ws: Any, phases: Any, pc: Any, row: Any, data: Any, tables: Any, index: Any, indices: Any,
    group: Any, lanes: Any,
) -> None:  # fmt: skip
    """Copy rows of a table into a buffer, for all draws of the group."""
    target, n = u8(phases[pc, A]) * lanes, u8(phases[pc, B])
    for k in range(phases[pc, E]):
        load_row(ws, target + u8(k) * n * lanes, n, phases[pc, C], phases[pc, D], u8(row + k),
                  data, tables, index, indices, group, lanes)  # fmt: skip


@compiled
def load_row(
    ws: Any, target: Any, n: Any, table: Any, chooser: Any, row: Any, data: Any, tables: Any,
    index: Any, indices: Any, group: Any, lanes: Any,
) -> None:  # fmt: skip
    """Copy one row of a table into a buffer."""
    start, rows, is_shared = u8(tables[table, 0]), u8(tables[table, 1]), tables[table, 3] != 0
    if chooser < 0 and not is_shared:
        source = start + ((group * rows + row) * n) * lanes
        for t in range(n * lanes):
            ws[target + t] = data[source + t]
        return
    for lane in range(lanes):
        here = row
        if chooser >= 0:
            first, length = u8(indices[chooser, 0]), u8(indices[chooser, 1])
            if indices[chooser, 2] != 0:
                here = u8(index[first + row])
            else:
                here = u8(index[first + (group * length + row) * lanes + lane])
        for k in range(n):
            if is_shared:
                ws[target + k * lanes + lane] = data[start + here * n + k]
            else:
                ws[target + k * lanes + lane] = data[
                    start + ((group * rows + here) * n + k) * lanes + lane
                ]


@compiled
def add_bias(ws: Any, target: Any, bias: Any, n: Any, n_examples: Any) -> None:
    """Add the same n numbers to those of each example."""
    for example in range(n_examples):
        here = target + example * n
        for t in range(n):
            ws[here + t] = ws[here + t] + ws[bias + t]


@compiled
def random(
    ws: Any, target: Any, n: Any, lanes: Any, is_normal: Any, step: Any, stream: Any, keys: Any,
    first: Any,
) -> None:  # fmt: skip
    """Fill a buffer with Philox numbers, keyed by draw, counted by step, unit and stream."""
    for lane in range(lanes):
        draw = min(first + lane, u8(keys.shape[0] - 1))
        k0, k1 = u8(keys[draw, 0]), u8(keys[draw, 1])
        for unit in range(n):
            a, b, c, d = philox.philox(u8(step), unit, stream, u8(0), k0, k1)
            value = philox.uniform(a, b)
            if is_normal:
                value = philox.normal(value, philox.uniform(c, d))
            ws[target + unit * lanes + lane] = ws.dtype.type(value)


@compiled
def reduce(ws: Any, target: Any, source: Any, n: Any, lanes: Any, kind: Any, acc: Any) -> None:
    """Reduce the units of a buffer to one number a draw."""
    if kind in (REDUCE_MIN, REDUCE_MAX):
        for lane in range(lanes):
            best = ws[source + lane]
            for k in range(u8(1), n):
                value = ws[source + k * lanes + lane]
                if (kind == REDUCE_MIN and value < best) or (kind == REDUCE_MAX and value > best):
                    best = value
            ws[target + lane] = best
        return
    kernels.sum_rows(ws, target, source, n, lanes, acc)
    if kind == REDUCE_MEAN:
        for lane in range(lanes):
            ws[target + lane] = ws[target + lane] / ws.dtype.type(n)


@compiled
def argmax(ws: Any, target: Any, source: Any, n: Any, lanes: Any) -> None:
    """Write 1 at the first greatest unit of each draw and 0 elsewhere."""
    for lane in range(lanes):
        best = u8(0)
        for k in range(u8(1), n):
            if ws[source + k * lanes + lane] > ws[source + best * lanes + lane]:
                best = k
        for k in range(n):
            ws[target + k * lanes + lane] = ws.dtype.type(1 if k == best else 0)
