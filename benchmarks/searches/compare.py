"""Make docs/results/searches.md: the searches side by side at equal budgets, ten seeds or more.

    python benchmarks/searches/compare.py delta_rule oja_pc1 …   # run what is missing
    python benchmarks/searches/compare.py page                   # compose the page from the records

Runs lie in ./runs (or EVOSEARCH_RUNS) and are not done twice. A search that the problem's file does
not name runs with its own default settings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evosearch as es
from evosearch.comparison import Comparison
from evosearch.tables import plain

ROOT = Path(__file__).resolve().parents[2]
RECORDS = Path(__file__).parent / "records"
PAGE = ROOT / "docs" / "results" / "searches.md"


@dataclass(frozen=True)
class Plan:
    """One comparison: searches, candidate evaluations of each run, and runs of each search.

    ``settings`` are keys of the problem that are changed for all, by dotted path.
    """

    searches: tuple[str, ...]
    budget: int
    seeds: int
    settings: dict[str, str] = field(default_factory=dict[str, str])


_OF_RULES = (
    "gp", "gp-lexicase", "gp-afpo", "memetic", "linear-gp", "cgp", "map-elites", "beam", "mcts",
    "nrpa", "annealing", "enumerate", "random",
)  # fmt: skip

PLANS = {
    "discrete_table": Plan(
        (
            "local",
            "ga",
            "annealing",
            "parallel-tempering",
            "beam",
            "mcts",
            "nrpa",
            "nmcs",
            "random",
        ),
        200,
        25,
    ),
    "delta_rule": Plan(_OF_RULES, 1500, 10),
    "switching_cue": Plan(_OF_RULES, 1000, 10),
    "oja_pc1": Plan(
        _OF_RULES, 1500, 10, {"splits.validation.draws": "500", "splits.test.draws": "2000"}
    ),
    "hopfield_storage": Plan(_OF_RULES, 1000, 10),
    "xor_parity": Plan(
        _OF_RULES, 1500, 10, {"splits.validation.draws": "100", "splits.test.draws": "100"}
    ),
    "circuit_dfa": Plan(
        ("gp", "linear-gp", "beam", "random"),
        150,
        10,
        {"splits.validation.draws": "2", "splits.test.draws": "4"},
    ),
}


def main(names: Sequence[str]) -> None:
    """Compare on the problems that are named; ``page`` composes the page."""
    for name in names or [*PLANS, "page"]:
        if name == "page":
            PAGE.write_text(page(), encoding="utf-8")
            continue
        plan = PLANS[name]
        found = compared(name)
        record = found.to_json() | {
            "plan": {"budget": plan.budget, "seeds": plan.seeds, "settings": plan.settings},
            "wilson": {row.search: plain(list(row.wilson)) for row in found.rows},
        }
        RECORDS.mkdir(exist_ok=True)
        text = json.dumps(plain(record), indent=1, ensure_ascii=False)
        (RECORDS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def compared(name: str) -> Comparison:
    """Make the runs of a plan that are missing; return the comparison."""
    plan = PLANS[name]
    return es.compare(
        name,
        searches=plan.searches,
        seeds=plan.seeds,
        budget=plan.budget,
        settings=plan.settings,
        workers=1,
    )


def page() -> str:
    """Return the page: a table for each problem, and which differences hold."""
    parts = [INTRODUCTION]
    for name in PLANS:
        path = RECORDS / f"{name}.json"
        if path.exists():
            parts.append(section(name, json.loads(path.read_text(encoding="utf-8"))))
    from ground_truth import section as ground_truth  # which reads the runs of these plans

    parts += [ground_truth(), (Path(__file__).parent / "notes.md").read_text(encoding="utf-8")]
    return "\n".join(parts)


def section(name: str, record: dict[str, Any]) -> str:
    """Return the table of one problem, best success rate first."""
    plan, rows = record["plan"], list(record["rows"])
    rows.sort(key=lambda row: (-row["success_rate"], -(row["median"] or -1e9)))
    lines = [
        f"## {name}",
        "",
        f"{plan['seeds']} seeds, {plan['budget']:,} evaluations a run{changes(plan)}.",
        "",
        "| search | success (95 % interval) | median test | quartiles | evaluations to success |",
        "|---|---|---:|---|---:|",
    ]
    for row in rows:
        low, high = record["wilson"][row["search"]]
        quartiles = " to ".join(number(value) for value in row["iqr"])
        reached = row["evaluations_to_success"]
        cost = "–" if reached is None else f"{reached:,.0f}"
        lines.append(
            f"| `{row['search']}` | {row['success_rate']:.2f} ({low:.2f} to {high:.2f}) | "
            f"{number(row['median'])} | {quartiles} | {cost} |"
        )
    return "\n".join([*lines, "", differences(record), ""])


def changes(plan: dict[str, Any]) -> str:
    """Say which keys of the problem were changed for all searches."""
    settings = plan.get("settings") or {}
    said = ", ".join(f"{key} = {value}" for key, value in settings.items())
    return f", with {said}" if said else ""


def differences(record: dict[str, Any]) -> str:
    """Say which searches differ from random search beyond chance."""
    better, worse = [], []
    for test in record["tests"]:
        if "random" not in (test["a"], test["b"]) or test["p"] is None or test["p"] >= 0.05:
            continue
        other = test["b"] if test["a"] == "random" else test["a"]
        is_better = test["effect"] > 0.5 if test["a"] == other else test["effect"] < 0.5
        (better if is_better else worse).append(f"`{other}`")
    above = ", ".join(better) or "none"
    below = f"; below it {', '.join(worse)}" if worse else ""
    return f"Test scores above random search's (Mann-Whitney, Holm, p < 0.05): {above}{below}."


def number(value: float | None) -> str:
    """Return a score with four digits."""
    return "–" if value is None else f"{value:.4g}"


INTRODUCTION = """# Searches side by side

Equal candidate evaluations for every search, the same validation and test draws, settings of the
problem's file where it has some for a search and the search's defaults otherwise. Success is the
problem's own criterion; *evaluations to success* is the expected running time, all evaluations of
all runs over the number of successes. Made by `python benchmarks/searches/compare.py`. The runs of
the `gp` family on delta_rule, oja_pc1, switching_cue and hopfield_storage are of the time before
rules were bred in batches; on the first three their successes have not changed since (rules.md).
"""


if __name__ == "__main__":
    main(sys.argv[1:])
