"""Programs over registers: instructions, mutation, and the expression that they compute."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES
from evosearch.search.gp_folding import folded
from evosearch.spaces.rule import RuleSpace


class Instruction(NamedTuple):
    """Write a function of two operands into a register.

    Attributes:
        function: number of the function in the space.
        target: register that is written.
        first: register that is read, or a constant where it is -1.
        second: likewise; unused by functions of one operand.
        constant: the constant.
    """

    function: int
    target: int
    first: int
    second: int
    constant: float


Program = tuple[Instruction, ...]


class Machine:
    """Registers that begin with the terminals; the result is what the first one holds at the end.

    Source: M. Brameier, W. Banzhaf, "Linear Genetic Programming", 2007.

    Args:
        space: terminals, functions, constants and greatest size of the expression.
        n_scratch: registers beyond those of the terminals; they begin with the terminals too.
        longest: most instructions of a program.
    """

    def __init__(self, space: RuleSpace, n_scratch: int, longest: int) -> None:
        self._space = space
        self._longest = longest
        n = len(space.terminals)
        self._start = [space.terminals[k % n] for k in range(n + n_scratch)]
        self._p_constant = 0.2 if space.ephemeral is not None or space.constants else 0.0

    def random(self, rng: np.random.Generator) -> Program:
        """Return a program of uniform length and instructions."""
        return tuple(self._instruction(rng) for _ in range(rng.integers(1, self._longest + 1)))

    def mutated(self, program: Program, rng: np.random.Generator) -> Program:
        """Insert or remove an instruction, or change one, all of it or a single part.

        Source: E. Real, C. Liang, D. So, Q. Le, "AutoML-Zero", ICML 2020, section 3.2.
        """
        kind = int(rng.integers(4))
        k = int(rng.integers(len(program)))
        if kind == 0 and len(program) < self._longest:
            return (*program[:k], self._instruction(rng), *program[k:])
        if kind == 1 and len(program) > 1:
            return (*program[:k], *program[k + 1 :])
        if kind == 2:
            return (*program[:k], self._instruction(rng), *program[k + 1 :])
        return (*program[:k], self._changed(program[k], rng), *program[k + 1 :])

    def expression(self, program: Program) -> Expression | None:
        """Return what a program computes, None where it is larger than the space allows."""
        registers: list[tuple[Node, ...]] = [(terminal,) for terminal in self._start]
        # No part of the result can be larger than the result.
        too_large = self._space.max_size + 1
        for function, target, first, second, constant in program:
            name = self._space.functions[function]
            operands = [(constant,) if k < 0 else registers[k] for k in (first, second)]
            operands = operands[: PRIMITIVES[name].arity]
            nodes = (name, *(node for operand in operands for node in operand))
            registers[target] = nodes[:too_large]
        result = registers[0]
        if len(result) >= too_large:
            return None
        rule = Expression(result)
        return rule if self._space.ephemeral is None else folded(rule)

    def _instruction(self, rng: np.random.Generator) -> Instruction:
        constant = self._space.draw_constant(rng)
        return Instruction(
            int(rng.integers(len(self._space.functions))),
            int(rng.integers(len(self._start))),
            self._operand(rng),
            self._operand(rng),
            0.0 if constant is None else constant,
        )

    def _operand(self, rng: np.random.Generator) -> int:
        is_constant = rng.random() < self._p_constant
        register = int(rng.integers(len(self._start)))
        return -1 if is_constant else register

    def _changed(self, instruction: Instruction, rng: np.random.Generator) -> Instruction:
        field = Instruction._fields[int(rng.integers(len(Instruction._fields)))]
        if field == "constant" and self._space.ephemeral is not None:
            value = instruction.constant
            step = 0.3 * float(rng.standard_normal()) * (abs(value) + 0.1)
            return instruction._replace(constant=value + step)
        return instruction._replace(**{field: getattr(self._instruction(rng), field)})
