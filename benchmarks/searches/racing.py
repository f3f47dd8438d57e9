"""What races save and lose: genetic programming with and without them at equal evaluations.

    python benchmarks/searches/racing.py run      # all runs; what is done is not done again
    python benchmarks/searches/racing.py table    # the table, from the record

A raced candidate counts by its share of draws, so the same evaluations buy more candidates: that is
what races save. What they lose is seen in held-out scores and successes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import evosearch as es
from evosearch.statistics import mann_whitney, van_elteren, vargha_delaney, wilson_interval
from evosearch.tables import plain

RECORD = Path(__file__).parent / "records" / "racing.json"
SEEDS = range(20)
FIRST = {"oja_pc1": 16, "delta_rule": 5, "switching_cue": 8}
BUDGETS = {"oja_pc1": 1500, "delta_rule": 2500, "switching_cue": 1000}
SMALLER: dict[str, dict[str, str]] = {
    "oja_pc1": {"splits.validation.draws": "500", "splits.test.draws": "2000"},
    "delta_rule": {},
    "switching_cue": {"splits.transfer.draws": "50"},
}


def run_all(problems: list[str]) -> None:
    """Make all runs of some problems, and write the record."""
    record: dict[str, Any] = {"rows": [], "cpu_s": {}}
    if RECORD.exists():
        record = json.loads(RECORD.read_text(encoding="utf-8"))
        record["rows"] = [row for row in record["rows"] if row["problem"] not in problems]
    record |= {"first": FIRST, "budgets": BUDGETS, "smaller": SMALLER}
    for problem in problems:
        for racing in (None, FIRST[problem]):
            options: dict[str, Any] = {"settings": _settings(problem, racing), "workers": 1,
                                       "budget": BUDGETS[problem]}  # fmt: skip
            found = es.compare(problem, searches=["gp"], seeds=list(SEEDS), **options)
            record["rows"] += [_row(problem, racing, cell) for cell in found.cells]
            record["cpu_s"][f"{problem} {racing}"] = _cpu_s(problem, options)
            print(problem, racing, found.rows[0].success_rate, found.rows[0].median, flush=True)
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _settings(problem: str, racing: int | None) -> dict[str, str]:
    own = {} if racing is None else {"searches.gp.racing": str(racing)}
    return SMALLER[problem] | own


def _cpu_s(problem: str, options: Mapping[str, Any]) -> float:
    """Return the processor's seconds of one more run, once everything is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        es.run(problem, search="gp", seed=100, out=folder, **options)
        return time.process_time() - started


def _row(problem: str, racing: int | None, cell: Any) -> dict[str, Any]:
    run = es.load_run(cell.path)
    return {
        "problem": problem,
        "racing": racing,
        "seed": cell.seed,
        "test": plain(cell.score),
        "success": cell.is_success,
        "evaluations": cell.evaluations,
        "proposed": _proposed(run),
        "evaluations_to_success": cell.evaluations_to_success,
        "synapse_updates": cell.synapse_updates,
    }


def _proposed(run: Any) -> int:
    """Return how many candidates a run has scored, raced or not."""
    from evosearch.store.folder import reading

    with reading(run.path) as store:
        return sum(store.status_counts().values())


def table(record: Mapping[str, Any]) -> str:
    """Return a line for each problem with races and without."""
    lines = [
        "| problem | first draws of all | races | candidates a run | success (95 % interval) | "
        "median test | evaluations to success | processor s a run | p | chance that races win |",
        "|---|---|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for problem in FIRST:
        rows = [row for row in record["rows"] if row["problem"] == problem]
        if not rows:
            continue
        off, on = ([r for r in rows if (r["racing"] is None) is is_off] for is_off in (True, False))
        scores = [[r["test"] for r in group if r["test"] is not None] for group in (on, off)]
        p, effect = mann_whitney(*scores), vargha_delaney(*scores)
        for name, group, tail in (("off", off, " | |"), ("on", on, f" {p:.2g} | {effect:.2f} |")):
            cpu_s = record["cpu_s"][f"{problem} {group[0]['racing']}"]
            cells = f"{FIRST[problem]} | {name} | {_line(group)} | {cpu_s:.1f}"
            lines.append(f"| {problem} | {cells} |{tail}")
    return "\n".join([*lines, "", together(record["rows"])])


def together(rows: list[Mapping[str, Any]]) -> str:
    """Return a sentence on all problems: the test within problems, and the candidates met."""
    strata = []
    for problem in FIRST:
        own = [row for row in rows if row["problem"] == problem and row["test"] is not None]
        on, off = ([r["test"] for r in own if (r["racing"] is None) is is_off]
                   for is_off in (False, True))  # fmt: skip
        if on and off:
            strata.append((on, off))
    effect = float(np.mean([vargha_delaney(*pair) for pair in strata]))
    return (
        f"Together, ranks within problems (van Elteren): p = {van_elteren(strata):.2g}, a run with "
        f"races beats one without with chance {effect:.2f}."
    )


def _line(rows: list[Mapping[str, Any]]) -> str:
    won = sum(row["success"] for row in rows)
    low, high = wilson_interval(won, len(rows))
    spent = sum(row["evaluations_to_success"] or row["evaluations"] for row in rows)
    cells = [
        f"{np.mean([row['proposed'] for row in rows]):,.0f}",
        f"{won}/{len(rows)} ({low:.2f} to {high:.2f})",
        f"{np.median([row['test'] for row in rows if row['test'] is not None]):.4g}",
        f"{spent / won:,.0f}" if won else "–",
    ]
    return " | ".join(cells)


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run_all(sys.argv[2:] or list(FIRST))
    print(table(json.loads(RECORD.read_text(encoding="utf-8"))))
