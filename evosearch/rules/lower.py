"""Lower a rule to a program: values shared, constants folded, each at its lowest level."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evosearch.engine.program import Level, Op, Output, Program, Section, Terminal
from evosearch.errors import unknown_name
from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

_SECTION_OF = {
    Level.NETWORK: Section.NETWORK,
    Level.PRE: Section.PRE,
    Level.POST: Section.POST,
    Level.SYNAPSE: Section.SYNAPSE,
}
_EXPAND = {
    Level.NETWORK: Op.EXPAND_NETWORK,
    Level.PRE: Op.EXPAND_PRE,
    Level.POST: Op.EXPAND_POST,
}
# The same bits in either order, so that a*b and b*a are one value.
_COMMUTATIVE = (Op.ADD, Op.MUL)


def lower(rule: Rule, terminals: Sequence[Terminal]) -> Program:
    """Lower ``rule`` to a program over ``terminals``, which become registers 0, 1, ….

    Raises:
        InputError: the rule names a terminal that is not in ``terminals``.
    """
    structure, constants = _structure(rule)
    key = (structure, tuple(terminals))
    kept = _kept.get(key)
    if kept is None:
        kept = _lowered(rule, terminals, constants)
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        _kept[key] = kept
    program, order = kept
    if order is None:
        return _lowered(rule, terminals, constants)[0]
    values = list(constants.values())
    return replace(program, constant_value=np.array([values[k] for k in order], np.float64))


MAX_KEPT = 4096
"""Structures whose programs are kept: searches try one with many constants."""

_kept: dict[Any, tuple[Program, list[int] | None]] = {}


def _structure(rule: Rule) -> tuple[tuple[Any, ...], dict[bytes, float]]:
    """Return a rule with its constants numbered, and the distinct constants in that order."""
    constants: dict[bytes, float] = {}
    numbers: dict[bytes, int] = {}

    def numbered(node: Node) -> Node | int:
        if isinstance(node, str):
            return node
        bits = _bits(node)
        constants.setdefault(bits, node)
        return numbers.setdefault(bits, len(numbers))

    parts = tuple(
        (name, tuple(numbered(node) for node in expression.nodes))
        for name, expression in rule.parts.items()
    )
    return parts, constants


def _bits(value: float) -> bytes:
    """Return what tells constants apart: the sign of zero is part of one."""
    return struct.pack("=d", value)


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

    A value is ``("terminal", k)``, ``("constant", number)`` or ``(op, a, b)`` with the numbers of
    its operands; equal values have one number.
    """

    def __init__(self, terminals: Sequence[Terminal]) -> None:
        self.terminals = tuple(terminals)
        self.index = {terminal.name: k for k, terminal in enumerate(terminals)}
        self.values: list[tuple[Any, ...]] = []
        self.levels: list[Level] = []
        self.has_folded = False
        self._numbers: dict[tuple[Any, ...], int] = {}
        for k, terminal in enumerate(terminals):
            self._number(("terminal", k), terminal.level)

    def add(self, expression: Expression) -> int:
        """Add the values of ``expression``; return the number of its result."""
        stack: list[int] = []
        for node in reversed(expression.nodes):
            if isinstance(node, str) and node in PRIMITIVES:
                primitive = PRIMITIVES[node]
                operands = [stack.pop() for _ in range(primitive.arity)]
                stack.append(self._apply(node, operands))
            elif isinstance(node, str):
                if node not in self.index:
                    raise unknown_name("terminal", node, self.index)
                stack.append(self.index[node])
            else:
                stack.append(self._constant(node))
        return stack.pop()

    def is_constant(self, number: int) -> bool:
        """Whether the value is the same in every lifetime."""
        return self.values[number][0] == "constant"

    def _apply(self, name: str, operands: list[int]) -> int:
        primitive = PRIMITIVES[name]
        if all(self.is_constant(operand) for operand in operands):
            self.has_folded = True
            arguments = [np.float64(self.values[operand][1]) for operand in operands]
            return self._constant(float(primitive.numpy(*arguments)))
        if primitive.op in _COMMUTATIVE:
            operands = sorted(operands)
        level = self.levels[operands[0]].join(self.levels[operands[-1]])
        return self._number((primitive.op, operands[0], operands[-1]), level)

    def _constant(self, value: float) -> int:
        # The sign of zero and NaN are part of a constant: compare its bits.
        bits = np.float64(value).tobytes()
        key = ("constant", bits)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(("constant", float(value)))
            self.levels.append(Level.NETWORK)
        return self._numbers[key]

    def _number(self, value: tuple[Any, ...], level: Level) -> int:
        if value not in self._numbers:
            self._numbers[value] = len(self.values)
            self.values.append(value)
            self.levels.append(level)
        return self._numbers[value]


