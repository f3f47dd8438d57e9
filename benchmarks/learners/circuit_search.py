"""What searches find for the slots of circuits: ten seeds of a problem, and what is known there.

Champions are chosen on validation draws and scored on every other split. With a target, a run ends
once its best rule reaches on validation draws what error*pre reaches there less .003. A row that is
in the record is not made again.

    python benchmarks/learners/circuit_search.py circuit_fa [--search gp] [--seeds 10] [--budget N]
    python benchmarks/learners/circuit_search.py xor_parity --known      # rules that are known
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import evosearch as es
from evosearch.tables import plain

RECORD = Path(__file__).resolve().parent / "records" / "circuit_search.jsonl"
TARGETS = {"circuit_dfa": 0.955, "circuit_fa": 0.938}
STEPS = (0.003, 0.01, 0.03, 0.05, 0.1, 0.2)
_TEN_LAYERS = {"task.hidden": str([64] * 10), "task.updates": "440"}
_SQUARED = "error*pre*(post*(1 - post))"


def references(problem: str) -> Iterator[tuple[str, str, str, list[dict[str, str]]]]:
    """Yield what a problem's own rules cannot tell: name, problem, rule, settings to choose from.

    Of several settings the one that is best on validation draws is taken.
    """
    if problem == "xor_parity":
        yield ("squared error", problem, _SQUARED,
               [_at(step, {"task.signal": "delta"}) for step in (1.0, 2.0, 5.0, 10.0)])  # fmt: skip
        yield (
            "gradient, tuned",
            problem,
            "cross_entropy",
            [_at(step) for step in (0.5, 1.0, 2.0, 3.0, 5.0)],
        )
    if problem == "deep_random_feedback":
        yield (
            "backpropagation, tuned",
            problem,
            "error*pre",
            [_at(step, {"task.signal": "weights"}) for step in STEPS],
        )
    if problem == "feedback_plasticity":
        for circuit in ("bp", "fa", "kolen-pollack", "weight-mirror", "lra", "dtp"):
            steps = (0.03, 0.1, 0.3)
            settings = [_at(step, {"task.circuit": circuit, **_TEN_LAYERS}) for step in steps]
            yield f"learner {circuit}", "circuit_fa", "error*pre", settings
            if circuit in ("lra", "dtp"):  # their errors are not gradients, nor as large
                yield (
                    f"learner {circuit}, sign",
                    "circuit_fa",
                    "error*pre",
                    [
                        _at(
                            step,
                            {"task.circuit": circuit, "task.normaliser": "sign", **_TEN_LAYERS},
                        )
                        for step in (0.0003, 0.001, 0.003)
                    ],
                )


def _at(step: float, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**(settings or {}), "rule.eta": str(step), "rule.eta_factors": "[1.0]"}


def searched(problem: str, search: str, seed: int, budget: int | None) -> dict[str, Any]:
    """Return the row of one run."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = es.run(problem, search=search, seed=seed, budget=budget, workers=1, out=folder,
                     target=TARGETS.get(problem))  # fmt: skip
        champion, facts = run.champion, run.to_json()
        if champion is None or facts["success"] is None:
            raise SystemExit(f"{problem}, seed {seed}: the run was stopped; nothing is kept.")
        return {
            "problem": problem,
            "search": search,
            "seed": seed,
            "budget": run.budget,
            "evaluations": facts["evaluations"],
            "success": facts["success"],
            "to_success": run.evaluations_to_success,
            "rule": champion.simplified,
            "size": champion.size,
            "normalised": champion.normalised_test,
            "scores": scores(problem, run, splits_of(problem)),
            "cpu_s": round(time.process_time() - start, 1),
        }


def splits_of(problem: str) -> list[str]:
    """Return the splits that no search sees."""
    return [split for split in es.load_problem(problem).splits if split != "search"]


def scores(
    problem: str, candidate: Any, splits: Sequence[str], settings: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the mean of a candidate on splits, and whatever else the task measures there."""
    found = {split: es.evaluate(problem, candidate, split=split, settings=settings, workers=1)
             for split in splits}  # fmt: skip
    return {split: {"mean": one.mean, **one.metrics} for split, one in found.items()}


def known(problem: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of known rules and of references."""
    loaded, splits = es.load_problem(problem), splits_of(problem)
    for name, rule in loaded.known.items():
        yield {"problem": problem, "known": name, "rule": str(rule),
               "scores": scores(problem, name, splits)}  # fmt: skip
    for name, where, rule, choices in references(problem):
        tried = [scores(where, rule, ["validation"], one)["validation"]["mean"] for one in choices]
        best = choices[max(range(len(choices)), key=lambda k: tried[k])]
        here = splits if where == problem else splits_of(where)
        yield {"problem": problem, "known": name, "rule": rule, "step": float(best["rule.eta"]),
               "tried": tried, "scores": scores(where, rule, here, best)}  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """Return the rows of the record."""
    if not RECORD.is_file():
        return []
    return [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]


def keep(row: dict[str, Any]) -> None:
    """Add a row to the record."""
    with RECORD.open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain(row)) + "\n")
    print({name: row[name] for name in row if name != "scores"}, flush=True)


def main() -> None:
    """Make the rows that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem")
    parser.add_argument("--search", default="gp")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--most", type=int, default=10, help="runs of this call")
    parser.add_argument("--budget", type=int)
    parser.add_argument("--known", action="store_true")
    given = parser.parse_args()
    if given.known:
        for row in known(given.problem):
            keep(row)
        return
    there = {(row["problem"], row.get("search"), row.get("seed")) for row in rows()}
    left = [seed for seed in range(given.seeds)
            if (given.problem, given.search, seed) not in there]  # fmt: skip
    for seed in left[: given.most]:
        keep(searched(given.problem, given.search, seed, given.budget))


if __name__ == "__main__":
    main()
