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
from evosearch.engine.sample import TERMINALS
from evosearch.engine.table import evaluate_rows, squared_errors
from evosearch.engine.table_code import table_code
from evosearch.rules.fingerprint import behaviours
from evosearch.rules.fingerprint import fingerprints as fingerprints_of
from evosearch.rules.lower import lower
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.probes import Encoded
from evosearch.rules.rule import Rule
from evosearch.search.semantics import semantic_key, semantic_keys

COLUMNS = tuple(Terminal(terminal.name, Level.POST) for terminal in TERMINALS)
ROWS = {100: 20, 1_000: 45, 10_000: 50}
CALLS = {100: 100, 1_000: 10, 10_000: 3}
"""Of one engine, one after the other in each turn: in the first, others' data fill the caches."""

TURNS = 9
SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
OURS, ERRORS = "evaluate_rows", "squared_errors"
DEAP, OPERON = "DEAP-compiled NumPy", "pyoperon EvaluateTrees"
DIVISIONS, PLAIN = "+ - * /", "+ - *"
SETS = {DIVISIONS: 0.0, PLAIN: 0.0, f"{FUNCTION_SHARE:.0%} tanh exp": FUNCTION_SHARE}


def node_evaluations() -> Record:
    """200 random expressions of 5 to 29 nodes on tables: nodes are counted with leaves.

    The figures asked for are of mean squared errors, which write no values; pyoperon writes them.
    """
    rows, lines, roofline = [], [], measure_roofline()
    for name, share in SETS.items():
        rng = np.random.default_rng(0)
        rules = [random_rule(rng, 2 * int(rng.integers(2, 15)) + 1, share) for _ in range(200)]
        if name == PLAIN:
            rules = [_without_divisions(rule) for rule in rules]
        n_nodes = sum(rule.size for rule in rules)
        bound = n_nodes / _least_seconds(rules, roofline) / 1e9
        for n_rows, asked in ROWS.items():
            columns = rng.uniform(0.2, 1.2, (3, n_rows)).astype(np.float32)
            times = _time_expressions(rules, columns, CALLS[n_rows])
            n = n_nodes * n_rows * CALLS[n_rows]
            rate = {name: n / times.median(name) / 1e9 for name in times.seconds}
            lines += [(name, n_rows, engine, rate[engine], times.ratio(engine, OURS),
                       100 * rate[engine] / bound)
                      for engine in rate]  # fmt: skip
            if name == DIVISIONS:
                rows += _expression_rows(n_rows, asked, rate, bound, times)
    columns = ("functions", "rows", "engine", "G nodes/s", "time / evaluate_rows",
               "% of arithmetic bound")  # fmt: skip
    return Record(rows, [Detail("Node evaluations", columns, lines)])


def _without_divisions(rule: Rule) -> Rule:
    nodes = rule.main.nodes
    return Rule(type(rule.main)("mul" if node == "div" else node for node in nodes))


def _least_seconds(rules: Sequence[Rule], roofline: Roofline) -> float:
    """Return the least seconds that the arithmetic of all rules takes for one row."""
    counts = (rule_operations(lower(rule, COLUMNS), (1, 0, 1, 0, 0)) for rule in rules)
    return sum(roofline.seconds(*count) for count in counts)


def _expression_rows(
    n_rows: int, asked: int, rate: dict[str, float], bound: float, times: Times
) -> list[Row]:
    name = f"node evaluations, tables of {n_rows:,} rows, 200 expressions, float32"
    found = [
        Row(
            name,
            f"≥ {asked} G/s arithmetic",
            f"{rate[ERRORS]:.1f} G/s with errors, {rate[OURS]:.1f} with values; the arithmetic "
            f"allows {bound:.0f}",
            rate[ERRORS] >= asked,
        )
    ]
    if OPERON in times.seconds:
        ratio = times.ratio(OPERON, OURS)
        found.append(Row("the same", "≥ 10 × pyoperon", f"{ratio:.1f} ×", ratio >= 10))
    else:
        found.append(Row("the same", "≥ 10 × pyoperon", "pyoperon is not installed", None))
    return found


def _time_expressions(rules: Sequence[Rule], columns: np.ndarray, n_calls: int) -> Times:
    code = table_code([lower(rule, COLUMNS) for rule in rules], columns.dtype)
    compiled = compile_with_deap(rules)
    out = np.empty((len(rules), columns.shape[1]), columns.dtype)
    engines: dict[str, Callable[[], Any]] = {
        OURS: lambda: evaluate_rows(code, columns, out=out),
        ERRORS: lambda: squared_errors(code, columns, columns[0]),
        DEAP: lambda: [function(*columns) for function in compiled],
    }
    operon = _operon(rules, columns)
    if operon is not None:
        engines[OPERON] = operon
    with np.errstate(all="ignore"):
        for function in engines.values():
            function()
        return interleaved(
            {name: partial(_repeat, function, n_calls) for name, function in engines.items()},
            smaller(TURNS),
        )


def _repeat(function: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        function()


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


def fingerprints() -> Record:
    """Microseconds a rule of nine nodes, all rules in one call, and one by one."""
    rows, lines = [], []
    for share, name in ((0.0, "+ - *, exact"), (FUNCTION_SHARE, "with functions, rounded")):
        rng = np.random.default_rng(3)
        rules = [random_rule(rng, 9, share) for _ in range(smaller(2000))]
        if not share:
            rules = [_without_divisions(rule) for rule in rules]
        micros = _fingerprint_micros(rules)
        lines += [(name, what, value) for what, value in micros.items()]
        alone = micros[ALONE]
        text = f"{alone:.2f} µs; {micros[WITH_ENCODING]:.2f} µs with encoding"
        rows.append(Row(f"fingerprint of a rule ({name})", "≤ 0.5 µs", text, alone <= 0.5))
    columns = ("functions", f"what, {smaller(2000):,} rules at once", "µs a rule")
    return Record(rows, [Detail("Fingerprints", columns, lines)])


ALONE = "values at the probe points, hashed; encoded before"
WITH_ENCODING = "the same with encoding, as the evaluator asks"


def _fingerprint_micros(rules: Sequence[Rule]) -> dict[str, float]:
    expressions = [rule.main for rule in rules]
    encoded = Encoded(expressions)
    exact = encoded.are_exact()
    chosen, others = np.flatnonzero(exact), np.flatnonzero(~exact)
    calls: dict[str, Callable[[], Any]] = {
        "encoding": lambda: Encoded(expressions),
        ALONE: lambda: (encoded.residues(chosen), encoded.rounded_words(others)),
        WITH_ENCODING: lambda: behaviours(rules),
        "the same as 32 hexadecimal digits": lambda: fingerprints_of(rules),
        "64-bit hash of a search, encoded before": encoded.rounded_hashes,
        "64-bit hash of a search, with encoding": lambda: semantic_keys(expressions),
        "64-bit hash of a search, one by one": lambda: [semantic_key(e) for e in expressions],
    }
    times = interleaved(calls, 9)
    return {what: 1e6 * times.median(what) / len(rules) for what in calls}