class _Emitter:
    """Write the instructions of a graph, section by section, then give out registers."""

    def __init__(self, graph: _Graph) -> None:
        self._graph = graph
        self._rows: list[list[tuple[int, int, int, int]]] = [[] for _ in Section]
        # A virtual register each: terminals first, then whatever comes.
        self._levels: list[Level] = [t.level for t in graph.terminals]
        self._value_register: dict[tuple[int, Level], int] = {}
        self._constants: dict[int, float] = {}

    def emit(self, outputs: list[tuple[str, int, bool]]) -> Program:
        """Emit all values, then the outputs at the level of their targets."""
        graph = self._graph
        needed = _reachable(graph, [number for _, number, _ in outputs])
        for k in range(len(graph.terminals)):
            self._value_register[k, graph.levels[k]] = k
        for number in needed:
            value = graph.values[number]
            if value[0] in ("terminal", "constant"):
                continue
            level = graph.levels[number]
            a, b = self._operand(value[1], level), self._operand(value[2], level)
            register = self._new_register(level)
            self._value_register[number, level] = register
            self._rows[_SECTION_OF[level]].append((int(value[0]), register, a, b))
        targets = {graph.index[target] for target, _, _ in outputs}
        registers = []
        for target, number, _ in outputs:
            level = graph.levels[graph.index[target]]
            register = self._operand(number, level)
            registers.append(self._copy(register, level) if number in targets else register)
        return self._pack(outputs, registers)

    def _copy(self, source: int, level: Level) -> int:
        """Return a register with the value of another: outputs are written one by one."""
        register = self._new_register(level)
        self._rows[_SECTION_OF[level]].append((int(Op.MAX), register, source, source))
        return register

    def _operand(self, number: int, level: Level) -> int:
        """Return a register that holds the value at ``level``, expanding it if needed."""
        key = (number, level)
        if key in self._value_register:
            return self._value_register[key]
        register = self._new_register(level)
        self._value_register[key] = register
        if self._graph.is_constant(number):
            self._constants[register] = self._graph.values[number][1]
            return register
        source_level = self._graph.levels[number]
        source = self._value_register[number, source_level]
        section = _SECTION_OF[level]
        if level == Level.SYNAPSE and source_level != Level.POST:
            section = Section.TILE
        self._rows[section].append((int(_EXPAND[source_level]), register, source, source))
        return register

    def _new_register(self, level: Level) -> int:
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
            section_end=np.cumsum([len(rows) for rows in self._rows]).astype(np.int32),
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
        if number in seen:
            continue
        seen.add(number)
        value = graph.values[number]
        if value[0] not in ("terminal", "constant"):
            stack.extend(value[1:])
    return sorted(seen)


def _share_registers(
    rows: list[list[tuple[int, int, int, int]]], levels: list[Level], fixed: set[int]
) -> tuple[dict[int, int], list[Level]]:
    """Map virtual registers to few real ones.

    A register is free again after its last use in its own section; one that is read in a later
    section is kept, since the synapse section runs once a block. A destination never equals a
    source, which lets the loops of the interpreter become vector code.
    """
    last_use: dict[int, tuple[int, int]] = {}
    for section, section_rows in enumerate(rows):
        for position, (_, _, a, b) in enumerate(section_rows):
            last_use[a] = last_use[b] = (section, position)
    final: dict[int, int] = {}
    final_levels: list[Level] = []
    for register in sorted(fixed):
        final[register] = len(final_levels)
        final_levels.append(levels[register])
    for section, section_rows in enumerate(rows):
        free: dict[Level, list[int]] = {}
        born: set[int] = set()
        for position, (_, dst, a, b) in enumerate(section_rows):
            if dst not in final:
                pool = free.get(levels[dst], [])
                if pool:
                    final[dst] = pool.pop()
                else:
                    final[dst] = len(final_levels)
                    final_levels.append(levels[dst])
                born.add(dst)
            for source in {a, b}:
                if source in born and last_use[source] == (section, position):
                    free.setdefault(levels[source], []).append(final[source])
    return final, final_levels
