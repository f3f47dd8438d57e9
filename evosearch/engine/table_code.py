"""Programs as an accumulator machine runs them on tables: values stay in registers.

A step works on the accumulator, a group of rows in vector registers, and at most two operands,
read where they stand: a column, a value kept before, or a constant. Nothing is copied, and a
value is written to memory only where a later step but the next one reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.cache import compiled, compiled_with_allocation
from evosearch.engine.program import Level, Op, Program
from evosearch.engine.run import pack_programs


class Form(IntEnum):
    """Where a step finds its operands: A is the accumulator, M memory, C a constant."""

    AM = 0
    MA = 1
    AC = 2
    CA = 3
    MM = 4
    MC = 5
    CM = 6
    A = 7


N_FORMS = len(Form)
FIRST_MOVE = (int(Op.SOFTPLUS) + 1) * N_FORMS
LOAD, LOAD_CONSTANT, STORE, END = range(FIRST_MOVE, FIRST_MOVE + 4)
"""Steps beside ``op * N_FORMS + form``; a row is (step, operand, operand, place to write)."""

_AM, _MA, _AC, _CA, _MM, _MC, _CM, _A = (int(form) for form in Form)
_POW, _NEG, _EXPANSION = int(Op.POW), int(Op.NEG), int(Op.EXPAND_NETWORK)


@dataclass(frozen=True)
class TableCode:
    """P programs for tables, one after the other.

    Attributes:
        steps: (n, 4) int32 (step, operand, operand, place); memory is numbered in places: the
            columns, then one that nobody reads, then values that are kept.
        start: (P + 1,) where each program begins.
        values: the constants of all programs.
        constant_start: (P + 1,) where those of each program begin.
        n_terminals: columns of a table.
        n_places: places that the programs use.
    """

    steps: NDArray[np.int32]
    start: NDArray[np.int64]
    values: NDArray[Any]
    constant_start: NDArray[np.int64]
    n_terminals: int
    n_places: int

    def __len__(self) -> int:
        return len(self.start) - 1


def table_code(programs: Sequence[Program], dtype: Any) -> TableCode:
    """Translate rules that were lowered with every terminal at the level ``POST``.

    Args:
        programs: P rules over the same terminals.
        dtype: float32 or float64, the type of the tables.
    """
    batch = pack_programs(programs, np.dtype(dtype))
    assert ((batch.levels == Level.POST) | (batch.levels == Level.NETWORK)).all()
    n_terminals = len(programs[0].terminals)
    steps = np.empty((6 * len(batch.code) + 3 * len(programs), 4), np.int32)
    start = np.zeros(len(programs) + 1, np.int64)
    n_registers = int(batch.register_counts.max(initial=1))
    longest = int(np.diff(batch.code_start).max(initial=0))
    output = batch.outputs[batch.output_start[:-1], 1]
    n_places = _translate_all(
        batch.code, batch.code_start, batch.constants, batch.constant_start, output, n_terminals,
        n_registers, longest, steps, start,
    )  # fmt: skip
    return TableCode(
        steps[: start[-1]], start, batch.values, batch.constant_start, n_terminals, int(n_places)
    )


@compiled_with_allocation
def _translate_all(
    code: Any, code_start: Any, constants: Any, constant_start: Any, output: Any, n_terminals: Any,
    n_registers: Any, longest: Any, steps: Any, start: Any,
) -> Any:  # fmt: skip
    """Write the steps of all programs; return the places they use."""
    definition = np.empty(n_registers, np.int64)
    constant = np.empty(n_registers, np.int32)
    place = np.empty(n_registers, np.int32)
    reads = np.empty(longest + 1, np.int64)
    n_places = n_terminals + 1
    for p in range(code_start.size - 1):
        first, last = code_start[p], code_start[p + 1]
        constant[:] = -1
        for k in range(constant_start[p], constant_start[p + 1]):
            constant[constants[k]] = k - constant_start[p]
        _count_reads(code, first, last, output[p], definition, reads)
        place[:] = -1
        for k in range(n_terminals):
            place[k] = k
        end, used = _translate(code, first, last, output[p], n_terminals, definition, constant,
                               place, reads, steps, start[p])  # fmt: skip
        start[p + 1] = end
        n_places = max(n_places, used)
    return n_places


@compiled
def _count_reads(
    code: Any, first: Any, last: Any, output: Any, definition: Any, reads: Any
) -> None:
    """Count how often each value is read from memory, not as the accumulator left it.

    ``definition`` is scratch: the instruction that wrote a register last, -1 at the start.
    """
    definition[:] = -1
    for i in range(last - first):
        reads[i] = 0
        a, b = code[first + i, 2], code[first + i, 3]
        is_unary = code[first + i, 0] >= _NEG
        from_a, from_b = definition[a], definition[b]
        if from_a >= 0 and from_a != i - 1:
            reads[from_a] += 1
        if not is_unary:
            # Of both operands, the second is then read from memory.
            if from_b >= 0 and (from_b != i - 1 or from_a == i - 1):
                reads[from_b] += 1
            if code[first + i, 0] == _POW and i > 0 and from_a == i - 1:
                reads[from_a] += 1
        definition[code[first + i, 1]] = i
    final = definition[output]
    if final >= 0 and final != last - first - 1:
        reads[final] += 1


@compiled
def _write(steps: Any, n: Any, step: Any, x: Any, y: Any, target: Any) -> Any:
    steps[n, 0], steps[n, 1], steps[n, 2], steps[n, 3] = step, x, y, target
    return n + 1


@compiled
def _translate(
    code: Any, first: Any, last: Any, output: Any, n_terminals: Any, definition: Any, constant: Any,
    place: Any, reads: Any, steps: Any, n: Any,
) -> Any:  # fmt: skip
    """Write the steps of one program from row n on; return the row after them and the places.

    A step that begins anew first keeps the accumulator where it is still wanted.
    """
    unread, used = n_terminals, n_terminals + 1
    definition[:] = -1
    for i in range(last - first):
        op, d, a, b = code[first + i, 0], code[first + i, 1], code[first + i, 2], code[first + i, 3]
        is_unary = op >= _NEG
        has_a = i > 0 and definition[a] == i - 1
        has_b = i > 0 and definition[b] == i - 1 and not is_unary
        keep = unread
        if i > 0 and reads[i - 1] > 0:
            held = code[first + i - 1, 1]
            if place[held] < 0:
                place[held] = used
                used += 1
            keep = place[held]
            if has_a or has_b or op == _POW:
                n = _write(steps, n, STORE, 0, 0, keep)
                keep = unread
        if is_unary:
            n = _translate_unary(op, has_a, place[a], constant[a], keep, steps, n)
        elif op == _POW:
            n, used = _translate_power(has_b, a, b, place, constant, unread, used, steps, n)
        else:
            n = _translate_binary(op, has_a, has_b, a, b, place, constant, keep, steps, n)
        definition[d] = i
    if last == first or definition[output] != last - first - 1:
        if constant[output] >= 0:
            n = _write(steps, n, LOAD_CONSTANT, constant[output], 0, unread)
        else:
            n = _write(steps, n, LOAD, place[output], 0, unread)
    return _write(steps, n, END, 0, 0, 0), used


@compiled
def _translate_unary(
    op: Any, has_a: Any, where: Any, constant: Any, keep: Any, steps: Any, n: Any
) -> Any:
    if not has_a:
        if constant >= 0:
            n = _write(steps, n, LOAD_CONSTANT, constant, 0, keep)
        else:
            n = _write(steps, n, LOAD, where, 0, keep)
    # A column is what it is: a copy of it is not expanded.
    return n if op >= _EXPANSION else _write(steps, n, op * N_FORMS + _A, 0, 0, 0)


@compiled
def _translate_binary(
    op: Any, has_a: Any, has_b: Any, a: Any, b: Any, place: Any, constant: Any, keep: Any,
    steps: Any, n: Any,
) -> Any:  # fmt: skip
    base = op * N_FORMS
    if has_a:
        if constant[b] >= 0:
            return _write(steps, n, base + _AC, 0, constant[b], 0)
        return _write(steps, n, base + _AM, 0, place[b], 0)
    if has_b:
        if constant[a] >= 0:
            return _write(steps, n, base + _CA, constant[a], 0, 0)
        return _write(steps, n, base + _MA, place[a], 0, 0)
    if constant[a] >= 0:
        if constant[b] >= 0:
            # Only a copy reads constants twice, see lower.
            n = _write(steps, n, LOAD_CONSTANT, constant[a], 0, keep)
            return _write(steps, n, base + _AC, 0, constant[b], 0)
        return _write(steps, n, base + _CM, constant[a], place[b], keep)
    if constant[b] >= 0:
        return _write(steps, n, base + _MC, place[a], constant[b], keep)
    return _write(steps, n, base + _MM, place[a], place[b], keep)


@compiled
def _translate_power(
    has_b: Any, a: Any, b: Any, place: Any, constant: Any, unread: Any, used: Any, steps: Any,
    n: Any,
) -> Any:  # fmt: skip
    """Write |a|**b with the base in memory and the exponent in the accumulator."""
    base, kept_b = place[a], -1
    if constant[a] >= 0:
        if has_b:
            kept_b, used = used, used + 1
            n = _write(steps, n, STORE, 0, 0, kept_b)
        base, used = used, used + 1
        n = _write(steps, n, LOAD_CONSTANT, constant[a], 0, unread)
        n = _write(steps, n, STORE, 0, 0, base)
    if kept_b >= 0:
        n = _write(steps, n, LOAD, kept_b, 0, unread)
    elif constant[b] >= 0:
        n = _write(steps, n, LOAD_CONSTANT, constant[b], 0, unread)
    elif not has_b or constant[a] >= 0:
        n = _write(steps, n, LOAD, place[b], 0, unread)
    return _write(steps, n, _POW * N_FORMS + _MA, base, 0, 0), used
