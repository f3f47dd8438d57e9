"""What predictive coding costs over backpropagation as it takes more steps.

CPU time of an update, the rule ``error*pre`` and plain increments on digits at the network of a
bed, with one measurement of accuracy after the 110th, and the same ratio by multiply-adds, without
it. Incremental predictive coding is measured by minibatch, which brings T updates.

    OMP_NUM_THREADS=1 python benchmarks/learners/pc_cost.py --records benchmarks/learners/records
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from evosearch.beds import BEDS, bed
from evosearch.circuits.backprop import Backprop
from evosearch.circuits.base import DEFAULT_RULE, TERMINALS, Circuit, forward_equivalents
from evosearch.circuits.life import build_life, held_out
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.predictive_coding import (
    FixedPrediction,
    IncrementalPredictiveCoding,
    PredictiveCoding,
    ZeroDivergence,
)
from evosearch.circuits.teaching import Plan
from evosearch.data import load_data
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

STEPS = (1, 2, 5, 10, 20, 50, 100)
UPDATES, RUNS, RATE = 110, 4, 0.01


def seconds_per_update(circuit: Circuit, task: str) -> float:
    """Return the least of a few measurements, so that other work on the machine counts little."""
    where = bed(task)
    data = load_data(where.data)
    plan = Plan((data.n_inputs, *where.hidden, data.n_classes), UPDATES, where.batch, UPDATES)
    life = build_life(
        circuit, normaliser("none", RATE), plan, held_out(data, "validation"), [(0, 2, 0)]
    )
    program = lower(Rule(DEFAULT_RULE), TERMINALS)
    times: list[float] = []
    for _ in range(RUNS):
        start = time.thread_time()
        run_lifetimes(life, [program], RATE)
        times.append(time.thread_time() - start)
    return min(times) / UPDATES


def circuits() -> list[tuple[str, int | None, Circuit]]:
    """Return names, T and circuits, the reference first."""
    found: list[tuple[str, int | None, Circuit]] = [
        ("bp", None, Backprop()),
        ("zil", None, ZeroDivergence()),
    ]
    found += [("fpc", n, FixedPrediction(steps=n)) for n in STEPS]
    found += [("pc", n, PredictiveCoding(steps=n)) for n in STEPS]
    found += [("ipc", n, IncrementalPredictiveCoding(steps=n)) for n in STEPS[:4]]
    return found


def measure(task: str) -> list[dict[str, Any]]:
    data = load_data(bed(task).data)
    sizes = (data.n_inputs, *bed(task).hidden, data.n_classes)
    rows: list[dict[str, Any]] = []
    for name, steps, circuit in circuits():
        seconds, passes = seconds_per_update(circuit, task), forward_equivalents(circuit, sizes)
        reference = rows[0] if rows else {"seconds": seconds, "forward_passes": passes}
        rows.append({
            "task": task,
            "learner": name,
            "steps": steps,
            "seconds": seconds,
            "forward_passes": passes,
            "cost_over_bp": seconds / reference["seconds"],
            "products_over_bp": passes / reference["forward_passes"],
        })  # fmt: skip
        print(line(rows[-1]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    steps = "–" if row["steps"] is None else row["steps"]
    cells = (row["task"], row["learner"], steps, f"{1e3 * row['seconds']:.3f}",
             f"{row['cost_over_bp']:.1f}", f"{row['products_over_bp']:.1f}")  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=tuple(BEDS), default=("digits2", "digits6"))
    parser.add_argument("--records", type=Path, help="folder for pc_cost.jsonl, one line a row")
    options = parser.parse_args()
    heads = ("task", "learner", "T", "ms an update", "time / bp", "multiply-adds / bp")
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    rows = [row for task in options.tasks for row in measure(task)]
    if options.records is not None:
        options.records.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (options.records / "pc_cost.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
