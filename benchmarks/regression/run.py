"""Symbolic regression side by side: formulas found in equal CPU time on the same rows.

    python benchmarks/regression/run.py --out records/runs.jsonl --formulas all --seeds 10

Each line of the record is one run; what is there already is not done again. Rows to learn from
follow the seed, those of the test are the same for all. ``--engines`` names those to run; gplearn
and pyoperon are no dependencies and may live in another environment, with this package on its path.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
from engines import ENGINES  # noqa: E402

from evosearch.tasks.regression import RegressionSettings, RegressionTask  # noqa: E402
from evosearch.tasks.regression_formulas import FORMULAS  # noqa: E402

TEN = (
    "nguyen-1", "nguyen-4", "nguyen-5", "nguyen-7", "nguyen-10", "nguyen-12", "keijzer-6",
    "pagie-1", "vladislavleva-4", "feynman-I.6.20",
)  # fmt: skip
TEST_KEY = (0, 2, 0)


def tables(formula, sample):
    """Return the rows to learn from and those of the test."""
    settings = RegressionSettings(formula=formula, sample=sample)
    task = RegressionTask(settings, dtype="float64", projection=None)
    return task.rows(TEST_KEY, "search"), task.rows(TEST_KEY, "test")


def done_in(path):
    """Return the runs of a record."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {(row["formula_name"], row["engine"], row["seed"]) for row in map(json.loads, lines)}


def warm_up(engines):
    """Compile before the clock runs."""
    if "evosearch" in engines:
        ENGINES["evosearch"](*tables("nguyen-1", 0), 0, 0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--formulas", default="all", help="all, ten, or names")
    parser.add_argument("--engines", default="evosearch,deap")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=float, default=30.0, help="CPU seconds of a run")
    args = parser.parse_args()
    groups = {"all": tuple(FORMULAS), "ten": TEN}
    names = groups.get(args.formulas) or tuple(args.formulas.split(","))
    engines = args.engines.split(",")
    warm_up(engines)
    known = done_in(args.out)
    for seed in range(args.seeds):
        for name in names:
            for engine in engines:
                if (name, engine, seed) in known:
                    continue
                started = time.time()
                with np.errstate(all="ignore"):
                    row = ENGINES[engine](*tables(name, seed), seed, args.budget)
                row |= {"formula_name": name, "engine": engine, "seed": seed}
                row |= {"budget_s": args.budget, "wall_s": time.time() - started}
                with args.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{name} {engine} {seed}: test {row['test']:.1e} size {row['size']} "
                      f"{row['cpu_s']:.1f} s  {row['formula'][:90]}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
