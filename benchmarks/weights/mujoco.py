"""Locomotion of MuJoCo through Gymnasium: returns against episodes, of evolved linear policies.

Each run is the shipped problem as it is: one record for a problem, search and seed, with the curve
of what was validated. Steps are those of the searches' episodes, which these worlds never end
early; validation and test are not counted. Seconds are of one process and include validation.

    python benchmarks/weights/mujoco.py swimmer half_cheetah --searches ars random --seeds 3
    python benchmarks/weights/mujoco.py --draw    # the table and the picture, from the records
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import evosearch as es
from evosearch.api import finished_run
from evosearch.problem import load_problem
from evosearch.store import reading

RECORDS = Path(__file__).parent / "records"
PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "mujoco.png"
PROBLEMS = ("swimmer", "half_cheetah")


def measure(name: str, search: str, seed: int, budget: int | None, time_s: float | None) -> None:
    """Run one problem by one search and seed, or go on with it, and write its record."""
    problem = load_problem(name)
    begin = time.process_time()
    run = finished_run(
        problem,
        search=search,
        seed=seed,
        budget=budget,
        time_s=time_s,
        workers=1,
        backend="sequential",
    )
    cpu_s = time.process_time() - begin
    record = as_record(run, problem) | {"cpu_s": round(cpu_s, 1)}
    path = RECORDS / f"mujoco-{name}-{search}-s{seed}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")


def as_record(run: Any, problem: Any) -> dict[str, Any]:
    """Return what a run has shown."""
    facts, history = run.to_json(), run.history()
    steps = steps_of_an_evaluation(problem)
    champion = run.candidate(problem)
    with reading(run.path) as store:
        validations = store.validations()
    return {
        "problem": facts["problem"],
        "search": facts["search"],
        "seed": run.seed,
        "budget": run.budget,
        "stopped_by": facts["stopped_by"],
        "evaluations": facts["evaluations"],
        "steps": facts["evaluations"] * steps,
        "wall_s": round(facts["wall_s"], 1),
        "test": run.champion.fitness["test"],
        "test_episodes": tested(problem, champion),
        "baselines": run.baselines,
        "generations": [
            {"evaluations": int(n), "steps": int(n) * steps, "median": round(float(median), 1)}
            for n, median in zip(history["evaluations"], history["median"], strict=True)
        ],
        "validations": [
            {"evaluations": row.evaluations, "validation": round(row.fitness, 1)}
            for row in validations
        ],
    }


def steps_of_an_evaluation(problem: Any) -> int:
    """Return the steps that one evaluation takes in a world that never ends an episode early."""
    draws = len(problem.draws("search", run_seed=0, generation=1).keys)
    return draws * int(problem.task("search").settings.time_limit)


def tested(problem: Any, champion: Any) -> dict[str, float]:
    """Return how the returns of a champion are spread over the test episodes."""
    score = es.evaluate(problem, champion, split="test", workers=1)
    returns = np.asarray(score.per_draw)
    return {
        "episodes": len(returns),
        "mean": round(float(returns.mean()), 1),
        "sd": round(float(returns.std(ddof=1)), 1),
        "least": round(float(returns.min()), 1),
    }


def records() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return all records by problem and search, by rising seed."""
    found = defaultdict(list)
    for path in sorted(RECORDS.glob("mujoco-*.json")):
        record = json.loads(path.read_text())
        found[record["problem"], record["search"]].append(record)
    return dict(found)


def table(found: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """Return a markdown table: a row for each search, then what stands beside it."""
    lines = [
        "| problem | search | seeds | episodes | steps | CPU s | mean test return | each seed |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for name in PROBLEMS:
        of_problem = {search: rows for (p, search), rows in found.items() if p == name}
        for search, rows in of_problem.items():
            tests = [row["test"] for row in rows]
            spread = f" ± {np.std(tests, ddof=1):,.0f}" if len(tests) > 1 else ""
            episodes, steps, cpu_s = (
                np.mean([row[key] for row in rows]) for key in ("evaluations", "steps", "cpu_s")
            )
            lines.append(
                f"| {name} | {search} | {len(rows)} | {episodes:,.0f} | {steps:,.0f} | "
                f"{cpu_s:,.0f} | {np.mean(tests):,.1f}{spread} | "
                f"{', '.join(f'{test:,.1f}' for test in tests)} |"
            )
        for baseline, test in next(iter(of_problem.values()), [{"baselines": {}}])[0][
            "baselines"
        ].items():
            lines.append(f"| {name} | *{baseline}* | | | | | {test:,.1f} | |")
    return "\n".join(lines)


def draw(found: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """Draw the curves of all seeds, a panel for each problem."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(PROBLEMS), figsize=(10, 3.8), layout="constrained")
    colours = {"ars": "C0", "random": "0.55"}
    for panel, name in zip(panels, PROBLEMS, strict=True):
        for (problem, search), rows in found.items():
            if problem != name:
                continue
            for k, row in enumerate(rows):
                label = f"{search}, {len(rows)} seeds" if len(rows) > 1 else f"{search}, 1 seed"
                draw_run(panel, row, colours.get(search), label if k == 0 else None)
        panel.set(title=load_problem(name).config.title, xlabel="steps of the search")
        panel.spines[["top", "right"]].set_visible(False)
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.legend(frameon=False)
    panels[0].set_ylabel("mean return of the best so far\non validation episodes")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=130)


def draw_run(panel: Any, row: dict[str, Any], colour: str | None, label: str | None) -> None:
    """Draw what a run has validated, as the best so far, and its champion on test draws."""
    steps = row["steps"] / row["evaluations"]
    at = [point["evaluations"] * steps for point in row["validations"]]
    best = np.maximum.accumulate([point["validation"] for point in row["validations"]])
    panel.plot(at, best, color=colour, lw=1.4, marker=".", label=label)


def main() -> None:
    """Run what is asked for; then print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", choices=PROBLEMS)
    parser.add_argument("--searches", nargs="+", default=["ars"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, help="evaluations; default: the problem's")
    parser.add_argument("--time", type=float, help="seconds of one run at most")
    parser.add_argument("--draw", action="store_true", help="table and picture only")
    given = parser.parse_args()
    for name in [] if given.draw else given.problems:
        for search in given.searches:
            for seed in range(given.first_seed, given.first_seed + given.seeds):
                measure(name, search, seed, given.budget, given.time)
    found = records()
    print(table(found))
    draw(found)


if __name__ == "__main__":
    main()
