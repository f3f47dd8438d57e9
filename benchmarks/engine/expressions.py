"""Expressions on tables of rows, beside pyoperon; fingerprints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from common import Detail, Record, Row, smaller

from evosearch.bench.baseline import compile_with_deap
from evosearch.bench.roofline import Roofline, measure_roofline, rule_operations
from evosearch.bench.timing import Times, interleaved
from evosearch.bench.workload import FUNCTION_SHARE, random_rule
from evosearch.engine.program import Level, Terminal
from evosearch.engine.run import pack_programs
from evosearch.engine.sample import TERMINALS
from evosearch.engine.table import evaluate_rows
from evosearch.rules.fingerprint import fingerprint
from evosearch.rules.lower import lower
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

COLUMNS = tuple(Terminal(terminal.name, Level.POST) for terminal in TERMINALS)
ROWS = {100: 20, 1_000: 45, 10_000: 50}
SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
OURS, DEAP, OPERON = "evaluate_rows", "DEAP-compiled NumPy", "pyoperon EvaluateTrees"


def node_evaluations() -> Record:
    """200 random expressions of 5 to 29 nodes on tables: nodes are counted with leaves."""
    rows, lines, roofline = [], [], measure_roofline()
    for share in (0.0, FUNCTION_SHARE):
        rng = np.random.default_rng(0)
        rules = [random_rule(rng, 2 * int(rng.integers(2, 15)) + 1, share) for _ in range(200)]
        n_nodes = sum(rule.size for rule in rules)
        bound = n_nodes / _least_seconds(rules, roofline) / 1e9
        for n_rows, asked in ROWS.items():
            columns = rng.uniform(0.2, 1.2, (3, n_rows)).astype(np.float32)
            times = _time_expressions(rules, columns, smaller(max(5, 30_000 // n_rows)))
            rate = {name: n_nodes * n_rows / times.median(name) / 1e9 for name in times.seconds}
            name = "+ - * /" if not share else f"{share:.0%} tanh exp"
            lines += [(name, n_rows, engine, rate[engine], times.ratio(engine, OURS),
                       100 * rate[engine] / bound)
                      for engine in rate]  # fmt: skip
            if not share:
                rows += _expression_rows(n_rows, asked, rate[OURS], bound, times)
    columns = ("functions", "rows", "engine", "G nodes/s", "time / ours", "% of arithmetic bound")
    return Record(rows, [Detail("Node evaluations", columns, lines)])


def _least_seconds(rules: Sequence[Rule], roofline: Roofline) -> float:
    """Return the least seconds that the arithmetic of all rules takes for one row."""
    counts = (rule_operations(lower(rule, COLUMNS), (1, 0, 1, 0, 0)) for rule in rules)
    return sum(roofline.seconds(*count) for count in counts)


def _expression_rows(n_rows: int, asked: int, rate: float, bound: float, times: Times) -> list[Row]:
    name = f"node evaluations, tables of {n_rows:,} rows, 200 expressions, float32"
    found = [
        Row(
            name,
            f"≥ {asked} G/s arithmetic",
            f"{rate:.1f} G/s; the arithmetic allows {bound:.0f}",
            rate >= asked,
        )
    ]
    if OPERON in times.seconds:
        ratio = times.ratio(OPERON, OURS)
        found.append(Row("the same", "≥ 10 × pyoperon", f"{ratio:.1f} ×", ratio >= 10))
    else:
        found.append(Row("the same", "≥ 10 × pyoperon", "pyoperon is not installed", None))
    return found


def _time_expressions(rules: Sequence[Rule], columns: np.ndarray, repeats: int) -> Times:
    batch = pack_programs([lower(rule, COLUMNS) for rule in rules], columns.dtype)
    compiled = compile_with_deap(rules)
    out = np.empty((len(rules), columns.shape[1]), columns.dtype)
    engines: dict[str, Callable[[], Any]] = {
        OURS: lambda: evaluate_rows(batch, columns, out=out),
        DEAP: lambda: [function(*columns) for function in compiled],
    }
    operon = _operon(rules, columns)
    if operon is not None:
        engines[OPERON] = operon
    with np.errstate(all="ignore"):
        for function in engines.values():
            function()
        return interleaved(engines, repeats)


def _operon(rules: Sequence[Rule], columns: np.ndarray) -> Callable[[], Any] | None:
    """Return pyoperon's evaluation of the same trees, one thread; None where it is missing."""
    try:
        import pyoperon
    except ImportError:
        return None
    n_rows = columns.shape[1]
    values = np.vstack([columns, columns[:1]]).astype(np.float64)
    data = pyoperon.Dataset(np.asfortranarray(values.T))
    names = dict(zip(("w", "pre", "post"), (v.Name for v in data.Variables), strict=False))
    hashes = {variable.Name: variable.Hash for variable in data.Variables}
    trees = [pyoperon.InfixParser.Parse(_infix(rule, names), hashes) for rule in rules]
    rows, out = pyoperon.Range(0, n_rows), np.zeros(n_rows * len(trees), np.float32)
    return lambda: pyoperon.EvaluateTrees(trees, data, rows, out, 1)


def _infix(rule: Rule, names: dict[str, str]) -> str:
    stack: list[str] = []
    for node in reversed(rule.main.nodes):
        if not isinstance(node, str):
            stack.append(repr(float(node)))
        elif node not in PRIMITIVES:
            stack.append(names[node])
        elif node in SYMBOLS:
            first = stack.pop()
            stack.append(f"({first} {SYMBOLS[node]} {stack.pop()})")
        else:
            stack.append(f"{node}({stack.pop()})")
    return stack.pop()


def _fingerprint_all(rules: Sequence[Rule]) -> None:
    for rule in rules:
        fingerprint(rule)


def fingerprints() -> Record:
    """Microseconds a rule of nine nodes."""
    rows = []
    for share, name in ((0.0, "+ - *, exact"), (FUNCTION_SHARE, "with functions, rounded")):
        rng = np.random.default_rng(3)
        rules = [random_rule(rng, 9, share) for _ in range(smaller(2000))]
        if not share:
            swapped = (["mul" if n == "div" else n for n in r.main.nodes] for r in rules)
            rules = [Rule(type(rules[0].main)(nodes)) for nodes in swapped]
        times = interleaved({"it": partial(_fingerprint_all, rules)}, 5)
        micros = 1e6 * times.median("it") / len(rules)
        rows.append(Row(f"fingerprint of a rule ({name})", "≤ 0.5 µs", f"{micros:.1f} µs",
                        micros <= 0.5))  # fmt: skip
    return Record(rows)
