"""64 small searches in one call of batched CMA-ES against 64 runs of pycma: CPU time to 1e-8.

By hand, on one core: ``OMP_NUM_THREADS=1 python benchmarks/weights/batched_cmaes.py``
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cma
import numpy as np

from evosearch.functions import FUNCTIONS
from evosearch.search.batched_cmaes import minimize_many

TARGET, SIGMA0, N = 1e-8, 0.5, 64
ASKED = {5: 30.0, 20: 8.0}
NAMES = ("sphere", "ellipsoid", "rosenbrock")


def batched(name: str, x0: np.ndarray) -> tuple[int, int]:
    """Return how many searches reached the target, and all evaluations."""
    function, d = FUNCTIONS[name], x0.shape[1]

    def fun(points: np.ndarray, which: np.ndarray) -> np.ndarray:
        return function(points.reshape(-1, d)).reshape(points.shape[:2])

    found = minimize_many(fun, x0, SIGMA0, target=TARGET)
    return found.status.count("target"), int(found.evaluations.sum())


def one_by_one(name: str, x0: np.ndarray) -> tuple[int, int]:
    """The same by pycma, whose objective takes a generation at a time, too."""
    function, n_solved, n_evaluations = FUNCTIONS[name], 0, 0
    for k, start in enumerate(x0):
        options = {"verbose": -9, "verb_log": 0, "seed": k + 1, "ftarget": TARGET}
        es = cma.CMAEvolutionStrategy(start, SIGMA0, options)
        while not es.stop():
            points = es.ask()
            es.tell(points, function(np.array(points)).tolist())
        n_solved += es.best.f <= TARGET
        n_evaluations += es.countevals
    return n_solved, n_evaluations


def timed(run: Callable[[str, np.ndarray], tuple[int, int]], *of: Any) -> tuple[float, int, int]:
    """Return CPU seconds and what ``run`` returned."""
    start = time.process_time()
    found = run(*of)
    return time.process_time() - start, *found


def measure(dimension: int, name: str, repeats: int) -> dict[str, Any]:
    """Time both in turns; the first call of each warms up and does not count."""
    x0 = np.random.default_rng(dimension).uniform(-2.0, 2.0, (N, dimension))
    batched(name, x0)
    one_by_one(name, x0[:2])
    pairs = [(timed(batched, name, x0), timed(one_by_one, name, x0)) for _ in range(repeats)]
    own, peer = (min(pair[k][0] for pair in pairs) for k in (0, 1))
    return {
        "dimension": dimension,
        "function": name,
        "batched_cpu_s": round(own, 4),
        "pycma_cpu_s": round(peer, 3),
        "ratio": round(peer / own, 1),
        "ratio_asked": ASKED.get(dimension),
        "solved": [pairs[0][0][1], pairs[0][1][1]],
        "evaluations": [pairs[0][0][2], pairs[0][1][2]],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as markdown."""
    lines = [
        "| d | function | CPU s | pycma CPU s | ratio | asked | solved of 64 | evaluations |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        solved, evaluations = row["solved"], row["evaluations"]
        lines.append(
            f"| {row['dimension']} | {row['function']} | {row['batched_cpu_s']} | "
            f"{row['pycma_cpu_s']} | {row['ratio']} | {row['ratio_asked'] or '-'} | "
            f"{solved[0]} / {solved[1]} | {evaluations[0]:,} / {evaluations[1]:,} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, write the record, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dimensions", default="5,20")
    parser.add_argument("--repeats", type=int, default=3)
    folder = Path(__file__).parent / "records"
    parser.add_argument("--out", type=Path, default=folder / "batched_cmaes.json")
    given = parser.parse_args()
    dimensions = [int(d) for d in given.dimensions.split(",")]
    rows = [measure(d, name, given.repeats) for d in dimensions for name in NAMES]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"searches": N, "target": TARGET, "pycma": cma.__version__, "rows": rows}
    given.out.write_text(json.dumps(record, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
