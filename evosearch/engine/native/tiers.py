"""Which rules are compiled: those whose lives cost more than their compilation.

A cost model says how long a life takes in each tier and how long a rule takes to compile. Its
coefficients are measured on the machine once and kept beside the compiled engine. What it decides
is never visible in results.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import phases as ph
from evosearch.engine.contract import BLOCK
from evosearch.engine.lifetime import Lifetime
from evosearch.engine.native.calibration import Coefficients, coefficients
from evosearch.engine.native.compiler import Native, compiler, structure
from evosearch.engine.native.program import COSTLY, EXPANSIONS
from evosearch.engine.program import Program, Section

FUNCTION_CODE = 30
"""Instructions of an elementary function, about."""

MAX_REMEMBERED = 100_000
"""Structures of which the model knows how often they were lived already."""


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
    def counts(self) -> NDArray[np.float64]:
        """One life, and the four counts of running it."""
        return np.array([1.0, self.calls, self.values, self.functions, self.products])


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


def _life_work(life: Lifetime) -> tuple[list[float], list[tuple[float, int, int]]]:
    """Count what does not depend on the rule; list how often it is applied to which layer."""
    total, rules, loops = np.zeros(5), [], [1.0]
    for op, a, _, c, d, e, f in life.phases[:, : ph.ROW].tolist():
        if op == ph.REPEAT:
            loops.append(loops[-1] * a)
        elif op == ph.REPEAT_END:
            loops.pop()
        elif op == ph.RULE:
            matrix = life.sites[a].matrix
            rules.append((loops[-1] * f, matrix.n_out, matrix.n_in))
        else:
            part = _phase_work(life, op, a, c, d, e, f)
            total[:4] += loops[-1] * part[:4]
            total[4] += part[4]
    return total.tolist(), rules


def _phase_work(
    life: Lifetime, op: int, a: int, c: int, d: int, e: int, f: int
) -> NDArray[np.float64]:
    lanes = life.lanes
    if op in (ph.MATVEC, ph.MATVEC_T, ph.OUTER):
        size = 20 if lanes == 1 else 4 * min(d * e, 64)
        return np.array([d * f, 0, 0, d * e * f * lanes, size])
    if op == ph.MAP:
        ops = life.maps[a].program.code[:, 0].tolist()
        n_functions = sum(op in COSTLY for op in ops)
        n, copies = c * lanes, min(c, 16) if lanes > 1 else 1
        size = copies * (3 + len(ops) + FUNCTION_CODE * n_functions)
        return np.array([1 + len(ops), n * len(ops), n * n_functions, 0, size])
    return np.array([1, c * lanes, 0, 0, 10])


def _rule_work(program: Program, n_out: int, n_in: int, lanes: int) -> list[float]:
    row, synapses = n_in * lanes, n_out * n_in * lanes
    blocks = -(-synapses // (BLOCK // row * row or BLOCK))
    sizes = (lanes, row, n_out * lanes, synapses, synapses)
    copies = min(n_out * n_in, 32) if lanes > 1 else 1
    calls, values, functions, code = 3.0 * blocks, 4.0 * synapses, 0.0, 10.0 + 12.0 * copies
    ops, ends = program.code[:, 0].tolist(), [0, *program.section_end.tolist()]
    for section, size in enumerate(sizes):
        here = [op for op in ops[ends[section] : ends[section + 1]] if op not in EXPANSIONS]
        n_functions = sum(op in COSTLY for op in here)
        is_synapse = section >= Section.TILE
        calls += len(here) * (blocks if is_synapse else 1)
        values += len(here) * size
        functions += n_functions * size
        code += (len(here) + FUNCTION_CODE * n_functions) * (copies if is_synapse else 1)
    return [calls, values, functions, 0.0, code]


class TierChoice:
    """Decides rule by rule, and remembers how often a structure was lived."""

    def __init__(self, model: Coefficients) -> None:
        self.model = model
        self._lived: Counter[bytes] = Counter()
        self._slowness = [1.0, 1.0]
        self._lock = threading.Lock()

    def choose(self, life: Lifetime, programs: Sequence[Program]) -> list[Native | None]:
        """Return the compiled lives of the programs that are worth it."""
        distinct = {id(program): program for program in programs}
        key_of = {name: structure(life, program) for name, program in distinct.items()}
        one = {key_of[name]: program for name, program in distinct.items()}
        keys = [key_of[id(program)] for program in programs]
        groups = -(-life.n_draws // life.lanes)
        lives = {key: n * groups for key, n in Counter(keys).items()}
        chosen: dict[int, dict[bytes, Program]] = {0: {}, 1: {}}
        for key, program in one.items():
            level = self._level(key, work_of(life, program), lives[key])
            if level is not None:
                chosen[level][key] = program
        found: dict[bytes, Native | None] = {}
        for level, wanted in chosen.items():
            if wanted:
                found |= self._compile(life, wanted, level)
        return [found.get(key) for key in keys]

    def _compile(
        self, life: Lifetime, wanted: dict[bytes, Program], level: int
    ) -> dict[bytes, Native | None]:
        """Compile rules, and learn from how long it takes: machines are busy at times."""
        new = [p for key, p in wanted.items() if not compiler(level).knows(key)]
        start = time.perf_counter()
        found = compiler(level).compile(life, list(wanted.values()))
        if new:
            expected = self.model.module_time(level) + sum(
                self.model.compile_time(work_of(life, program).code, level) for program in new
            )
            ratio = min(max((time.perf_counter() - start) / max(expected, 1e-6), 0.1), 10.0)
            with self._lock:
                self._slowness[level] += 0.25 * (ratio - self._slowness[level])
        return found

    def _level(self, key: bytes, work: Work, n_lives: int) -> int | None:
        """Return the code generation level that is fastest, None for the interpreter."""
        with self._lock:
            if len(self._lived) > MAX_REMEMBERED:
                self._lived.clear()
            self._lived[key] += n_lives
            seen = self._lived[key]
        model = self.model
        if compiler(1).knows(key):
            return 1
        is_known = compiler(0).knows(key)
        # What was lived before will likely be lived again as often.
        times = {
            None: seen * model.interpreter_time(work.counts),
            0: seen * model.native_time(work.counts, 0)
            + (0.0 if is_known else self._slowness[0] * model.compile_time(work.code, 0)),
            1: seen * model.native_time(work.counts, 1)
            + self._slowness[1] * model.compile_time(work.code, 1),
        }
        return min(times, key=lambda level: times[level])


_choice: TierChoice | None = None
_choice_lock = threading.Lock()


def choose(life: Lifetime, programs: Sequence[Program], tier: str) -> list[Native | None]:
    """Return the compiled lives of programs, None for those that the interpreter lives.

    Args:
        life: the life.
        programs: P rules.
        tier: ``"auto"``, or ``"native"`` and ``"native-1"`` for all rules at that level.
    """
    if tier != "auto":
        found = compiler(1 if tier == "native-1" else 0).compile(life, programs)
        return [found[structure(life, program)] for program in programs]
    global _choice
    with _choice_lock:
        if _choice is None:
            _choice = TierChoice(coefficients())
    return _choice.choose(life, programs)
