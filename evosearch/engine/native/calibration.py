"""Measure this machine once: how long counted work takes in each tier, and how long to compile."""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.cache import FOLDER
from evosearch.engine.lifetime import Lifetime
from evosearch.engine.native.work import work_of
from evosearch.engine.program import Program
from evosearch.engine.sample import TERMINALS, layer_life

if TYPE_CHECKING:
    from evosearch.engine.native.compiler import Compiler

Live: TypeAlias = Callable[[Lifetime, Sequence[Program], str], object]
"""Runs the lives of programs in a tier."""

logger = logging.getLogger(__name__)

SHAPES = ((1, 3, 64), (1, 6, 32), (2, 4, 32), (8, 16, 1), (32, 64, 1), (64, 300, 1))
RULES = (
    "post*(pre - 0.5*post*w)",
    "pre*(w + 2*post)/(w - pre) + post*w*w - 1/w",
    "tanh(w*post)*pre - exp(w*pre)",
)
SYNAPSES_A_LIFE = 2e5
N_LIVES = (1, 5)
N_COMPILED = (1, 5)
TIME_NAMES = ("interpreter", "level0", "level1")


@dataclass(frozen=True)
class Coefficients:
    """Seconds a unit of work: life, call, value, function and product for each tier.

    Attributes:
        interpreter: five numbers.
        level0: five numbers.
        level1: five numbers.
        compile0: seconds a module, a function and an instruction, at level 0.
        compile1: the same at level 1.
        shared: seconds that the part of a life takes to compile that rules share at level 0.
    """

    interpreter: tuple[float, ...]
    level0: tuple[float, ...]
    level1: tuple[float, ...]
    compile0: tuple[float, ...]
    compile1: tuple[float, ...]
    shared: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        lengths = {**dict.fromkeys(TIME_NAMES, 5), "compile0": 3, "compile1": 3, "shared": 1}
        for name, length in lengths.items():
            numbers = getattr(self, name)
            if len(numbers) != length or not all(
                isinstance(x, float) and 0 <= x < math.inf for x in numbers
            ):
                raise ValueError(f"{name} needs {length} numbers of at least 0, found {numbers}")

    def interpreter_time(self, counts: tuple[float, ...]) -> float:
        """Return the seconds of one life in the interpreter."""
        return sum(map(mul, counts, self.interpreter))

    def native_time(self, counts: tuple[float, ...], level: int) -> float:
        """Return the seconds of one life in machine code."""
        return sum(map(mul, counts, self.level1 if level else self.level0))

    def module_time(self, level: int) -> float:
        """Return the seconds that a batch of rules takes to compile beside the rules' own."""
        return (self.compile1 if level else self.compile0)[0]

    def compile_time(self, code: float, level: int) -> float:
        """Return the seconds that a rule takes to compile."""
        _, function, instruction = self.compile1 if level else self.compile0
        return function + instruction * code


def coefficients(live: Live) -> Coefficients:
    """Return this machine's coefficients: those kept, or measured now where none fit."""
    path = FOLDER / "tiers.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Coefficients(**{name: tuple(numbers) for name, numbers in stored.items()})
    except FileNotFoundError:
        logger.info("measuring how fast this machine compiles and runs rules: once, about 4 s")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        logger.info("measuring this machine anew: %s is damaged (%s)", path.name, error)
    measured = measure(live)
    _write(path, measured)
    return measured


def _write(path: Path, measured: Coefficients) -> None:
    """Put the file in place whole, so that another process never reads half of it."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(measured), file)
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise
    except OSError as error:
        logger.info("the measurement could not be kept (%s)", error)


def measure(live: Live) -> Coefficients:
    """Time a few small lives in every tier and fit the coefficients, all at least 0."""
    counts: list[tuple[float, ...]] = []
    shared: list[float] = []
    sizes: list[NDArray[np.float64]] = []
    times: dict[str, list[float]] = {name: [] for name in TIME_NAMES}
    compile_times: tuple[list[float], list[float]] = ([], [])
    compilers = [_warm_compiler(level) for level in (0, 1)]
    for shape in SHAPES:
        life = _life(*shape)
        # What rules share is compiled with the first of them.
        first, second = (
            _seconds_of(compilers[0].compile, life, [_program(t)]) for t in ("w*pre", "w*post")
        )
        if compilers[0].has_shared(life):
            shared.append(max(first - second, 0.0))
        for text in RULES:
            program = _program(text)
            counts.append(work_of(life, program).counts)
            for name, tier in zip(TIME_NAMES, ("interpreter", "native", "native-1"), strict=True):
                times[name].append(_life_time(live, life, program, tier))
            for n in N_COMPILED:
                several = [_program(f"{text} - pre" + " + post" * k) for k in range(n)]
                codes = [work_of(life, one).code for one in several]
                sizes.append(np.array([1.0, n, sum(codes)]))
                for seconds, compiler in zip(compile_times, compilers, strict=True):
                    seconds.append(_seconds_of(compiler.compile, life, several))
    runs = {name: _fit(np.array(counts), np.array(times[name])) for name in TIME_NAMES}
    compiles = [_fit(np.array(sizes), np.array(seconds)) for seconds in compile_times]
    return Coefficients(
        **runs, compile0=compiles[0], compile1=compiles[1], shared=(float(np.median(shared)),)
    )


def _seconds_of(function: Callable[..., object], *operands: object) -> float:
    """Return processor time, which other programs on the machine lengthen least."""
    start = time.thread_time()
    function(*operands)
    return time.thread_time() - start


def _warm_compiler(level: int) -> Compiler:
    from evosearch.engine.native.compiler import Compiler

    compiler = Compiler(level)
    compiler.compile(_life(*SHAPES[0]), [_program("w")])
    return compiler


def _life_time(live: Live, life: Lifetime, program: Program, tier: str) -> float:
    """Return the seconds of one life, without what a call costs whatever it lives."""
    few, many = (_least_time(lambda n=n: live(life, [program] * n, tier)) for n in N_LIVES)
    return max(many - few, 0.01 * many) / (N_LIVES[1] - N_LIVES[0])


def _least_time(function: Callable[[], object], repeats: int = 3) -> float:
    function()
    return min(_seconds_of(function) for _ in range(repeats))


def _fit(counts: NDArray[np.float64], seconds: NDArray[np.float64]) -> tuple[float, ...]:
    """Return non-negative coefficients with the least relative errors."""
    from scipy.optimize import nnls

    solution, _ = nnls(counts / seconds[:, None], np.ones(len(seconds)))
    return tuple(float(x) for x in solution)


def _life(n_out: int, n_in: int, n_draws: int) -> Lifetime:
    steps = max(8, int(SYNAPSES_A_LIFE / (n_out * n_in * n_draws)))
    return layer_life(n_out, n_in, steps, n_draws)


def _program(text: str) -> Program:
    from evosearch.rules.lower import lower
    from evosearch.rules.parser import parse

    return lower(parse(text), TERMINALS)
