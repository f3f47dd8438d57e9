"""Locomotion of MuJoCo through Gymnasium: returns against episodes, of evolved linear policies.

Each run is the shipped problem as it is: one record for a problem, search and seed, with the curve
of what was validated. Steps are those of the searches' episodes, which these worlds never end
early; validation and test are not counted. Seconds are of one process and include validation.

    python benchmarks/weights/locomotion.py swimmer half_cheetah --searches ars random --seeds 3
    python benchmarks/weights/locomotion.py --draw    # the table and the picture, from the records
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from evosearch.api import finished_run
from evosearch.problem import load_problem
from evosearch.store.folder import reading

RECORDS = Path(__file__).parent / "records"
PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "mujoco.png"
PROBLEMS = ("swimmer", "half_cheetah")
BELOW = (0.5, -0.16)
LEGEND = (
    "lines: median of a generation, scaled to 1,000 steps; dots: its best on validation episodes; "
    "stars and numbers: the champion on test episodes"
)


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


def records() -> list[dict[str, Any]]:
    """Return all records."""
    return [json.loads(path.read_text()) for path in sorted(RECORDS.glob("mujoco-*.json"))]


def groups(found: list[dict[str, Any]], name: str) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return the records of a problem by search and evaluations made, by rising seed."""
    grouped = defaultdict(list)
    for record in found:
        if record["problem"] == name:
            grouped[record["search"], record["evaluations"]].append(record)
    return dict(grouped)


def table(found: list[dict[str, Any]]) -> str:
    """Return a markdown table: what stands beside the searches, then a row for each of them."""
    lines = [
        "| problem | search | seeds | episodes | steps | CPU s | mean test return | each seed |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for name in PROBLEMS:
        grouped = groups(found, name)
        for rows in list(grouped.values())[:1]:
            for baseline, test in rows[0]["baselines"].items():
                lines.append(f"| {name} | *{baseline}* | | | | | {test:,.1f} | |")
        for (search, evaluations), rows in grouped.items():
            lines.append(f"| {name} | {search} | {len(rows)} | {evaluations:,} | {summary(rows)} |")
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> str:
    """Return steps, seconds and test returns of seeds, as cells of a table."""
    tests = [row["test"] for row in rows]
    spread = f" ± {np.std(tests, ddof=1):,.1f}" if len(tests) > 1 else ""
    cpu_s = np.mean([row["cpu_s"] for row in rows])
    each = ", ".join(f"{test:,.1f}" for test in tests)
    return f"{rows[0]['steps']:,} | {cpu_s:,.0f} | {np.mean(tests):,.1f}{spread} | {each}"


def draw(found: list[dict[str, Any]]) -> None:
    """Draw the curves of all runs, a panel for each problem."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(PROBLEMS), figsize=(11, 4.6), layout="constrained")
    for panel, name in zip(panels, PROBLEMS, strict=True):
        for record in found:
            if record["problem"] == name:
                draw_run(panel, record)
        panel.set(title=load_problem(name).config.title, xlabel="thousand steps")
        panel.spines[["top", "right"]].set_visible(False)
        panel.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:,.0f}")
        panel.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=BELOW)
    panels[0].set_ylabel("return of 1,000 steps")
    figure.supxlabel(LEGEND, fontsize=8)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=130)


def draw_run(panel: Any, record: dict[str, Any]) -> None:
    """Draw one run: the median of its candidates, what was validated, and its test score."""
    colour = "0.6" if record["search"] == "random" else f"C{record['seed']}"
    per_evaluation = record["steps"] / record["evaluations"]
    # Rewards come at an even pace, so that a part of an episode stands for the whole.
    whole = 1000 / per_evaluation
    points = record["generations"]
    median = [point["median"] * whole for point in points]
    panel.plot([point["steps"] for point in points], median, color=colour, lw=0.9)
    dots = [
        (row["evaluations"] * per_evaluation, row["validation"]) for row in record["validations"]
    ]
    panel.plot(*np.array(dots).reshape(-1, 2).T, "o", color=colour, ms=4)
    label = f"{record['search']}, seed {record['seed']}: {record['test']:,.0f}"
    panel.plot(record["steps"], record["test"], "*", color=colour, ms=12, label=label)


def main() -> None:
    """Run what is asked for; then print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", help=f"of {', '.join(PROBLEMS)}")
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
