"""The best rule of each size, by complete enumeration, and how soon each search is as good.

    python benchmarks/searches/ground_truth.py enumerate PROBLEM …   # score every function
    python benchmarks/searches/ground_truth.py searches PROBLEM …    # the runs of compare.py
    python benchmarks/searches/ground_truth.py table                 # tables, from the records

All functions of rules up to a size are scored at all step size factors on one set of search draws.
The runs are those of ``compare.py``; the best rule of a run so far, by the run's own draws, is
scored on the same set in the same way.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compare
import numpy as np

import evosearch as es
from evosearch.evaluation import Evaluator
from evosearch.outcome import Evaluation, FloatArray
from evosearch.rules.rule import Rule
from evosearch.search.enumeration import Enumeration
from evosearch.search.gradings import Gradings
from evosearch.store.folder import reading
from evosearch.tables import plain

RECORDS = Path(__file__).parent / "records"
BATCH = 2000


@dataclass(frozen=True)
class Plan:
    """What is enumerated: nodes, constants, draws, and reflections that rules keep."""

    size: int
    constants: tuple[float, ...]
    draws: int
    reflections: tuple[tuple[str, ...], ...] = ()


_SIGNS = ("pre", "post", "field_pre", "field_post")
PLANS = {
    "oja_pc1": {"all": Plan(11, (1.0,), 64)},
    "delta_rule": {"all": Plan(9, (1.0, 2.0), 20)},
    "hopfield_storage": {
        "all": Plan(7, (1.0,), 5),
        "symmetric": Plan(8, (1.0,), 5, (_SIGNS,)),
    },
}


def enumerated(name: str, plan: Plan) -> dict[str, Any]:
    """Score all functions of one plan; return the best of each size, and what it took."""
    problem = es.load_problem(name)
    space: Any = problem.space(problem.representation("gp"))
    gradings = Gradings(space.terminals, {}, plan.reflections)
    functions = Enumeration((*space.terminals, *plan.constants), space.functions, gradings)
    wall, cpu = time.time(), time.process_time()
    while functions.size < plan.size:
        functions.extend()
    n = functions.n_functions
    fitness, errors = np.empty(n), np.empty(n)
    with Evaluator(problem, workers=1) as evaluator:
        for start in range(0, n, BATCH):
            rules = [
                Rule(functions.expression(k), form=space.form)
                for k in range(start, min(start + BATCH, n))
            ]
            found = scored(evaluator, problem, rules, plan.draws)
            fitness[start : start + BATCH] = found.fitness
            errors[start : start + BATCH] = standard_errors(found.per_draw)
            print(f"{name}: {start + len(rules):,} of {n:,}", file=sys.stderr, flush=True)
    sizes = []
    for size in range(1, plan.size + 1):
        n_functions = functions.n_up_to(size)
        if n_functions == functions.n_up_to(size - 1):
            continue
        best = int(np.nanargmax(fitness[:n_functions]))
        goal = float(fitness[best] - errors[best])
        n_good = int((fitness[:n_functions] >= goal).sum())
        sizes.append(
            {
                "size": size,
                "functions": n_functions,
                "rule": str(functions.expression(best)),
                "size_of_rule": functions.size_of(best),
                "fitness": float(fitness[best]),
                "standard_error": float(errors[best]),
                "as_good": n_good,
                # Draws without repeats until the first of n_good among n_functions.
                "random_draws": (n_functions + 1) / (n_good + 1),
            }
        )
    return {
        "plan": {
            "size": plan.size,
            "leaves": [*space.terminals, *plan.constants],
            "functions": list(space.functions),
            "draws": plan.draws,
            "reflections": plan.reflections,
            "is_exact": functions.is_exact,
            "factors": list(problem.eta_factors),
        },
        "wall_s": time.time() - wall,
        "cpu_s": time.process_time() - cpu,
        "sizes": sizes,
    }


def scored(evaluator: Evaluator, problem: Any, rules: Sequence[Rule], draws: int) -> Evaluation:
    """Score rules at their best step size on the first search draws of seed 0."""
    reference = problem.draws("search", run_seed=0, count=draws)
    return evaluator.evaluate(rules, reference, scales=problem.eta_factors, is_remembered=False)


def standard_errors(per_draw: FloatArray) -> FloatArray:
    """Return the standard error of each row's mean."""
    return per_draw.std(axis=1, ddof=1) / np.sqrt(per_draw.shape[1])


def reached(name: str, truth: dict[str, Any]) -> dict[str, list[Any]]:
    """Return, for each search of the comparison and each size, evaluations to as good a rule.

    For each run its evaluations and, for each size, those until it was as good, or None.
    """
    problem = es.load_problem(name)
    goals = [row["fitness"] - row["standard_error"] for row in truth["sizes"]]
    found: dict[str, list[Any]] = {}
    with Evaluator(problem, workers=1) as evaluator:
        for cell in compare.compared(name).cells:
            rules, spent = improvements(problem, es.load_run(cell.path).path)
            fitness = scored(evaluator, problem, rules, truth["plan"]["draws"]).fitness
            hits = [
                next((k for k, value in zip(spent, fitness, strict=True) if value >= goal), None)
                for goal in goals
            ]
            row = {"evaluations": cell.evaluations, "hits": hits}
            found.setdefault(cell.search, []).append(row)
    return found


