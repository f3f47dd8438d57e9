"""The bbob functions: share of targets that each search reaches within a budget.

24 functions, 5 instances each, 51 targets from 10^2 to 10^-8 above the optimum; the budget is a
multiple of the dimension, the start the origin with steps of 2. Needs coco-experiment. By hand, on
one core; what a record holds already is not measured again:

    OMP_NUM_THREADS=1 python benchmarks/weights/bbob.py --searches cmaes,snes --dimensions 2,5
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cma
import numpy as np

from evosearch.driver import drive
from evosearch.search.base import SEARCHES, with_horizon
from evosearch.spaces import VectorSpace
from evosearch.tasks.bbob import BbobSettings, BbobTask

FUNCTIONS, INSTANCES = range(1, 25), range(1, 6)
TARGETS = 10.0 ** np.linspace(2, -8, 51)
SOLVED = 1e-8
GROUPS = {
    "separable": range(1, 6),
    "moderate": range(6, 10),
    "ill-conditioned": range(10, 15),
    "multimodal": range(15, 20),
    "weak structure": range(20, 25),
}
SEARCH_NAMES = (
    "cmaes",
    "sep-cmaes",
    "cr-fm-nes",
    "snes",
    "l-shade",
    "one-plus-one-es",
    "cem",
    "pgpe",
    "openai-es",
    "ars",
    "spsa",
    "annealing",
    "metropolis",
    "deep-ga",
    "random",
)
# Measured earlier by the same protocol at 500 evaluations a dimension: pycma's default options.
REFERENCE = {2: 0.683, 5: 0.594, 10: 0.514, 20: 0.351}


def settings_of(name: str, budget: int) -> dict[str, Any]:
    """Return the settings of a search named ``search`` or ``search:key=value+key=value``."""
    search, _, text = name.partition(":")
    pairs = [pair.partition("=")[::2] for pair in text.split("+") if pair]
    return with_horizon(SEARCHES.get(search), dict(pairs), budget)


def precision(name: str, function: int, dimension: int, instance: int, budget: int) -> float:
    """Return how far above the optimum the best scored point of one run lies.

    The name ``pycma`` stands for pycma itself with its default options and endings.
    """
    settings = BbobSettings.model_validate(
        {"function": function, "dimension": dimension, "instance": instance}
    )
    task = BbobTask(settings, seed=0)
    domain = task.domain()
    space = VectorSpace(dimension, x0=domain.x0, sigma0=domain.sigma0)
    seed = 1000 * instance + function
    if name == "pycma":
        return pycma_precision(task, seed, budget)
    search = SEARCHES.get(name.partition(":")[0])(space, seed=seed, **settings_of(name, budget))

    def score(points: np.ndarray) -> np.ndarray:
        return task.score(points, [(0,)], "search").per_draw[:, 0]

    found = drive(search, score, budget=budget, target=-SOLVED, show_progress=False)
    # A search's favourites are scored beyond the budget and do not count.
    return float(-np.nanmax(found.history["best"]))


def pycma_precision(task: BbobTask, seed: int, budget: int) -> float:
    """Return the same of one run of pycma without restarts."""
    domain = task.domain()
    options = {"verbose": -9, "verb_log": 0, "seed": seed, "maxfevals": budget, "ftarget": SOLVED}
    es = cma.CMAEvolutionStrategy(domain.x0, domain.sigma0, options)
    best, n_left = np.inf, budget
    while n_left > 0 and not es.stop():
        points = es.ask()
        losses = -task.score(np.array(points), [(0,)], "search").per_draw[:, 0]
        best = min(best, float(losses[:n_left].min()))
        n_left -= len(losses)
        es.tell(points, losses.tolist())
    return best


def measure(name: str, dimension: int, multiple: int) -> dict[str, Any]:
    """Run a search on all functions and instances of a dimension."""
    start = time.process_time()
    reached = np.array(
        [
            [precision(name, f, dimension, i, multiple * dimension) for i in INSTANCES]
            for f in FUNCTIONS
        ]
    )
    shares = (reached[:, :, None] - 1e-15 <= TARGETS).mean(axis=2)
    return {
        "search": name,
        "dimension": dimension,
        "multiple": multiple,
        "solved": round(float(shares.mean()), 4),
        "standard_error": round(float(np.sqrt(shares.var(axis=1, ddof=1).mean() / shares.size)), 4),
        "to_1e-8": f"{int((reached <= SOLVED).sum())}/{reached.size}",
        "groups": {
            g: round(float(shares[[f - 1 for f in fs]].mean()), 3) for g, fs in GROUPS.items()
        },
        "cpu_s": round(time.process_time() - start, 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return a line for each search and budget, a column for each dimension."""
    dimensions = sorted({row["dimension"] for row in rows})
    head = " | ".join(f"D={d}" for d in dimensions)
    lines = [f"| search | evaluations | {head} |", "|---|---" + "|---" * len(dimensions) + "|"]
    found = {(r["search"], r["multiple"], r["dimension"]): r["solved"] for r in rows}
    for name, multiple in dict.fromkeys((r["search"], r["multiple"]) for r in rows):
        cells = [found.get((name, multiple, d)) for d in dimensions]
        shown = " | ".join("-" if cell is None else f"{cell:.3f}" for cell in cells)
        lines.append(f"| {name} | {multiple:,}·D | {shown} |")
    shown = " | ".join(f"{REFERENCE[d]:.3f}" if d in REFERENCE else "-" for d in dimensions)
    return "\n".join([*lines, f"| pycma, default, earlier | 500·D | {shown} |"])


def main() -> None:
    """Measure what the record lacks, write it after each row, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", default=",".join(SEARCH_NAMES), help="separated by commas")
    parser.add_argument("--dimensions", default="2,5,10,20")
    parser.add_argument("--multiple", type=int, default=500, help="evaluations for each dimension")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "records" / "bbob.json")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(given.out.read_text())["rows"] if given.out.exists() else []
    done = {(row["search"], row["dimension"], row["multiple"]) for row in rows}
    for dimension in map(int, given.dimensions.split(",")):
        for name in given.searches.split(","):
            if (name, dimension, given.multiple) in done:
                continue
            rows.append(measure(name, dimension, given.multiple))
            given.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
            print(json.dumps(rows[-1]), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
