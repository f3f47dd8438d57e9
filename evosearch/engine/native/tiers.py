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

from evosearch.engine.lifetime import Lifetime
from evosearch.engine.native.calibration import Coefficients, Live, coefficients
from evosearch.engine.native.compiler import Native, compiler, structure
from evosearch.engine.native.work import Work, bounds_of, work_of
from evosearch.engine.program import Program

MAX_REMEMBERED = 100_000
"""Structures of which the model knows how often they were lived already."""


LEAST_GAIN = 1.1
"""What compiling must promise: its cost is known worse than that of lives, and is for good."""


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
        shared = self._shared_time(life) / len(one)
        for key, program in one.items():
            seen = self._seen(key, lives[key])
            if not self._is_short(life, program, key, seen):
                level = self._level(key, work_of(life, program), seen, shared)
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
        shared = self._shared_time(life) if level == 0 else 0.0
        start = time.thread_time()
        found = compiler(level).compile(life, list(wanted.values()))
        if new:
            expected = (
                shared
                + self.model.module_time(level)
                + sum(
                    self.model.compile_time(work_of(life, program).code, level) for program in new
                )
            )
            ratio = min(max((time.thread_time() - start) / max(expected, 1e-6), 0.1), 10.0)
            with self._lock:
                self._slowness[level] += 0.25 * (ratio - self._slowness[level])
        return found

    def _shared_time(self, life: Lifetime) -> float:
        """Return the seconds that what rules share takes to compile, 0 where it was before."""
        is_shared = life.lanes == 1 and len(life.sites) == 1 and not compiler(0).has_shared(life)
        return self._slowness[0] * self.model.shared[0] if is_shared else 0.0

    def _seen(self, key: bytes, n_lives: int) -> int:
        """Remember lives of a structure; return all that were lived."""
        with self._lock:
            if len(self._lived) > MAX_REMEMBERED:
                self._lived.clear()
            self._lived[key] += n_lives
            return self._lived[key]

    def _is_short(self, life: Lifetime, program: Program, key: bytes, seen: int) -> bool:
        """Whether the lives are over before any rule of this length could be compiled.

        It is a bound, kept for each length: counting a rule's work takes as long as short lives.
        """
        if compiler(0).knows(key) or compiler(1).knows(key):
            return False
        most, least_code = bounds_of(life, len(program.code))
        compiling = min(
            slowness * self.model.compile_time(least_code, level)
            for level, slowness in enumerate(self._slowness)
        )
        return seen * self.model.interpreter_time(most) <= compiling

    def _level(self, key: bytes, work: Work, seen: int, shared: float) -> int | None:
        """Return the code generation level that is fastest, None for the interpreter.

        ``seen`` is how often the structure was lived, ``shared`` a rule's part of the time that
        what rules share takes to compile.
        """
        model, counts = self.model, work.counts
        if compiler(1).knows(key):
            return 1
        # What was lived before will likely be lived again as often.
        interpreter = seen * model.interpreter_time(counts)
        if compiler(0).knows(key):
            zero = seen * model.native_time(counts, 0)
        else:
            zero = self._slowness[0] * model.compile_time(work.code, 0) + shared
            if interpreter <= zero < self._slowness[1] * model.compile_time(work.code, 1):
                return None
            zero += seen * model.native_time(counts, 0)
        one = seen * model.native_time(counts, 1)
        one += self._slowness[1] * model.compile_time(work.code, 1)
        if interpreter <= LEAST_GAIN * min(zero, one):
            return None
        return 0 if zero <= one else 1


_choice: TierChoice | None = None
_choice_lock = threading.Lock()


def choose(
    life: Lifetime, programs: Sequence[Program], tier: str, live: Live
) -> list[Native | None]:
    """Return the compiled lives of programs, None for those that the interpreter lives.

    Args:
        life: the life.
        programs: P rules.
        tier: ``"auto"``, or ``"native"`` and ``"native-1"`` for all rules at that level.
        live: runs lives, by which the machine is measured where it was not yet.
    """
    if tier != "auto":
        found = compiler(1 if tier == "native-1" else 0).compile(life, programs)
        return [found[structure(life, program)] for program in programs]
    global _choice
    with _choice_lock:
        if _choice is None:
            _choice = TierChoice(coefficients(live))
    return _choice.choose(life, programs)
