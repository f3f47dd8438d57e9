"""Genetic programming as beam search: one engine, and what three settings of it add.

    python benchmarks/searches/gp_as_beam.py run     # all runs; what is done is not done again
    python benchmarks/searches/gp_as_beam.py table   # the table, from the record

``gp`` with mutation alone, parents that are the best 20 in equal parts, and survivors that are the
best of parents and children is stochastic beam search. Three settings lead from there to genetic
programming: crossover, parents by tournaments among all (stochastic selection), and children that
replace their parents whatever they score (drift). All eight combinations run with the same
evaluations, operators of mutation, random first generation and draws; nothing else of ``gp`` is on.
A last line has ``gp`` as it is, with its immigrants, small rules first and tuned constants.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import evosearch as es
from evosearch.scoring import normalise
from evosearch.statistics import holm, van_elteren, vargha_delaney, wilson_interval
from evosearch.tables import plain

RECORD = Path(__file__).parent / "records" / "gp_as_beam.json"
SEEDS = range(10)
BUDGETS = {"oja_pc1": 1500, "delta_rule": 1500}
SMALLER = {
    "oja_pc1": {"splits.search.draws": "64", "splits.validation.draws": "500",
                "splits.test.draws": "2000"},
    "delta_rule": {},
}  # fmt: skip
FACTORS = ("crossover", "stochastic selection", "drift")
PLAIN = {
    "population": "100",
    "elite": "1",
    "immigrants": "0.0",
    "small_first": "0.0",
    "tune_constants": "0.0",
    "parsimony": "1.0",
}
WITHOUT = ({"p_crossover": "0.0"}, {"tournament": "1", "width": "20"}, {"survivors": "'best'"})
WITH = ({"p_crossover": "0.4"}, {"tournament": "5", "width": "0"}, {"survivors": "'children'"})

Combination = tuple[bool, bool, bool]
COMBINATIONS: list[Combination] = [
    (a, b, c) for a, b, c in itertools.product((False, True), repeat=3)
]


def settings_of(combination: Combination, problem: str) -> dict[str, str]:
    """Return the changed keys of a problem for one combination of the factors."""
    chosen: dict[str, str] = dict(PLAIN)
    for is_on, without, with_it in zip(combination, WITHOUT, WITH, strict=True):
        chosen |= with_it if is_on else without
    return {f"searches.gp.{key}": value for key, value in chosen.items()} | SMALLER[problem]


def label(combination: Combination) -> str:
    """Return what a combination is called."""
    added = [name for name, is_on in zip(FACTORS, combination, strict=True) if is_on]
    return "beam search" if not added else "+ " + ", ".join(added)


def run_all() -> None:
    """Make all runs, and write the record."""
    rows: list[dict[str, Any]] = []
    for problem, budget in BUDGETS.items():
        for combination in COMBINATIONS:
            settings = settings_of(combination, problem)
            found = es.compare(problem, searches=["gp"], seeds=list(SEEDS), budget=budget,
                               settings=settings, workers=1)  # fmt: skip
            rows += [_row(problem, combination, cell, found) for cell in found.cells]
            print(problem, label(combination), found.rows[0].success_rate, flush=True)
        found = es.compare(problem, searches=["gp"], seeds=list(SEEDS), budget=budget,
                           settings=SMALLER[problem], workers=1)  # fmt: skip
        rows += [_row(problem, None, cell, found) for cell in found.cells]
    record = {"budgets": BUDGETS, "seeds": list(SEEDS), "settings": PLAIN, "smaller": SMALLER,
              "factors": list(FACTORS), "rows": rows}  # fmt: skip
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _row(problem: str, combination: Combination | None, cell: Any, found: Any) -> dict[str, Any]:
    return {
        "problem": problem,
        "combination": None if combination is None else list(combination),
        "seed": cell.seed,
        "test": plain(cell.score),
        "normalised": normalise(cell.score, found.floor, found.ceiling),
        "success": cell.is_success,
        "evaluations": cell.evaluations,
        "evaluations_to_success": cell.evaluations_to_success,
    }


def table(record: Mapping[str, Any]) -> str:
    """Return the eight combinations, and what each factor adds."""
    rows = record["rows"]
    lines = [
        "| one engine | " + " | ".join(f"{p}: success | median test" for p in BUDGETS) + " |",
        "|---|" + "---|---:|" * len(BUDGETS),
    ]
    for combination in (*COMBINATIONS, None):
        cells = ["`gp` as it is" if combination is None else label(combination)]
        for problem in BUDGETS:
            own = _of(rows, problem, combination)
            won = sum(r["success"] for r in own)
            low, high = wilson_interval(won, len(own))
            cells += [f"{won}/{len(own)} ({low:.2f} to {high:.2f})", f"{_median(own):.4g}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *effects([r for r in rows if r["combination"] is not None])])


def effects(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what each factor adds, all else equal: successes, and a test within strata."""
    lines = ["| what is added | successes without | with | chance that with beats without | p |",
             "|---|---:|---:|---:|---:|"]  # fmt: skip
    found = []
    for k, factor in enumerate(FACTORS):
        strata = []
        for problem in BUDGETS:
            for combination in COMBINATIONS:
                if combination[k]:
                    continue
                other = (*combination[:k], True, *combination[k + 1 :])
                strata.append(tuple(_scores(rows, problem, c) for c in (other, combination)))
        wins = [sum(r["success"] for r in rows if r["combination"][k] is is_on)
                for is_on in (False, True)]  # fmt: skip
        effect = float(np.mean([vargha_delaney(*pair) for pair in strata]))
        found.append((factor, wins, effect, van_elteren(strata)))
    adjusted = holm([p for *_, p in found])
    half = len(rows) // 2
    for (factor, wins, effect, _), p in zip(found, adjusted, strict=True):
        lines.append(f"| {factor} | {wins[0]}/{half} | {wins[1]}/{half} | {effect:.2f} | {p:.2g} |")
    return lines


def _of(
    rows: Sequence[Mapping[str, Any]], problem: str, combination: Sequence[bool] | None
) -> list[Mapping[str, Any]]:
    wanted = None if combination is None else list(combination)
    return [r for r in rows if r["problem"] == problem and r["combination"] == wanted]


def _scores(
    rows: Sequence[Mapping[str, Any]], problem: str, combination: Sequence[bool]
) -> list[float]:
    own = _of(rows, problem, combination)
    return [-np.inf if r["test"] is None else r["test"] for r in own]


def _median(rows: Sequence[Mapping[str, Any]]) -> float:
    return float(np.median([r["test"] for r in rows if r["test"] is not None]))


if __name__ == "__main__":
    if sys.argv[1:] == ["run"]:
        run_all()
    print(table(json.loads(RECORD.read_text(encoding="utf-8"))))
