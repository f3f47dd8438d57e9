"""Count what a life takes under a rule, and how much code it becomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import phases as ph
from evosearch.engine.contract import BLOCK
from evosearch.engine.lifetime import Lifetime
from evosearch.engine.native.program import COSTLY, EXPANSIONS
from evosearch.engine.program import Program, Section

FUNCTION_CODE = 30
"""Instructions of an elementary function, about."""


@dataclass(frozen=True)
class Work:
    """What one life of one group of draws takes, counted, not timed.

    Attributes:
        calls: runs of a loop over values.
        values: arithmetic results.
        functions: results of elementary functions.
        products: terms of matrix products.
        code: instructions that a compiler writes for it.
    """

    calls: float
    values: float
    functions: float
    products: float
    code: float

    @property
    def counts(self) -> tuple[float, ...]:
        """One life, and the four counts of running it."""
        return 1.0, self.calls, self.values, self.functions, self.products


def work_of(life: Lifetime, program: Program) -> Work:
    """Count what a life takes under a rule."""
    if "work" not in life.cache:
        life.cache["work"] = _life_work(life)
    fixed, rules = life.cache["work"]
    total = list(fixed)
    for times, n_out, n_in in rules:
        part = _rule_work(program, n_out, n_in, life.lanes)
        for k in range(4):
            total[k] += times * part[k]
        total[4] += part[4]
    return Work(*total)


def bounds_of(life: Lifetime, n: int) -> tuple[tuple[float, ...], float]:
    """Return the most that a life takes under rules of n instructions, and their least code."""
    known = life.cache.setdefault("bounds", {})
    if n not in known:
        if "work" not in life.cache:
            life.cache["work"] = _life_work(life)
        fixed, rules = life.cache["work"]
        total = list(fixed)
        for times, n_out, n_in in rules:
            calls, values, _, _, code = _rule_base(n_out, n_in, life.lanes)
            synapses = n_out * n_in * life.lanes
            total[0] += times * calls * (1 + n)
            total[1] += times * (values + n * synapses)
            total[2] += times * n * synapses
            total[4] += code
        known[n] = ((1.0, *total[:4]), total[4])
    return known[n]


def _life_work(life: Lifetime) -> tuple[list[float], list[tuple[float, int, int]]]:
    """Count what does not depend on the rule; list how often it is applied to which layer."""
    total = np.zeros(5)
    rules: list[tuple[float, int, int]] = []
    for row, times in ph.repeated(life.phases):
        op, a, _, c, d, e, f = row[: ph.ROW]
        if op == ph.RULE:
            matrix = life.sites[a].matrix
            rules.append((float(times * f), matrix.n_out, matrix.n_in))
        else:
            part = _phase_work(life, op, a, c, d, e, f)
            total[:4] += times * part[:4]
            total[4] += part[4]
    return total.tolist(), rules


def _phase_work(
    life: Lifetime, op: int, a: int, c: int, d: int, e: int, f: int
) -> NDArray[np.float64]:
    lanes = life.lanes
    if op in (ph.MATVEC, ph.MATVEC_T, ph.OUTER):
        size = 20 if lanes == 1 else 4 * min(d * e, 64)
        return np.array([d * f, 0, 0, d * e * f * lanes, size])
    if op == ph.BIAS:
        return np.array([f, d * f * lanes, 0, 0, 20])
    if op == ph.MAP:
        ops = life.maps[a].program.code[:, 0].tolist()
        n_functions = sum(op in COSTLY for op in ops)
        n, copies = c * lanes, min(c, 16) if lanes > 1 else 1
        size = copies * (3 + len(ops) + FUNCTION_CODE * n_functions)
        return np.array([1 + len(ops), n * len(ops), n * n_functions, 0, size])
    return np.array([1, c * lanes, 0, 0, 10])


def _rule_work(program: Program, n_out: int, n_in: int, lanes: int) -> list[float]:
    row, synapses = n_in * lanes, n_out * n_in * lanes
    sizes = (lanes, row, n_out * lanes, synapses, synapses)
    copies = _copies(n_out, n_in, lanes)
    calls, values, functions, _, code = _rule_base(n_out, n_in, lanes)
    blocks = calls / 3
    ops, start = program.code[:, 0].tolist(), 0
    for section, (size, end) in enumerate(zip(sizes, program.section_end.tolist(), strict=True)):
        n_here = n_functions = 0
        for op in ops[start:end]:
            n_here += op not in EXPANSIONS
            n_functions += op in COSTLY
        start = end
        if n_here:
            is_synapse = section >= Section.TILE
            calls += n_here * (blocks if is_synapse else 1)
            values += n_here * size
            functions += n_functions * size
            code += (n_here + FUNCTION_CODE * n_functions) * (copies if is_synapse else 1)
    return [calls, values, functions, 0.0, code]


def _rule_base(n_out: int, n_in: int, lanes: int) -> list[float]:
    """Count what a rule without instructions takes."""
    row, synapses = n_in * lanes, n_out * n_in * lanes
    blocks = -(-synapses // (BLOCK // row * row or BLOCK))
    return [3.0 * blocks, 4.0 * synapses, 0.0, 0.0, 10.0 + 12.0 * _copies(n_out, n_in, lanes)]


def _copies(n_out: int, n_in: int, lanes: int) -> int:
    """Return how often a synapse's instructions are written."""
    return min(n_out * n_in, 32) if lanes > 1 else 1
