"""The instruction format: what a rule is lowered to and what every back end runs.

A program is straight-line code over registers. Each value has a *level*: one number a network,
one a pre unit, one a post unit or one a synapse; an instruction runs at the lowest level that
holds its operands. This module imports nothing else of the toolkit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Level(IntEnum):
    """How many values a register holds: 1, n_in, n_out or n_out * n_in."""

    NETWORK = 0
    PRE = 1
    POST = 2
    SYNAPSE = 3

    def join(self, other: Level) -> Level:
        """Return the lowest level that holds both operands."""
        if self == other or other == Level.NETWORK:
            return self
        if self == Level.NETWORK:
            return other
        return Level.SYNAPSE


class Op(IntEnum):
    """Operation codes. All are total: no operand makes them raise.

    ``div(a, 0) = 0``, ``log`` and ``sqrt`` take the absolute value, ``log(0) = 0``,
    ``pow(a, b) = exp(b * log|a|)`` with ``pow(0, b) = 0``; ``max`` and ``min`` return the second
    operand unless the first is strictly greater (less); ``sign`` of NaN is 0.
    """

    ADD = 0
    SUB = 1
    MUL = 2
    DIV = 3
    MAX = 4
    MIN = 5
    POW = 6
    NEG = 7
    SQUARE = 8
    ABS = 9
    SIGN = 10
    SQRT = 11
    EXP = 12
    LOG = 13
    TANH = 14
    SIGMOID = 15
    SIN = 16
    SOFTPLUS = 17
    EXPAND_NETWORK = 18
    EXPAND_PRE = 19
    EXPAND_POST = 20


@dataclass(frozen=True)
class Terminal:
    """A named input of a rule.

    Attributes:
        name: the word used in rule text.
        level: its granularity.
        meaning: one phrase for people.
        unit: physical unit, or ``"1"``.
        low: least value to expect, for probes and plots.
        high: greatest value to expect.
    """

    name: str
    level: Level
    meaning: str = ""
    unit: str = "1"
    low: float = -2.0
    high: float = 2.0


class Section(IntEnum):
    """Parts of a program, in the order in which they run each time the rule is applied."""

    NETWORK = 0
    PRE = 1
    POST = 2
    TILE = 3
    SYNAPSE = 4


@dataclass(frozen=True)
class Output:
    """Where one expression of a rule goes: the register and the terminal that it updates."""

    target: str
    register: int
    is_increment: bool


@dataclass(frozen=True)
class Program:
    """One rule, lowered.

    Registers are numbered: first one for each terminal in ``terminals``, then temporaries and
    constants. ``code`` has one row (op, dst, a, b) an instruction, sorted by section; unary
    instructions repeat ``a`` as ``b``.

    Attributes:
        terminals: names of the terminals, registers 0, 1, ….
        code: (n, 4) int32.
        section_end: (5,) int32, the row after the last one of each section.
        register_level: (r,) int8, the level of each register.
        constant_register: (k,) int32, registers that hold a constant for a whole lifetime.
        constant_value: (k,) float64, their values; everything else is structure.
        outputs: one for each expression; the first updates the weights.
        genes: (g,) float64, further numbers of the candidate, which fill buffers at birth.
    """

    terminals: tuple[str, ...]
    code: NDArray[np.int32]
    section_end: NDArray[np.int32]
    register_level: NDArray[np.int8]
    constant_register: NDArray[np.int32]
    constant_value: NDArray[np.float64]
    outputs: tuple[Output, ...]
    genes: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
