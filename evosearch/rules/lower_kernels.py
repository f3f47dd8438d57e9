"""Many expressions lowered at once, compiled: what :mod:`evosearch.rules.lower` does one by one.

An expression is a row of codes in prefix order: an operation code for a primitive,
``FIRST_TERMINAL`` + k for terminal k, and -1 - k for constant k. Its distinct values are numbered:
terminals first, then constants and results in the order in which they are met from the right.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.cache import compiled
from evosearch.engine.program import Level, Op, Section

FIRST_TERMINAL = len(Op)
_FIRST_UNARY = int(Op.NEG)
_ADD, _SUB, _MUL, _NEG, _SQUARE = (
    int(Op.ADD), int(Op.SUB), int(Op.MUL), int(Op.NEG), int(Op.SQUARE),
)  # fmt: skip
_COPY, _EXPAND = int(Op.MAX), int(Op.EXPAND_NETWORK)
_NETWORK, _PRE, _POST, _SYNAPSE = (
    int(Level.NETWORK), int(Level.PRE), int(Level.POST), int(Level.SYNAPSE),
)  # fmt: skip
_TILE, _SYNAPSE_SECTION, N_SECTIONS = int(Section.TILE), int(Section.SYNAPSE), len(Section)
_TERMINAL, _CONSTANT = -1, -2
_NEVER = -1


class Desk(NamedTuple):
    """Scratch for one expression of at most L nodes over T terminals; V = T + L values.

    Attributes:
        values: (V, 3) what each value is: kind or operation, first and last operand.
        numbers: (V,) values of constants.
        bits: (V,) the same memory, which tells constants apart.
        levels: (V,) level of each value.
        stack: (L + 1,) values that wait to be operands.
        is_needed: (V,) whether the output depends on a value.
        known: (V, 4) register that holds a value at a level, -1 for none.
        register_level: (R,) level of each register as first given out; R = 4 V + 1.
        is_constant: (R,) the value whose constant a register holds, -1 for none.
        rows: (5, R, 4) instructions by section.
        counts: (5,) instructions in each section.
        last_use: (R,) instruction that reads a register last.
        final: (R,) register as it is given out in the end, -1 for none yet.
        free: (4, R) registers of a level that are free again.
        n_free: (4,) how many.
        born: (R,) section in which a register was first written, -1 for none.
    """

    values: NDArray[np.int64]
    numbers: NDArray[np.float64]
    bits: NDArray[np.uint64]
    levels: NDArray[np.int64]
    stack: NDArray[np.int64]
    is_needed: NDArray[np.bool_]
    known: NDArray[np.int64]
    register_level: NDArray[np.int64]
    is_constant: NDArray[np.int64]
    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    last_use: NDArray[np.int64]
    final: NDArray[np.int64]
    free: NDArray[np.int64]
    n_free: NDArray[np.int64]
    born: NDArray[np.int64]


class Lowered(NamedTuple):
    """Programs, one after the other.

    Attributes:
        code: (c, 4) instructions.
        code_end: (P,) row after the last one of each program.
        section_end: (P, 5) row of a program after the last one of each section.
        register_level: (r,) levels of registers.
        register_end: (P,) the place after the last one of each program.
        constant_register: (k,) registers that hold constants.
        constant_value: (k,) their values.
        constant_end: (P,) the place after the last one of each program.
        output: (P,) register of the output; -1 where a program must be lowered otherwise.
    """

    code: NDArray[np.int32]
    code_end: NDArray[np.int64]
    section_end: NDArray[np.int32]
    register_level: NDArray[np.int8]
    register_end: NDArray[np.int64]
    constant_register: NDArray[np.int32]
    constant_value: NDArray[np.float64]
    constant_end: NDArray[np.int64]
    output: NDArray[np.int64]


@compiled
def _find(d: Any, kind: Any, a: Any, b: Any, first: Any, n: Any) -> Any:
    """Return the value that is this operation of these operands, -1 for none."""
    for k in range(first, n):
        if d.values[k, 0] == kind and d.values[k, 1] == a and d.values[k, 2] == b:
            return k
    return -1


@compiled
def _constant(d: Any, value: Any, first: Any, n: Any) -> Any:
    """Return the value that is a constant; the sign of zero tells two apart."""
    d.numbers[n] = value
    for k in range(first, n):
        if d.values[k, 0] == _CONSTANT and d.bits[k] == d.bits[n]:
            return k
    d.values[n, 0], d.values[n, 1], d.values[n, 2] = _CONSTANT, n, n
    d.levels[n] = _NETWORK
    return n


@compiled
def _join(a: Any, b: Any) -> Any:
    """Return the lowest level that holds both operands."""
    if a == b or b == _NETWORK:
        return a
    return b if a == _NETWORK else _SYNAPSE


@compiled
def _fold(op: Any, a: Any, b: Any) -> Any:
    """Return a polynomial function of two numbers."""
    if op == _ADD:
        return a + b
    if op == _SUB:
        return a - b
    if op == _NEG:
        return -a
    return a * b


@compiled
def _build(d: Any, codes: Any, start: Any, end: Any, constants: Any, n_terminals: Any) -> Any:
    """Number the values of an expression; return how many, -1 where constants need more care."""
    n, top = n_terminals, 0
    for i in range(end - 1, start - 1, -1):
        code = codes[i]
        if code < 0:
            number = _constant(d, constants[-1 - code], n_terminals, n)
        elif code >= FIRST_TERMINAL:
            number = code - FIRST_TERMINAL
        else:
            a = d.stack[top - 1]
            b = a if code >= _FIRST_UNARY else d.stack[top - 2]
            top -= 1 if code >= _FIRST_UNARY else 2
            if d.values[a, 0] == _CONSTANT and d.values[b, 0] == _CONSTANT:
                if code not in (_ADD, _SUB, _MUL, _NEG, _SQUARE):
                    return -1
                value = _fold(code, d.numbers[a], d.numbers[b])
                number = _constant(d, value, n_terminals, n)
            else:
                if a > b and code in (_ADD, _MUL):
                    a, b = b, a
                number = _find(d, code, a, b, n_terminals, n)
                if number < 0:
                    number = n
                    d.values[n, 0], d.values[n, 1], d.values[n, 2] = code, a, b
                    d.levels[n] = _join(d.levels[a], d.levels[b])
        n = max(n, number + 1)
        d.stack[top] = number
        top += 1
    return n


@compiled
def _note_needed(d: Any, output: Any) -> None:
    """Note the values that the output depends on."""
    for k in range(output + 1):
        d.is_needed[k] = k == output
    for k in range(output, -1, -1):
        if d.is_needed[k] and d.values[k, 0] >= 0:
            d.is_needed[d.values[k, 1]] = True
            d.is_needed[d.values[k, 2]] = True


@compiled
def _new_register(d: Any, level: Any, n_registers: Any) -> Any:
    d.register_level[n_registers] = level
    d.is_constant[n_registers] = _NEVER
    return n_registers + 1


@compiled
def _write(d: Any, section: Any, op: Any, target: Any, a: Any, b: Any) -> None:
    row = d.counts[section]
    d.rows[section, row, 0], d.rows[section, row, 1] = op, target
    d.rows[section, row, 2], d.rows[section, row, 3] = a, b
    d.counts[section] += 1


@compiled
def _section_of(level: Any) -> Any:
    """Return the section in which values of a level are computed."""
    return _SYNAPSE_SECTION if level == _SYNAPSE else level


@compiled
def _operand(d: Any, number: Any, level: Any, n_registers: Any) -> Any:
    """Let a register hold a value at a level, expanding it if needed; return how many there are."""
    if d.known[number, level] >= 0:
        return n_registers
    register = n_registers
    n_registers = _new_register(d, level, n_registers)
    d.known[number, level] = register
    if d.values[number, 0] == _CONSTANT:
        d.is_constant[register] = number
        return n_registers
    source_level = d.levels[number]
    source = d.known[number, source_level]
    section = _section_of(level)
    if level == _SYNAPSE and source_level != _POST:
        section = _TILE
    _write(d, section, _EXPAND + source_level, register, source, source)
    return n_registers


@compiled
def _emit(d: Any, output: Any, n_values: Any, n_terminals: Any, target: Any) -> Any:
    """Write the instructions of all needed values; return the output's register and their number.

    ``target`` is the terminal that the output updates.
    """
    for k in range(n_values):
        for level in range(4):
            d.known[k, level] = -1
    for section in range(N_SECTIONS):
        d.counts[section] = 0
    n = 0
    for k in range(n_terminals):
        n = _new_register(d, d.levels[k], n)
        d.known[k, d.levels[k]] = k
    for k in range(n_terminals, output + 1):
        op = d.values[k, 0]
        if not d.is_needed[k] or op < 0:
            continue
        a, b, level = d.values[k, 1], d.values[k, 2], d.levels[k]
        n = _operand(d, a, level, n)
        n = _operand(d, b, level, n)
        d.known[k, level] = n
        n = _new_register(d, level, n)
        _write(d, _section_of(level), op, d.known[k, level], d.known[a, level], d.known[b, level])
    level = d.levels[target]
    n = _operand(d, output, level, n)
    register = d.known[output, level]
    if output == target:
        source, register = register, n
        n = _new_register(d, level, n)
        _write(d, _section_of(level), _COPY, register, source, source)
    return register, n


@compiled
def _share(d: Any, output: Any, n_registers: Any, n_terminals: Any, out: Any, place: Any) -> Any:
    """Give out few registers; write their levels from ``place`` on, and return how many."""
    n_final = 0
    for k in range(n_registers):
        d.last_use[k], d.final[k], d.born[k] = -1, -1, -1
        if k < n_terminals or d.is_constant[k] >= 0 or k == output:
            d.final[k] = n_final
            out.register_level[place + n_final] = d.register_level[k]
            n_final += 1
    position = 0
    for section in range(N_SECTIONS):
        for row in range(d.counts[section]):
            d.last_use[d.rows[section, row, 2]] = position
            d.last_use[d.rows[section, row, 3]] = position
            position += 1
    position = 0
    for section in range(N_SECTIONS):
        for level in range(4):
            d.n_free[level] = 0
        for row in range(d.counts[section]):
            register = d.rows[section, row, 1]
            if d.final[register] < 0:
                level = d.register_level[register]
                if d.n_free[level] > 0:
                    d.n_free[level] -= 1
                    d.final[register] = d.free[level, d.n_free[level]]
                else:
                    d.final[register] = n_final
                    out.register_level[place + n_final] = level
                    n_final += 1
                d.born[register] = section
            for side in range(2, 4):
                source = d.rows[section, row, side]
                is_again = side == 3 and source == d.rows[section, row, 2]
                if d.born[source] == section and d.last_use[source] == position and not is_again:
                    level = d.register_level[source]
                    d.free[level, d.n_free[level]] = d.final[source]
                    d.n_free[level] += 1
            position += 1
    return n_final


@compiled
def _lower_one(
    d: Any, codes: Any, start: Any, end: Any, constants: Any, n_terminals: Any, target: Any,
    out: Any, p: Any,
) -> None:  # fmt: skip
    """Lower one expression to program ``p``."""
    code_end = out.code_end[p - 1] if p > 0 else 0
    register_end = out.register_end[p - 1] if p > 0 else 0
    constant_end = out.constant_end[p - 1] if p > 0 else 0
    out.output[p] = -1
    n_values = _build(d, codes, start, end, constants, n_terminals)
    if n_values >= 0:
        last = d.stack[0]
        _note_needed(d, last)
        register, n = _emit(d, last, n_values, n_terminals, target)
        n_final = _share(d, register, n, n_terminals, out, register_end)
        out.output[p] = d.final[register]
        first_row = code_end
        for section in range(N_SECTIONS):
            for row in range(d.counts[section]):
                out.code[code_end, 0] = d.rows[section, row, 0]
                for side in range(1, 4):
                    out.code[code_end, side] = d.final[d.rows[section, row, side]]
                code_end += 1
            out.section_end[p, section] = code_end - first_row
        register_end += n_final
        for k in range(n):
            if d.is_constant[k] >= 0:
                out.constant_register[constant_end] = d.final[k]
                out.constant_value[constant_end] = d.numbers[d.is_constant[k]]
                constant_end += 1
    out.code_end[p], out.register_end[p], out.constant_end[p] = code_end, register_end, constant_end


@compiled
def lower_all(
    d: Any, codes: Any, starts: Any, constants: Any, levels: Any, target: Any, out: Any
) -> None:
    """Lower expressions to programs.

    Args:
        d: scratch for the longest of them.
        codes: (n,) nodes of all.
        starts: (P + 1,) where each begins.
        constants: (k,) constants of all.
        levels: (T,) levels of the terminals.
        target: the terminal that the outputs update.
        out: the programs.
    """
    for k in range(levels.size):
        d.values[k, 0], d.values[k, 1], d.values[k, 2] = _TERMINAL, k, k
        d.levels[k] = levels[k]
    for p in range(starts.size - 1):
        _lower_one(d, codes, starts[p], starts[p + 1], constants, levels.size, target, out, p)
