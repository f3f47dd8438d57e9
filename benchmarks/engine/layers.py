"""Lives on one layer in every tier, beside NumPy and the limits of the core."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from common import Detail, Record, Row, cores, smaller
from library_calls import library_calls

from evosearch.bench.roofline import Roofline, measure_roofline
from evosearch.bench.rows import CHECKED, COLUMNS, BenchRow, bench_table, engines, measure
from evosearch.bench.timing import interleaved
from evosearch.bench.workload import ETA, FUNCTION_SHARE, Workload, make_workload
from evosearch.engine.native.compiler import compiler
from evosearch.engine.run import Tier, run_lifetimes

# (n_out, n_in, rules, steps, least ratio of native code and of the interpreter, turns)
LAYERS = (
    (32, 64, 256, 500, 25, 8, 5),
    (8, 16, 256, 500, 120, 30, 5),
    (128, 256, 256, 50, 5, None, 5),
    (256, 784, 64, 50, 5, None, 5),
)
NETWORKS = ((1, 3, "oja_pc1"), (1, 6, "delta_rule"), (2, 4, "switching_cue"))
N_DRAWS = (16, 64)


def layers() -> Record:
    """Random rules of nine nodes on layers from 8x16 to 256x784."""
    roofline, rows, measured = measure_roofline(), [], []
    for n_out, n_in, n_rules, steps, native, interpreter, turns in LAYERS:
        n_rules, steps = smaller(n_rules), smaller(steps, 10)
        work = make_workload(n_out, n_in, n_draws=1, n_rules=n_rules, steps=steps)
        found = measure(work, roofline, "+ - * /", repeats=turns)
        measured += found
        name = f"{n_rules} random 9-node rules, W {n_out}x{n_in}, T={steps}, float32, run only"
        rows.append(_native_row(name, found, native))
        if interpreter is not None:
            ratio = _engine(found, "interpreter").vs_numpy_checked
            bare = _engine(found, "interpreter").vs_numpy
            rows.append(
                Row("the same", f"interpreter ≥ {interpreter} ×",
                    f"{ratio:.1f} × (bare {bare:.1f} ×)", ratio >= interpreter)
            )  # fmt: skip
    return Record(rows, [_detail("Layers", measured, roofline)], [_roofline_note(roofline)])


def networks() -> Record:
    """The sizes of the shipped problems, many draws side by side."""
    roofline, rows, measured = measure_roofline(), [], []
    for n_out, n_in, problem in NETWORKS:
        for n_draws in N_DRAWS:
            work = make_workload(
                n_out, n_in, n_draws=n_draws, n_rules=smaller(64), steps=smaller(500, 10)
            )
            found = measure(work, roofline, "+ - * /", repeats=5)
            measured += found
            best = _best(found)
            of_bound = best.g_updates_per_s / _updates_per_s(work, roofline)
            rows.append(
                Row(f"networks {n_out}x{n_in} ({problem}), {n_draws} draws, 64 rules, T=500",
                    "native ≥ 100 × NumPy batched over draws",
                    f"{best.vs_numpy_checked:.0f} × (bare {best.vs_numpy:.0f} ×), "
                    f"{best.lifetimes_per_s:,.0f} lifetimes/s, {of_bound:.0%} of the "
                    "arithmetic bound",
                    best.vs_numpy_checked >= 100)
            )  # fmt: skip
    return Record(rows, [_detail("Networks", measured, roofline)])


def functions() -> Record:
    """Rules with tanh and exp: native code, the interpreter, and it with library calls."""
    work = make_workload(
        32, 64, n_draws=1, n_rules=smaller(64), steps=smaller(500, 10),
        function_share=FUNCTION_SHARE,
    )  # fmt: skip
    lived_by = engines(work)
    with library_calls() as run_with_library:
        library = "interpreter, library calls"
        lived_by[library] = lambda: run_with_library(lambda: work.run("interpreter"))
        lived_by[library]()
        times = interleaved(lived_by, 5)
    native = max(times.ratio(library, "native 0"), times.ratio(library, "native 1"))
    own = times.ratio(library, "interpreter")
    name = f"{FUNCTION_SHARE:.0%} tanh/exp, 64 rules of 9 nodes, W 32x64, T=500"
    rows = [
        Row(name, "native ≥ 4 × the interpreter with library calls", f"{native:.1f} ×",
            native >= 4),
        Row("the same", "interpreter ≥ 2.5 × itself with library calls", f"{own:.1f} ×",
            own >= 2.5),
    ]  # fmt: skip
    lines = [
        (engine, work.n_lifetimes / times.median(engine), times.ratio(library, engine))
        for engine in lived_by
    ]
    columns = ("engine", "lifetimes/s", "x interpreter, library calls")
    return Record(rows, [Detail("Functions", columns, lines)])


def threads() -> Record:
    """Two threads over one, on two cores: chunks of rules, as a run cuts them."""
    work = make_workload(32, 64, n_draws=4, n_rules=smaller(256), steps=smaller(500, 10))
    compiler(0).compile(work.life, work.programs)
    rows = []
    with cores(2):
        tiers: tuple[Tier, ...] = ("native", "interpreter")
        for tier in tiers:
            times = interleaved(
                {
                    "one": partial(_in_threads, work, tier, 1),
                    "two": partial(_in_threads, work, tier, 2),
                },
                7,
                is_one_core=False,
            )
            ratio = times.ratio("one", "two")
            name = f"two threads over one, {tier}, 256 rules x 4 draws, W 32x64, T=500"
            rows.append(Row(name, "≥ 1.9 ×", f"{ratio:.2f} ×", ratio >= 1.9))
    return Record(rows)


def _in_threads(work: Workload, tier: Tier, n_threads: int) -> None:
    parts = np.array_split(np.arange(len(work.programs)), 8)

    def live(part: np.ndarray) -> None:
        run_lifetimes(work.life, [work.programs[k] for k in part], ETA, tier=tier)

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(live, parts))


def _engine(rows: list[BenchRow], name: str) -> BenchRow:
    return next(row for row in rows if row.engine == name)


def _best(rows: list[BenchRow]) -> BenchRow:
    """Return the faster level of native code."""
    levels = [row for row in rows if row.engine.startswith("native")]
    return max(levels, key=lambda row: row.vs_numpy_checked)


def _native_row(name: str, rows: list[BenchRow], asked: float) -> Row:
    zero, one, best = _engine(rows, "native 0"), _engine(rows, "native 1"), _best(rows)
    text = (
        f"level 0 {zero.vs_numpy_checked:.1f} × (bare {zero.vs_numpy:.1f} ×), level 1 "
        f"{one.vs_numpy_checked:.1f} × ({one.vs_numpy:.1f} ×); {best.of_roofline:.0%} of the "
        "roofline"
    )
    return Row(name, f"native ≥ {asked} ×", text, best.vs_numpy_checked >= asked)


def _updates_per_s(work: Workload, roofline: Roofline) -> float:
    """Return the G updates/s that the arithmetic of a workload allows."""
    updates = work.n_lifetimes * work.life.n_rule_applications * work.n_out * work.n_in
    return updates / roofline.arithmetic_time(work) / 1e9


def _detail(title: str, rows: list[BenchRow], roofline: Roofline) -> Detail:
    return Detail(title, COLUMNS, bench_table(rows, roofline).rows)


def _roofline_note(roofline: Roofline) -> str:
    return (
        f"Limits of {roofline}. The roofline of a workload is the larger of two times: that of "
        "its arithmetic, each result an unfused vector instruction, its divisions apart; and "
        "that of reading and writing each weight once a step where the weights lie. Against "
        f"*{CHECKED}*, the same clip and finiteness check; *bare* is without them."
    )
