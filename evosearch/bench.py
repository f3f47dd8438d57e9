"""Measure this machine: the engine beside DEAP-compiled NumPy, as ratios taken in one call.

The workload is that of a rule search: P different rules of nine nodes, each living one life of
T online steps on one layer, ``y = W x`` then ``w <- clip(w + eta f(w, x, y))``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from evosearch.engine.lifetime import Lifetime, LifetimeBuilder, Projection
from evosearch.engine.program import Level, Program, Terminal
from evosearch.engine.run import pack_programs, run_lifetimes
from evosearch.engine.table import evaluate_rows
from evosearch.rules.expression import Expression
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

TERMINALS = (
    Terminal("w", Level.SYNAPSE),
    Terminal("pre", Level.PRE),
    Terminal("post", Level.POST),
)
COLUMNS = tuple(Terminal(terminal.name, Level.POST) for terminal in TERMINALS)
ETA, CLIP = 1e-3, 5.0
SIZES = ((8, 16), (32, 64), (128, 256))
ROWS = (100, 1_000, 10_000)
_BASELINE_FUNCTIONS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
}  # fmt: skip


@dataclass(frozen=True)
class BenchRow:
    """One line of the table; ``ratio`` is to the baseline named in the same line."""

    workload: str
    engine: str
    rate: float
    unit: str
    ratio: float
    baseline: str


def run_bench(device: str = "cpu", *, is_quick: bool = False) -> list[BenchRow]:
    """Measure lifetimes and plain expressions; takes about a minute, ``is_quick`` a few seconds.

    Args:
        device: ``"cpu"``, or a torch device whose figures are added.
        is_quick: smaller workloads, for trying the command out.
    """
    rng = np.random.default_rng(1)
    n_rules, steps = (32, 50) if is_quick else (256, 500)
    rules = [random_rule(rng, 9) for _ in range(n_rules)]
    rows: list[BenchRow] = []
    for n_out, n_in in SIZES:
        rows += _bench_lives(rules, n_out, n_in, steps, device)
    rows += _bench_tiny_nets(rules, steps)
    for n_rows in ROWS:
        rows += _bench_expressions(rng, n_rows, 40 if is_quick else 200)
    return rows


def random_rule(rng: np.random.Generator, n_nodes: int) -> Rule:
    """Draw a full binary tree over + - * / with ``n_nodes`` (odd) nodes.

    A fifth of the leaves are constants from U(0.5, 1.5).
    """
    nodes: list[str | float] = []
    stack = [n_nodes]
    while stack:
        size = stack.pop()
        if size == 1:
            is_terminal = rng.random() < 0.8
            leaf = TERMINALS[rng.integers(3)].name if is_terminal else rng.uniform(0.5, 1.5)
            nodes.append(leaf if isinstance(leaf, str) else float(np.float32(leaf)))
            continue
        left = 2 * int(rng.integers(0, (size - 1) // 2)) + 1
        nodes.append(("add", "sub", "mul", "div")[rng.integers(4)])
        stack += [size - 1 - left, left]
    return Rule(Expression(nodes))


def _best_time(function: Callable[[], Any], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def layer_life(n_out: int, n_in: int, steps: int, n_draws: int = 1) -> Lifetime:
    """Build the life of the benchmark: one linear layer on random inputs."""
    rng = np.random.default_rng(2)
    b = LifetimeBuilder()
    x, y, w = b.vector("pre", n_in), b.vector("post", n_out), b.matrix("w", n_out, n_in)
    b.initial(w, b.table(rng.normal(0, 0.1, (n_draws, 1, n_out * n_in))))
    inputs = b.table(rng.normal(0, 1, (n_draws, steps, n_in)))
    with b.repeat(steps) as t:
        b.load(x, inputs, row=t)
        b.matvec(y, w, x)
        b.rule(w=w, pre=x, post=y)
    b.output(w)
    keys = np.zeros((n_draws, 2), np.uint32)
    return b.build(draw_keys=keys, projection=Projection(-CLIP, CLIP), dtype="float32")


def _bench_lives(
    rules: Sequence[Rule], n_out: int, n_in: int, steps: int, device: str
) -> list[BenchRow]:
    name = f"{len(rules)} rules, {n_out}x{n_in}, {steps} steps"
    programs = [lower(rule, TERMINALS) for rule in rules]
    life = layer_life(n_out, n_in, steps)
    run_lifetimes(life, programs[:2], ETA)
    updates = len(rules) * steps * n_out * n_in
    sample = rules[: max(len(rules) // 8, 4)]
    share = len(sample) / len(rules)
    bare = _best_time(lambda: _numpy_lives(sample, life, n_out, n_in, False), 2) / share
    checked = _best_time(lambda: _numpy_lives(sample, life, n_out, n_in, True), 2) / share
    one = _best_time(lambda: run_lifetimes(life, programs, ETA))
    two = _best_time(lambda: _in_threads(life, programs, 2))
    baseline = "DEAP-compiled NumPy, clip and check"
    rows = [
        BenchRow(name, "DEAP-compiled NumPy", updates / bare / 1e9, "G updates/s",
                 checked / bare, baseline),
        BenchRow(name, baseline, updates / checked / 1e9, "G updates/s", 1.0, baseline),
        BenchRow(name, "interpreter, 1 thread", updates / one / 1e9, "G updates/s",
                 checked / one, baseline),
        BenchRow(name, "interpreter, 1 thread", updates / one / 1e9, "G updates/s",
                 bare / one, "DEAP-compiled NumPy"),
        BenchRow(name, "interpreter, 2 threads", updates / two / 1e9, "G updates/s",
                 one / two, "1 thread"),
    ]  # fmt: skip
    if device != "cpu":
        elapsed = _best_time(lambda: run_lifetimes(life, programs, ETA, device=device), 2)
        rows.append(
            BenchRow(name, f"torch on {device}", updates / elapsed / 1e9, "G updates/s",
                     checked / elapsed, baseline)
        )  # fmt: skip
    return rows


def _bench_tiny_nets(rules: Sequence[Rule], steps: int) -> list[BenchRow]:
    """Time a network of three synapses with 32 draws side by side, against one draw alone."""
    programs = [lower(rule, TERMINALS) for rule in rules]
    together, alone = layer_life(1, 3, steps, 32), layer_life(1, 3, steps, 1)
    run_lifetimes(together, programs[:2], ETA)
    many = _best_time(lambda: run_lifetimes(together, programs, ETA))
    single = _best_time(lambda: run_lifetimes(alone, programs, ETA)) * 32
    rate = len(rules) * 32 / many
    name = f"{len(rules)} rules, 1x3, 32 draws, {steps} steps"
    return [
        BenchRow(name, "draws side by side", rate, "lifetimes/s", single / many,
                 "draws one after the other")
    ]  # fmt: skip


def _in_threads(life: Lifetime, programs: Sequence[Program], n_threads: int) -> None:
    parts = np.array_split(np.arange(len(programs)), n_threads * 4)
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda part: run_lifetimes(life, [programs[k] for k in part], ETA), parts))


def _bench_expressions(rng: np.random.Generator, n_rows: int, n_rules: int) -> list[BenchRow]:
    sizes = rng.choice(np.arange(5, 30, 2), n_rules)
    rules = [random_rule(rng, int(size)) for size in sizes]
    programs = [lower(rule, COLUMNS) for rule in rules]
    columns = rng.uniform(0.3, 1.7, (3, n_rows)).astype(np.float32)
    batch = pack_programs(programs, columns.dtype)
    evaluate_rows(batch, columns)
    repeats = max(1, 10_000 // n_rows)
    ours = _best_time(lambda: [evaluate_rows(batch, columns) for _ in range(repeats)]) / repeats

    def theirs() -> None:
        with np.errstate(all="ignore"):
            for rule in rules:
                compile_with_deap(rule)(*columns)

    numpy_time = _best_time(theirs)
    nodes = sum(rule.size for rule in rules) * n_rows
    name, baseline = f"{n_rules} expressions, {n_rows} rows", "DEAP-compiled NumPy"
    return [
        BenchRow(name, baseline, nodes / numpy_time / 1e9, "G nodes/s", 1.0, baseline),
        BenchRow(name, "interpreter, 1 thread", nodes / ours / 1e9, "G nodes/s",
                 numpy_time / ours, baseline),
    ]  # fmt: skip


def compile_with_deap(rule: Rule) -> Callable[..., Any]:
    """Compile a rule drawn here (never a user's text) as a DEAP user would."""
    from deap import gp

    primitives = gp.PrimitiveSet("RULE", 3)
    primitives.renameArguments(ARG0="w", ARG1="pre", ARG2="post")
    # Bare division: the protected one would slow the baseline.
    for name, function in _BASELINE_FUNCTIONS.items():
        primitives.addPrimitive(function, 2, name=name)
    nodes = []
    for node in rule.main.nodes:
        if isinstance(node, str):
            nodes.append(primitives.mapping[node])
        else:
            nodes.append(gp.Terminal(float(node), False, object))
    return gp.compile(gp.PrimitiveTree(nodes), primitives)


def _numpy_lives(
    rules: Sequence[Rule], life: Lifetime, n_out: int, n_in: int, is_checked: bool
) -> None:
    start = life.tables[0][0, 0].reshape(n_out, n_in)
    inputs = life.tables[1][0]
    eta = np.float32(ETA)
    with np.errstate(all="ignore"):
        for rule in rules:
            function = compile_with_deap(rule)
            weights = start.copy()
            for x in inputs:
                post = weights @ x
                weights = weights + eta * function(weights, x, post[:, None])
                if is_checked:
                    if not math.isfinite(float(np.sum(weights))):
                        break
                    np.clip(weights, -CLIP, CLIP, out=weights)
