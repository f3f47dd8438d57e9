"""What compilation costs, and whether the automatic choice of a tier pays."""

from __future__ import annotations

import time
from collections.abc import Sequence

import llvmlite.binding as llvm
import numpy as np
from common import Detail, Record, Row, smaller

from evosearch.bench.workload import ETA, Workload, make_workload
from evosearch.engine.native import tiers
from evosearch.engine.native.compiler import Compiler, compiler, structure
from evosearch.engine.native.machine import target_machine
from evosearch.engine.program import Program
from evosearch.engine.run import Tier, run_lifetimes
from evosearch.engine.sample import TERMINALS
from evosearch.rules import lower as lower_module

SIZES = ((32, 64, 1), (8, 16, 1), (128, 256, 1), (256, 784, 1), (1, 3, 64), (2, 4, 64))
AUTO_SIZES = ((32, 64, 1), (8, 16, 1), (1, 3, 64))
N_LIVES = (1, 3, 10, 100)
TIERS: tuple[Tier, ...] = ("interpreter", "native", "native-1", "auto")


def compiling() -> Record:
    """Milliseconds a rule, a batch of rules in one module."""
    rows, lines = [], []
    for n_out, n_in, n_draws in SIZES:
        n_rules = smaller(256 if (n_out, n_in) == (32, 64) else 64)
        work = make_workload(n_out, n_in, n_draws=n_draws, n_rules=n_rules, steps=10)
        times = {level: [_compile_ms(work, level) for _ in range(5)] for level in (0, 1)}
        medians = [float(np.median(times[level])) for level in (0, 1)]
        lines.append((f"{n_out}x{n_in}, draws: {n_draws}", n_rules, *medians))
        if (n_out, n_in) == (32, 64):
            text = f"{medians[0]:.2f} ms (level 1: {medians[1]:.2f} ms)"
            rows.append(Row("compile time per rule, W 32x64", "≤ 1 ms at level 0", text,
                            medians[0] <= 1))  # fmt: skip
    columns = ("layer", "rules", "level 0, ms a rule", "level 1, ms a rule")
    details = [Detail("Compilation", columns, lines), _phase_detail()]
    return Record(rows, details)


def _phase_detail() -> Detail:
    """Return where the time of level 0 goes, and what a rule costs before it is compiled."""
    rows: list[Sequence[object]] = []
    names: list[str] = []
    for n_out, n_in, n_draws in ((32, 64, 1), (8, 16, 1), (1, 3, 64), (2, 4, 64)):
        work = make_workload(n_out, n_in, n_draws=n_draws, n_rules=smaller(64), steps=10)
        turns = [_phases(work) for _ in range(5)]
        medians = (float(np.median([turn[name] for turn in turns])) for name in turns[0])
        rows.append((f"{n_out}x{n_in}, draws: {n_draws}", len(work.programs), *medians))
        names = list(turns[0])
    return Detail("Phases of level 0, ms a rule", ("layer", "rules", *names), rows)


def _phases(work: Workload) -> dict[str, float]:
    """Return milliseconds a rule; what rules share is compiled once and counted apart."""
    fresh, life = Compiler(0), work.life
    other = make_workload(1, 3, n_draws=1, n_rules=1, steps=7)
    fresh.compile(other.life, other.programs)
    clock, found = time.process_time, {}
    lower_module._kept.clear()
    start = clock()
    programs = [lower_module.lower(rule, TERMINALS) for rule in work.rules]
    found["lowering"] = clock() - start
    start = clock()
    keys = [structure(life, program) for program in programs]
    found["key"] = clock() - start
    start = clock()
    fresh._part(life, programs[0], "first")
    found["what rules share"] = clock() - start
    start = clock()
    writers = [
        fresh._part(life, program, f"rule_{key.hex()}").writer
        for key, program in dict(zip(keys, programs, strict=True)).items()
    ]
    texts = [writer.write() for writer in writers]
    declarations = set().union(*(writer.w.declarations for writer in writers))
    text = "\n".join([*sorted(declarations), *texts])
    found["text"] = clock() - start
    start = clock()
    module = llvm.parse_assembly(text)
    found["parsing"] = clock() - start
    start = clock()
    code = fresh._machine.emit_object(module)
    found["code generation"] = clock() - start
    start = clock()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine(0))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    found["linking"] = clock() - start
    return {name: 1e3 * seconds / len(programs) for name, seconds in found.items()}


def _compile_ms(work: Workload, level: int) -> float:
    other = make_workload(1, 3, n_draws=1, n_rules=1, steps=7)
    fresh = Compiler(level)
    fresh.compile(other.life, other.programs)
    start = time.process_time()
    fresh.compile(work.life, work.programs)
    return 1e3 * (time.process_time() - start) / len(work.programs)


def automatic() -> Record:
    """Every rule compiled and run for a few lifetimes, nothing known before."""
    rows, lines = [], []
    for n_out, n_in, n_draws in AUTO_SIZES:
        work = make_workload(
            n_out, n_in, n_draws=n_draws, n_rules=smaller(32), steps=smaller(500, 10)
        )
        ratios = []
        for n_lives in N_LIVES:
            seconds = _cold_seconds(work, n_lives, turns=7 if n_lives < 100 else 3)
            best = min(seconds[tier] for tier in TIERS[:-1])
            ratios.append(seconds["auto"] / best)
            times = (1e3 * seconds[tier] / len(work.programs) for tier in TIERS)
            lines.append((f"{n_out}x{n_in}, draws: {n_draws}", n_lives, *times, ratios[-1]))
        text = ", ".join(f"{n}: {r:.2f}" for n, r in zip(N_LIVES, ratios, strict=True))
        rows.append(
            Row(f"each rule compiled and run for 1, 3, 10, 100 lifetimes, W {n_out}x{n_in}, "
                f"draws: {n_draws}, T=500", "auto ≤ 1.1 × the time of the best tier at each",
                text, max(ratios) <= 1.1)
        )  # fmt: skip
    columns = ("layer", "lifetimes a rule", *(f"{tier}, ms a rule" for tier in TIERS), "auto/best")
    return Record(rows, [Detail("Automatic choice", columns, lines)])


def _cold_seconds(work: Workload, n_lives: int, turns: int) -> dict[str, float]:
    """Return the median seconds of each tier, the compilers emptied before each time."""
    programs = [program for program in work.programs for _ in range(n_lives)]
    seconds: dict[str, list[float]] = {tier: [] for tier in TIERS}
    for _ in range(turns):
        for tier in TIERS:
            _forget()
            seconds[tier].append(_seconds(work, programs, tier))
    return {tier: float(np.median(values)) for tier, values in seconds.items()}


def _seconds(work: Workload, programs: Sequence[Program], tier: Tier) -> float:
    start = time.process_time()
    run_lifetimes(work.life, programs, ETA, tier=tier)
    return time.process_time() - start


def _forget() -> None:
    """Empty the compilers and what the choice remembers; set the compilers up again."""
    compiler.cache_clear()
    if tiers._choice is not None:
        tiers._choice = tiers.TierChoice(tiers._choice.model)
    other = make_workload(1, 3, n_draws=1, n_rules=1, steps=7)
    for level in (0, 1):
        compiler(level).compile(other.life, other.programs)