def improvements(problem: Any, path: Path) -> tuple[list[Rule], list[int]]:
    """Return the rules that were the best so far in a run, and the evaluations until each."""
    with reading(path) as store:
        ends = {row.generation: row.evaluations for row in store.generations()}
        candidates: dict[int, list[Any]] = {}
        for generation in ends:
            candidates[generation] = store.candidates(generation)
    best, before = -np.inf, 0
    rules: list[Rule] = []
    spent: list[int] = []
    for generation, rows in candidates.items():
        each = (ends[generation] - before) / max(1, len(rows))
        for place, row in enumerate(rows, 1):
            if row.fitness > best:
                best = row.fitness
                rules.append(problem.read(row.text))
                spent.append(round(before + each * place))
        before = ends[generation]
    return rules, spent


def main(action: str, names: Sequence[str]) -> None:
    """Enumerate, read the runs of the comparison, or print the tables."""
    if action == "table":
        print(section())
        return
    for name in names or PLANS:
        record = recorded(name)
        for key, plan in PLANS[name].items():
            if action == "enumerate":
                record[key] = enumerated(name, plan)
            elif key == "all":
                record["searches"] = reached(name, record[key])
        text = json.dumps(plain(record), indent=1, ensure_ascii=False)
        (RECORDS / f"truth_{name}.json").write_text(text + "\n", encoding="utf-8")


def recorded(name: str) -> dict[str, Any]:
    """Return what is known of a problem; nothing for a start."""
    path = RECORDS / f"truth_{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def section() -> str:
    """Return the section on ground truth, a part for each problem that has a record."""
    parts = [INTRODUCTION]
    parts += [tables(name, record) for name in PLANS if (record := recorded(name))]
    return "\n".join(parts)


def tables(name: str, record: dict[str, Any]) -> str:
    """Return the tables of one problem."""
    lines = [f"### {name}", ""]
    for key in PLANS[name]:
        if key in record:
            lines += [proof(record[key]), "", *sizes_table(record[key]), ""]
    if "searches" in record:
        lines += [*searches_table(record["all"]["sizes"], record["searches"]), ""]
    return "\n".join(lines)


def proof(truth: dict[str, Any]) -> str:
    """Return a paragraph: what was enumerated, and what that proves."""
    plan, last = truth["plan"], truth["sizes"][-1]
    leaves = ", ".join(leaf if isinstance(leaf, str) else f"{leaf:g}" for leaf in plan["leaves"])
    n_factors = len(plan["factors"])
    at = f"at its best of {n_factors} step sizes" if n_factors > 1 else "at the problem's step size"
    told = "by exact residues" if plan["is_exact"] else "by 24 values to ten digits"
    kept = "".join(
        f", each part odd or even where the signs of {', '.join(group)} turn,"
        for group in plan["reflections"]
    )
    return (
        f"All {last['functions']:,} functions of rules of up to {plan['size']} nodes over {leaves} "
        f"with {', '.join(plan['functions'])}{kept} told apart {told}, each {at} "
        f"on {plan['draws']} search draws: none scores higher "
        f"than those named. {truth['cpu_s'] / 60:.1f} minutes of processor time."
    )


def sizes_table(truth: dict[str, Any]) -> list[str]:
    """Return a line for each size at which a better rule than all smaller ones was found."""
    lines = [
        "| nodes | functions up to there | best | fitness (standard error) | as good | "
        "random draws until one |",
        "|---:|---:|---|---:|---:|---:|",
    ]
    lines += [
        f"| {row['size']} | {row['functions']:,} | `{row['rule']}` | {row['fitness']:.4f} "
        f"({row['standard_error']:.4f}) | {row['as_good']:,} | {row['random_draws']:,.0f} |"
        for row in truth["sizes"]
        if row["size_of_rule"] == row["size"]
    ]
    return lines


def searches_table(sizes: list[dict[str, Any]], searches: dict[str, list[Any]]) -> list[str]:
    """Return evaluations to as good a rule as the best of each size, expected over the runs."""
    kept = [k for k, row in enumerate(sizes) if row["size_of_rule"] == row["size"]]
    lines = [
        "| search | " + " | ".join(f"up to {sizes[k]['size']} nodes" for k in kept) + " |",
        "|---|" + "---|" * len(kept),
    ]
    ranked = sorted(searches, key=lambda s: [-n_reached(searches[s], k) for k in kept[::-1]])
    for search in ranked:
        cells: list[str] = []
        for k in kept:
            n = n_reached(searches[search], k)
            spent = sum(
                run["evaluations"] if run["hits"][k] is None else run["hits"][k]
                for run in searches[search]
            )
            cells.append(f"{n}/{len(searches[search])}" + (f", {spent / n:,.0f}" if n else ""))
        lines.append(f"| `{search}` | {' | '.join(cells)} |")
    return lines


def n_reached(runs: list[Any], k: int) -> int:
    """Return how many runs were as good as the best of one size."""
    return sum(run["hits"][k] is not None for run in runs)


INTRODUCTION = """## Ground truth by enumeration

`python benchmarks/searches/ground_truth.py enumerate`, `… searches`, records
`benchmarks/searches/records/truth_*.json`. *As good* counts the functions that are within one
standard error of the best of their size or above it; a search that draws functions without repeats
meets one of them after (n + 1)/(k + 1) draws. The second table has the runs of the tables above:
how many of them had a best rule so far that is as good on the same draws, at its best step size,
and the evaluations until then, all evaluations of all runs over the number of those that got
there.
"""


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
