"""Lower a rule to a program: values shared, constants folded, each at its lowest level."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np

from evosearch.engine.program import Level, Op, Output, Program, Section, Terminal
from evosearch.errors import unknown_name
from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

# By level, in the order of their numbers.
_SECTION_OF = [int(s) for s in (Section.NETWORK, Section.PRE, Section.POST, Section.SYNAPSE)]
_EXPAND = [int(op) for op in (Op.EXPAND_NETWORK, Op.EXPAND_PRE, Op.EXPAND_POST)]
_JOIN = [[int(a.join(b)) for b in Level] for a in Level]
_SYNAPSE, _POST, _TILE, _COPY = (
    int(Level.SYNAPSE), int(Level.POST), int(Section.TILE), int(Op.MAX),
)  # fmt: skip
# The same bits in either order, so that a*b and b*a are one value.
_COMMUTATIVE = (int(Op.ADD), int(Op.MUL))
_PRIMITIVES = {name: (int(each.op), each.arity) for name, each in PRIMITIVES.items()}
_TERMINAL, _CONSTANT = -1, -2


def lower(rule: Rule, terminals: Sequence[Terminal]) -> Program:
    """Lower ``rule`` to a program over ``terminals``, which become registers 0, 1, ….

    Raises:
        InputError: the rule names a terminal that is not in ``terminals``.
    """
    structure, constants = _structure(rule)
    key = (structure, tuple(terminals))
    program, order = _kept.get(key, (None, None))
    if program is None or order is None:
        made = _lowered(rule, terminals, constants)
        if program is None:
            if len(_kept) >= MAX_KEPT:
                _kept.clear()
            _kept[key] = made
        return made[0]
    values = list(constants.values())
    return replace(program, constant_value=np.array([values[k] for k in order], np.float64))


MAX_KEPT = 4096
"""Structures whose programs are kept: searches try one with many constants."""

_kept: dict[Any, tuple[Program, list[int] | None]] = {}


def _structure(rule: Rule) -> tuple[tuple[Any, ...], dict[bytes, float]]:
    """Return a rule with its constants numbered, and the distinct constants in that order."""
    constants: dict[bytes, float] = {}
    numbers: dict[bytes, int] = {}
    parts: list[tuple[str, tuple[Node | int, ...]]] = []
    for name, expression in rule.parts.items():
        nodes: list[Node | int] = list(expression.nodes)
        for place, node in enumerate(nodes):
            if not isinstance(node, str):
                bits = _bits(node)
                constants.setdefault(bits, node)
                nodes[place] = numbers.setdefault(bits, len(numbers))
        parts.append((name, tuple(nodes)))
    return tuple(parts), constants


_pack_double = struct.Struct("=d").pack


def _bits(value: float) -> bytes:
    """Return what tells constants apart: the sign of zero is part of one."""
    return _pack_double(value)


def _lowered(
    rule: Rule, terminals: Sequence[Terminal], constants: Iterable[bytes]
) -> tuple[Program, list[int] | None]:
    """Lower a rule; say which of its constants each constant register holds.

    None stands for a rule of which some constants are folded into others: its structure depends
    on their values.
    """
    graph = _Graph(terminals)
    outputs = []
    for part, expression in rule.parts.items():
        target = "w" if part == "dw" else part
        if target not in graph.index:
            raise unknown_name("state terminal", target, graph.index)
        outputs.append((target, graph.add(expression), part == "dw"))
    program = _Emitter(graph).emit(outputs)
    if graph.has_folded:
        return program, None
    place = {bits: k for k, bits in enumerate(constants)}
    return program, [place[_bits(value)] for value in program.constant_value.tolist()]


class _Graph:
    """The distinct values of all expressions of a rule, in an order that respects use.

    A value is ``(_TERMINAL, k, k)``, ``(_CONSTANT, number, number)`` or ``(op, a, b)`` with the
    numbers of its operands; equal values have one number. Levels and operation codes are plain
    integers here, since rules are lowered by the thousand.
    """

    def __init__(self, terminals: Sequence[Terminal]) -> None:
        self.terminals = tuple(terminals)
        self.index = {terminal.name: k for k, terminal in enumerate(terminals)}
        self.values: list[tuple[int, Any, Any]] = [(_TERMINAL, k, k) for k in range(len(terminals))]
        self.levels = [int(terminal.level) for terminal in terminals]
        self.has_folded = False
        self._numbers: dict[tuple[Any, ...], int] = {}

    def add(self, expression: Expression) -> int:
        """Add the values of ``expression``; return the number of its result."""
        stack: list[int] = []
        for node in reversed(expression.nodes):
            if not isinstance(node, str):
                stack.append(self._constant(node))
                continue
            found = _PRIMITIVES.get(node)
            if found is None:
                if node not in self.index:
                    raise unknown_name("terminal", node, self.index)
                stack.append(self.index[node])
                continue
            op, arity = found
            first = stack.pop()
            stack.append(self._apply(node, op, first, stack.pop() if arity == 2 else first))
        return stack.pop()

    def is_constant(self, number: int) -> bool:
        """Whether the value is the same in every lifetime."""
        return self.values[number][0] == _CONSTANT

    def _apply(self, name: str, op: int, a: int, b: int) -> int:
        values, levels = self.values, self.levels
        if values[a][0] == _CONSTANT and values[b][0] == _CONSTANT:
            self.has_folded = True
            operands = (a, b)[: PRIMITIVES[name].arity]
            arguments = [np.float64(values[operand][1]) for operand in operands]
            return self._constant(float(PRIMITIVES[name].numpy(*arguments)))
        if a > b and op in _COMMUTATIVE:
            a, b = b, a
        key = (op, a, b)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(values)
            values.append(key)
            levels.append(_JOIN[levels[a]][levels[b]])
        return number

    def _constant(self, value: float) -> int:
        # The sign of zero and NaN are part of a constant: compare its bits.
        key = (_CONSTANT, _bits(value))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.values)
            self.values.append((_CONSTANT, float(value), float(value)))
            self.levels.append(0)
        return number


class _Emitter:
    """Write the instructions of a graph, section by section, then give out registers."""

    def __init__(self, graph: _Graph) -> None:
        self._graph = graph
        self._rows: list[list[tuple[int, int, int, int]]] = [[] for _ in Section]
        # A virtual register each: terminals first, then whatever comes.
        self._levels = graph.levels[: len(graph.terminals)]
        self._value_register: dict[tuple[int, int], int] = {}
        self._constants: dict[int, float] = {}

    def emit(self, outputs: list[tuple[str, int, bool]]) -> Program:
        """Emit all values, then the outputs at the level of their targets."""
        graph, known, rows = self._graph, self._value_register, self._rows
        for k in range(len(graph.terminals)):
            known[k, graph.levels[k]] = k
        for number in _reachable(graph, [number for _, number, _ in outputs]):
            op, a, b = graph.values[number]
            if op < 0:
                continue
            level = graph.levels[number]
            first = self._operand(a, level)
            last = first if a == b else self._operand(b, level)
            register = known[number, level] = self._new_register(level)
            rows[_SECTION_OF[level]].append((op, register, first, last))
        targets = {graph.index[target] for target, _, _ in outputs}
        registers: list[int] = []
        for target, number, _ in outputs:
            level = graph.levels[graph.index[target]]
            register = self._operand(number, level)
            registers.append(self._copy(register, level) if number in targets else register)
        return self._pack(outputs, registers)

    def _copy(self, source: int, level: int) -> int:
        """Return a register with the value of another: outputs are written one by one."""
        register = self._new_register(level)
        self._rows[_SECTION_OF[level]].append((_COPY, register, source, source))
        return register

    def _operand(self, number: int, level: int) -> int:
        """Return a register that holds the value at ``level``, expanding it if needed."""
        key = (number, level)
        known = self._value_register.get(key)
        if known is not None:
            return known
        register = self._value_register[key] = self._new_register(level)
        op, value, _ = self._graph.values[number]
        if op == _CONSTANT:
            self._constants[register] = value
            return register
        source_level = self._graph.levels[number]
        source = self._value_register[number, source_level]
        section = _SECTION_OF[level]
        if level == _SYNAPSE and source_level != _POST:
            section = _TILE
        self._rows[section].append((_EXPAND[source_level], register, source, source))
        return register

    def _new_register(self, level: int) -> int:
        self._levels.append(level)
        return len(self._levels) - 1

    def _pack(self, outputs: list[tuple[str, int, bool]], registers: list[int]) -> Program:
        n_terminals = len(self._graph.terminals)
        fixed = {*range(n_terminals), *self._constants, *registers}
        final, levels = _share_registers(self._rows, self._levels, fixed)
        code = [
            (op, final[dst], final[a], final[b]) for rows in self._rows for op, dst, a, b in rows
        ]
        return Program(
            terminals=tuple(terminal.name for terminal in self._graph.terminals),
            code=np.array(code, np.int32).reshape(-1, 4),
            section_end=np.array(list(accumulate(map(len, self._rows))), np.int32),
            register_level=np.array(levels, np.int8),
            constant_register=np.array([final[r] for r in self._constants], np.int32),
            constant_value=np.array(list(self._constants.values()), np.float64),
            outputs=tuple(
                Output(target, final[register], is_increment)
                for (target, _, is_increment), register in zip(outputs, registers, strict=True)
            ),
        )


def _reachable(graph: _Graph, outputs: list[int]) -> list[int]:
    """Return the numbers of the values that the outputs depend on, ascending."""
    seen: set[int] = set()
    stack = list(outputs)
    while stack:
        number = stack.pop()
        if number not in seen:
            seen.add(number)
            op, a, b = graph.values[number]
            if op >= 0:
                stack += (a, b)
    return sorted(seen)


def _share_registers(
    rows: list[list[tuple[int, int, int, int]]], levels: list[int], fixed: set[int]
) -> tuple[dict[int, int], list[int]]:
    """Map virtual registers to few real ones.

    A register is free again after its last use in its own section; one that is read in a later
    section is kept, since the synapse section runs once a block. A destination never equals a
    source, which lets the loops of the interpreter become vector code.
    """
    last_use: dict[int, int] = {}
    position = 0
    for section_rows in rows:
        for _, _, a, b in section_rows:
            last_use[a] = last_use[b] = position
            position += 1
    ordered = sorted(fixed)
    final = {register: k for k, register in enumerate(ordered)}
    final_levels = [levels[register] for register in ordered]
    position = 0
    for section_rows in rows:
        free: dict[int, list[int]] = {}
        born: set[int] = set()
        for _, dst, a, b in section_rows:
            if dst not in final:
                level = levels[dst]
                pool = free.get(level)
                if pool:
                    final[dst] = pool.pop()
                else:
                    final[dst] = len(final_levels)
                    final_levels.append(level)
                born.add(dst)
            for source in (a,) if a == b else (a, b):
                if source in born and last_use[source] == position:
                    free.setdefault(levels[source], []).append(final[source])
            position += 1
    return final, final_levels
