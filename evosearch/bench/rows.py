"""The table of the command: network x function set x engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evosearch.bench.baseline import NumpyLives
from evosearch.bench.roofline import Roofline, measure_roofline
from evosearch.bench.timing import Times, interleaved, one_blas_thread
from evosearch.bench.workload import FUNCTION_SHARE, Workload, make_workload
from evosearch.engine.native.compiler import Compiler, compiler
from evosearch.engine.run import Tier
from evosearch.tables import Table

BARE, CHECKED = "NumPy", "NumPy + clip"
TIERS: dict[str, Tier] = {
    "interpreter": "interpreter",
    "native 0": "native",
    "native 1": "native-1",
}
# (n_out, n_in, draws, rules, steps): about half a second of NumPy each.
NETWORKS = (
    (1, 3, 32, 32, 500),
    (8, 16, 1, 32, 500),
    (32, 64, 1, 32, 500),
    (128, 256, 1, 32, 100),
    (256, 784, 1, 16, 50),
)
FUNCTION_SETS = {"+ - * /": 0.0, f"{FUNCTION_SHARE:.0%} tanh exp": FUNCTION_SHARE}
COLUMNS = (
    "network", "functions", "engine", "lifetimes/s", "G updates/s", "x NumPy + clip", "x NumPy",
    "x interpreter", "% of roofline", "compile ms",
)  # fmt: skip


@dataclass(frozen=True)
class BenchRow:
    """One line of the table: an engine on a network.

    Attributes:
        network: the layer, and the draws side by side where there are several.
        functions: the function set that rules are drawn from.
        engine: tier or baseline, on one core; or torch on a device.
        lifetimes_per_s: whole lives of one rule on one draw, compilation left out.
        g_updates_per_s: weight changes, in 10^9 a second.
        vs_numpy_checked: how many times as fast as NumPy with the same clip and finiteness check.
        vs_numpy: the same to NumPy without them.
        vs_interpreter: the same to the interpreter.
        of_roofline: share of what this core could at best do.
        compile_ms: milliseconds that a rule takes to compile, None where nothing is compiled.
    """

    network: str
    functions: str
    engine: str
    lifetimes_per_s: float
    g_updates_per_s: float
    vs_numpy_checked: float
    vs_numpy: float
    vs_interpreter: float
    of_roofline: float
    compile_ms: float | None = None


def run_bench(device: str = "cpu", *, is_quick: bool = False) -> tuple[list[BenchRow], Roofline]:
    """Measure lives in every tier, the baselines and the machine, in about a minute.

    Args:
        device: ``"cpu"``, or a torch device whose rows are added.
        is_quick: tiny workloads, a few seconds, for trying the command out.

    Returns:
        The rows of the table, and the limits of one core that they are measured against.
    """
    rows: list[BenchRow] = []
    with one_blas_thread():
        roofline = measure_roofline(is_quick=is_quick)
        for n_out, n_in, n_draws, n_rules, steps in NETWORKS[: 3 if is_quick else None]:
            for functions, share in FUNCTION_SETS.items():
                work = make_workload(
                    n_out, n_in, n_draws=n_draws, n_rules=4 if is_quick else n_rules,
                    steps=5 if is_quick else steps, function_share=share,
                )  # fmt: skip
                repeats = 1 if is_quick else 3
                rows += measure(work, roofline, functions, device=device, repeats=repeats)
    return rows, roofline


def bench_table(rows: Sequence[BenchRow], roofline: Roofline) -> Table:
    """Return the rows as people read them, the machine's limits above."""
    lines = tuple(
        (row.network, row.functions, row.engine, row.lifetimes_per_s, row.g_updates_per_s,
         row.vs_numpy_checked, row.vs_numpy, row.vs_interpreter, 100 * row.of_roofline,
         row.compile_ms)
        for row in rows
    )  # fmt: skip
    return Table(f"speed of this machine; {roofline}", COLUMNS, lines)


def compile_seconds(work: Workload, level: int) -> float:
    """Return the seconds that all rules of a workload take to compile, nothing known before."""
    start = time.process_time()
    Compiler(level).compile(work.life, work.programs)
    return time.process_time() - start


def engines(work: Workload, device: str = "cpu") -> dict[str, Callable[[], object]]:
    """Return what lives a workload, by engine; rules are compiled when this returns."""
    numpy_lives = NumpyLives(work)
    for level in (0, 1):
        compiler(level).compile(work.life, work.programs)
    functions: dict[str, Callable[[], object]] = {
        BARE: lambda: numpy_lives.run(False),
        CHECKED: lambda: numpy_lives.run(True),
    }
    for name, tier in TIERS.items():
        functions[name] = lambda tier=tier: work.run(tier)
    if device != "cpu":
        functions[f"torch, {device}"] = lambda: work.run(device=device)
    return functions


def measure(
    work: Workload, roofline: Roofline, functions: str, *, device: str = "cpu", repeats: int = 3
) -> list[BenchRow]:
    """Live one workload in every engine, in turn.

    Args:
        work: rules and their life.
        roofline: the limits that rates are compared with.
        functions: what to call the function set.
        device: a torch device to measure as well, or ``"cpu"`` for none.
        repeats: turns of which medians are taken.
    """
    compile_ms = {
        name: 1e3 * compile_seconds(work, level) / len(work.rules)
        for level, name in enumerate(list(TIERS)[1:])
    }
    lived_by = engines(work, device)
    updates = work.run("interpreter").synapse_updates
    if device != "cpu":
        work.run(device=device)
    times = interleaved(lived_by, repeats, is_one_core=device == "cpu")
    # Lives that end early do less than was counted.
    share = updates / (work.n_lifetimes * work.life.n_rule_applications * work.n_out * work.n_in)
    least = share * roofline.least_time(work)
    return [_row(work, functions, name, times, updates, least, compile_ms) for name in lived_by]


def _row(
    work: Workload, functions: str, engine: str, times: Times, updates: int, least: float,
    compile_ms: dict[str, float],
) -> BenchRow:  # fmt: skip
    seconds = times.median(engine)
    draws = f" x {work.life.n_draws} draws" if work.life.n_draws > 1 else ""
    return BenchRow(
        network=f"{work.n_out}x{work.n_in}{draws}",
        functions=functions,
        engine=engine,
        lifetimes_per_s=work.n_lifetimes / seconds,
        g_updates_per_s=updates / seconds / 1e9,
        vs_numpy_checked=times.ratio(CHECKED, engine),
        vs_numpy=times.ratio(BARE, engine),
        vs_interpreter=times.ratio("interpreter", engine),
        of_roofline=least / seconds,
        compile_ms=compile_ms.get(engine),
    )
