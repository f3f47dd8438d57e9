"""What a search costs beside the evaluation of its candidates, by part, in runs as users make them.

    python benchmarks/searches/cost.py run --label after      # measure; replaces rows of the label
    python benchmarks/searches/cost.py table                  # the table, from the record

Processor time of one process with one thread. A clock knows which part of a run is at work: the
functions of ``PARTS`` are wrapped, each switches it to its part and back, so that no time counts
twice. Switches cost time of their own, in proportion to their number, which is measured and taken
off. Compiling is done by a run before. Validation is shown apart from the rest; what ends a run is
not counted.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import evosearch as es

RECORD = Path(__file__).parent / "records" / "cost.json"
PROBLEMS = ("oja_pc1", "delta_rule")
GENERATIONS = {500: 12, 2000: 6}
RUNS = 3
"""The least of three runs: what else the machine does only adds to a time."""
PARTS = {
    "variation": ("search.gp:Programming.ask", "search.gp:Programming.tell"),
    "selection": ("search.gp:GeneticProgramming._select", "search.gp:Programming._ranked"),
    "fingerprint": (
        "search.gp:semantic_key", "search.gp:semantic_keys", "search.memory:Memory.add_new_hash",
        "evaluation.evaluator:candidate_keys",
    ),
    "encoding": (
        "problem.rules:RuleProblem.program", "problem.rules:RuleProblem.programs",
        "spaces.rule:RuleSpace.decode",
    ),
    "evaluation": ("problem.rules:RuleProblem.score",),
    "store": (
        "loop:SearchLoop._rows", "loop:SearchLoop._record", "loop:SearchLoop._write",
        "loop:chain_digest", "halloffame:HallOfFame.update",
    ),
    "validation": ("loop:SearchLoop.validate",),
}  # fmt: skip
OF_SEARCH = ("variation", "selection", "fingerprint", "encoding", "store", "rest")
START = "loop:SearchLoop.run"


class Clock:
    """Processor seconds by part; exactly one part is at work at any time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.switches: dict[str, int] = defaultdict(int)
        self.part, self._since = "outside", time.process_time()

    def enter(self, part: str) -> str:
        """Switch to a part; return the one before."""
        now = time.process_time()
        before, self.part = self.part, part
        self.seconds[before] += now - self._since
        self.switches[before] += 1
        self._since = now
        return before

    def wrapped(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Return a function that counts for a part."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            before = self.enter(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.enter(before)

        return timed


def switch_seconds() -> float:
    """Return what a switch costs: half of what wrapping adds to a call."""
    clock, n = Clock(), 100_000
    timed = clock.wrapped(int, "probe")
    started = time.process_time()
    for _ in range(n):
        timed()
    return (time.process_time() - started) / n / 2


def install(clock: Clock) -> None:
    """Wrap the functions of all parts for the rest of the process."""
    for part, places in {**PARTS, "rest": (START,)}.items():
        for place in places:
            module, _, path = place.partition(":")
            owner: Any = importlib.import_module(f"evosearch.{module}")
            *outer, name = path.split(".")
            for word in outer:
                owner = getattr(owner, word)
            if hasattr(owner, name):
                setattr(owner, name, clock.wrapped(getattr(owner, name), part))


def measure(clock: Clock, problem: str, population: int, each: float) -> dict[str, Any]:
    """Make a run; return microseconds a candidate by part."""
    budget = population * GENERATIONS[population]
    best: dict[str, Any] = {}
    for _ in range(RUNS):
        clock.seconds.clear()
        clock.switches.clear()
        settings = {"searches.gp.population": str(population)}
        with tempfile.TemporaryDirectory() as folder:
            run = es.run(problem, search="gp", seed=0, budget=budget, settings=settings,
                         workers=1, out=folder)  # fmt: skip
        n = int(run.history()["evaluations"][-1])
        names = (*OF_SEARCH, "evaluation", "validation")
        us = {p: 1e6 * (clock.seconds[p] - each * clock.switches[p]) / n for p in names}
        total = sum(us[part] for part in OF_SEARCH)
        if not best or total < best["search"]:
            best = {"problem": problem, "population": population, "candidates": n,
                    "search": total, "us": us, "digest": run.digest}  # fmt: skip
    return best


def run_all(label: str, problems: list[str]) -> None:
    """Measure all, and write the record."""
    clock, each = Clock(), switch_seconds()
    install(clock)
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []
    for problem in problems:
        for population in GENERATIONS:
            row = {"label": label, **measure(clock, problem, population, each)}
            key = [row[name] for name in ("label", "problem", "population")]
            record = [r for r in record if [r["label"], r["problem"], r["population"]] != key]
            record.append(row)
            print(json.dumps(row), flush=True)
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def print_table() -> None:
    """Print the record as a table."""
    names = (*OF_SEARCH, "search", "evaluation", "validation")
    print("| problem | population | " + " | ".join(("", *names)) + " |")
    print("|---|---:|---|" + "---:|" * len(names))
    for row in json.loads(RECORD.read_text(encoding="utf-8")):
        us = row["us"] | {"search": row["search"]}
        cells = " | ".join(f"{us[name]:,.1f}" for name in names)
        print(f"| {row['problem']} | {row['population']:,} | {row['label']} | {cells} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--label", default="now")
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    args = parser.parse_args()
    if args.what == "run":
        run_all(args.label, args.problems.split(","))
    print_table()


if __name__ == "__main__":
    main()
