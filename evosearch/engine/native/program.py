"""What the code generator needs to know of a program, a rule's site and a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

from evosearch.engine.formulas import FORMULAS
from evosearch.engine.lifetime import MapSite, RuleSite
from evosearch.engine.native.text import Value, Writer
from evosearch.engine.program import Op, Program, Section

EXPANSIONS = frozenset((int(Op.EXPAND_NETWORK), int(Op.EXPAND_PRE), int(Op.EXPAND_POST)))
COSTLY = frozenset((Op.POW, Op.EXP, Op.LOG, Op.TANH, Op.SIGMOID, Op.SIN, Op.SOFTPLUS))

Row: TypeAlias = tuple[int, int, int, int]
Resolve: TypeAlias = Callable[[int], Value]


class UnsupportedError(Exception):
    """The generator has no code for this life or rule; the interpreter lives it."""


@dataclass(frozen=True)
class View:
    """A program bound to buffers.

    Attributes:
        program: the instructions.
        starts: first unit of the buffer of each terminal, or -1.
        is_rule: whether constants are arguments of the function, not part of it.
    """

    program: Program
    starts: tuple[int, ...]
    is_rule: bool

    @classmethod
    def of_rule(cls, program: Program, site: RuleSite) -> View:
        """Bind a candidate's program to a site."""
        starts = tuple(
            site.terminals[name].start if name in site.terminals else -1
            for name in program.terminals
        )
        return cls(program, starts, True)

    @classmethod
    def of_map(cls, site: MapSite) -> View:
        """Bind the program of a map to its operands."""
        return cls(site.program, tuple(b.start for b in site.operands), False)

    @cached_property
    def _sections(self) -> list[list[Row]]:
        code = [tuple(row) for row in self.program.code.tolist()]
        ends = [0, *self.program.section_end.tolist()]
        return [code[first:end] for first, end in pairwise(ends)]

    @cached_property
    def levels(self) -> list[int]:
        """The level of each register."""
        return self.program.register_level.tolist()

    def rows(self, *sections: Section) -> list[Row]:
        """Return the instructions of some sections."""
        if len(sections) == 1:
            return self._sections[sections[0]]
        return [row for section in sections for row in self._sections[section]]

    @cached_property
    def constants(self) -> dict[int, int]:
        """The position of each constant register in the list of constants."""
        return {r: k for k, r in enumerate(self.program.constant_register.tolist())}

    @cached_property
    def kept(self) -> frozenset[int]:
        """Registers that a later section reads, or that are reported."""
        kept = {output.register for output in self.program.outputs}
        for section in Section:
            written: set[int] = set()
            for op, dst, a, b in self._sections[section]:
                kept.update((a,) if op in EXPANSIONS else {a, b} - written)
                written.add(dst)
        return frozenset(kept)

    def is_terminal(self, register: int) -> bool:
        """Whether a register is a buffer of the life."""
        return register < len(self.starts)

    def is_costly(self, *sections: Section) -> bool:
        """Whether some sections hold elementary functions, which need full vectors."""
        return any(row[0] in COSTLY for row in self.rows(*sections))

    def constant(self, writer: Writer, register: int, width: int) -> Value:
        """Return a constant of the program, side by side."""
        k = self.constants[register]
        if not self.is_rule:
            return writer.arithmetic(width).real(float(self.program.constant_value[k]))
        return writer.argument("%k", k, width)


def evaluate(
    writer: Writer,
    rows: Sequence[Row],
    width: int,
    values: dict[int, Value],
    resolve: Resolve,
    expand: Callable[[int, int], Value],
) -> None:
    """Write instructions; ``values`` takes what they compute.

    Args:
        writer: where to.
        rows: the instructions.
        width: floats side by side.
        values: registers that are known already; extended.
        resolve: finds a register of the same level that is not among them.
        expand: finds the value of an expansion, given its operation code and operand.
    """
    arithmetic = writer.arithmetic(width)

    def find(register: int) -> Value:
        if register not in values:
            values[register] = resolve(register)
        return values[register]

    for op, dst, a, b in rows:
        if op in EXPANSIONS:
            values[dst] = expand(op, a)
        else:
            values[dst] = FORMULAS[op](arithmetic, find(a), find(b))


def no_expansion(op: int, register: int) -> Value:
    """Stand where nothing expands: to one number a network."""
    raise AssertionError("nothing expands to one number a network")
