"""Expected evaluations to 1e-8 on rotated and shifted functions: batched CMA-ES against pycma.

ERT is all evaluations over the number of runs that reached the target, those of the others
included (Auger and Hansen 2005); the interval is of its ratio, by resampling runs. By hand, on one
core: ``OMP_NUM_THREADS=1 python benchmarks/weights/ert.py``
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cma
import numpy as np

from evosearch.functions import Instance
from evosearch.search.batched_cmaes import minimize_many

TARGET, SIGMA0, BUDGET = 1e-8, 2.0, 10_000  # the last for each dimension
NAMES = ("sphere", "ellipsoid", "rosenbrock")
# Measured earlier by the same protocol on other instances.
REFERENCE = {
    (10, "sphere"): 1_466,
    (10, "ellipsoid"): 4_056,
    (10, "rosenbrock"): 5_298,
    (40, "sphere"): 5_281,
    (40, "ellipsoid"): 48_494,
    (40, "rosenbrock"): 74_178,
}
Runs = np.ndarray
"""(runs, 2): evaluations, up to the first point at the target, and whether there was one."""


class Counted:
    """A function that counts its evaluations up to the first at the target."""

    def __init__(self, function: Instance) -> None:
        self._function = function
        self.n, self.is_hit = 0, False

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the values of points (n, d)."""
        values = self._function(points)
        if not self.is_hit:
            hits = np.flatnonzero(values <= TARGET)
            self.is_hit = bool(hits.size)
            self.n += int(hits[0]) + 1 if hits.size else len(values)
        return values


def own_runs(functions: list[Instance], x0: np.ndarray) -> Runs:
    """Run all searches in one call."""
    counted = [Counted(function) for function in functions]

    def fun(points: np.ndarray, which: np.ndarray) -> np.ndarray:
        return np.array([counted[k](rows) for k, rows in zip(which, points, strict=True)])

    minimize_many(fun, x0, SIGMA0, target=TARGET, budget=BUDGET * x0.shape[1])
    return np.array([(c.n, c.is_hit) for c in counted])


def pycma_runs(functions: list[Instance], x0: np.ndarray) -> Runs:
    """Run pycma with its default options, without restarts, on the same functions and starts."""
    runs = []
    for k, (function, start) in enumerate(zip(functions, x0, strict=True)):
        counted = Counted(function)
        options = {
            "verbose": -9,
            "verb_log": 0,
            "seed": k + 1,
            "ftarget": TARGET,
            "maxfevals": BUDGET * x0.shape[1],
        }
        es = cma.CMAEvolutionStrategy(start, SIGMA0, options)
        while not es.stop():
            points = es.ask()
            es.tell(points, counted(np.array(points)).tolist())
        runs.append((counted.n, counted.is_hit))
    return np.array(runs)


def ert(runs: Runs) -> np.ndarray:
    """Return the expected running time of runs (..., runs, 2)."""
    n_hits = runs[..., 1].sum(axis=-1)
    return runs[..., 0].sum(axis=-1) / np.where(n_hits > 0, n_hits, np.nan)


def interval(own: Runs, peer: Runs, n_samples: int = 10_000) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of the ratio of two ERTs."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(own), size=(2, n_samples, len(own)))
    ratios = ert(own[chosen[0]]) / ert(peer[chosen[1]])
    low, high = np.nanquantile(ratios, (0.025, 0.975))
    return float(low), float(high)


def measure(dimension: int, name: str, n_seeds: int) -> dict[str, Any]:
    """Run both on the same instances and starts."""
    functions = [Instance(name, dimension, instance=k) for k in range(1, n_seeds + 1)]
    starts = [np.random.default_rng([k, dimension]) for k in range(1, n_seeds + 1)]
    x0 = np.array([rng.uniform(-4.0, 4.0, dimension) for rng in starts])
    own, peer = own_runs(functions, x0), pycma_runs(functions, x0)
    low, high = interval(own, peer)
    return {
        "dimension": dimension,
        "function": name,
        "ert": round(float(ert(own))),
        "pycma_ert": round(float(ert(peer))),
        "reference_ert": REFERENCE.get((dimension, name)),
        "ratio": round(float(ert(own) / ert(peer)), 3),
        "interval": [round(low, 3), round(high, 3)],
        "hits": [int(own[:, 1].sum()), int(peer[:, 1].sum())],
    }


def table(rows: list[dict[str, Any]], n_seeds: int) -> str:
    """Return the rows as markdown."""
    lines = [
        f"| d | function | ERT | pycma | pycma earlier | ratio | 95 % | reached of {n_seeds} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["interval"]
        lines.append(
            f"| {row['dimension']} | {row['function']} | {row['ert']:,} | {row['pycma_ert']:,} | "
            f"{row['reference_ert'] or '-'} | {row['ratio']} | {low} … {high} | "
            f"{row['hits'][0]} / {row['hits'][1]} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, write the record after each row, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dimensions", default="10,40")
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "records" / "ert.json")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for dimension in map(int, given.dimensions.split(",")):
        for name in NAMES:
            rows.append(measure(dimension, name, given.seeds))
            record = {"seeds": given.seeds, "pycma": cma.__version__, "rows": rows}
            given.out.write_text(json.dumps(record, indent=1) + "\n")
    print(table(rows, given.seeds))


if __name__ == "__main__":
    main()
