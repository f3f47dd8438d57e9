"""LRA-E, rLRA and NoProp on all of MNIST, and the first two on Fashion-MNIST, beside backprop.

The 60,000 training images are shown once to 784-256-256-10. Normaliser and rate of each learner are
chosen from the bed's three settings by two lifetimes on validation data, as ``evosearch fit``
does; then it learns from training and validation part together and the official test part judges.
NoProp takes Adam at its published rate, .001, unsearched: a life of it is long. Times of updates
are not measured here. A learner with a record is left out, so that the script goes on where it was
stopped.

    OMP_NUM_THREADS=1 python benchmarks/learners/full_size.py --records benchmarks/learners/records
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from evosearch.beds import Bed, bed
from evosearch.circuits.life import held_out
from evosearch.data import load_data
from evosearch.fitting import Bench
from evosearch.learners.base import Learned, Learner, Lesson
from evosearch.learners.catalogue import make_learner
from evosearch.learners.noprop import NoProp
from evosearch.learners.noprop_fm import NoPropFm

LEARNERS = {
    "mnist": (
        "shallow",
        "bp",
        "lra",
        "rlra",
        "noprop",
        "noprop, 10 blocks",
        "noprop-ct",
        "noprop-fm",
        "noprop-fm, scale 1",
    ),
    "fashion_mnist": ("shallow", "bp", "lra", "rlra"),
}
UNSEARCHED = {
    "noprop": NoProp(blocks=3),
    "noprop, 10 blocks": NoProp(),
    "noprop-ct": make_learner("noprop-ct"),
    "noprop-fm": make_learner("noprop-fm"),
    "noprop-fm, scale 1": NoPropFm(scale=1.0),
}
PUBLISHED = ("adam", 1e-3)


def measure(name: str, learner: str, seeds: int) -> dict[str, Any]:
    """Tune and report one learner on one bed."""
    before, where = time.process_time(), bed(name)
    if learner in UNSEARCHED:
        learned = unsearched(where, UNSEARCHED[learner], seeds)
        curves, setting, n90 = learned.curves, PUBLISHED, None
        found = {"tried": 1, "cosines": None, "diverged_at": list(learned.diverged_at)}
    else:
        fitted = Bench(where, load_data(where.data), make_learner(learner), 0).fitted(seeds)
        curves, n90 = fitted.curves, fitted.n90
        setting = fitted.normaliser, fitted.rate
        cosines = [None if np.isnan(c) else round(c, 3) for c in fitted.cosine_to_bp]
        found = {"tried": len(where.grid), "cosines": cosines,
                 "diverged_at": list(fitted.diverged_at)}  # fmt: skip
    final = curves[:, -1]
    return {
        "bed": name,
        "learner": learner,
        "updates": where.updates,
        "batch": where.batch,
        "seeds": seeds,
        "normaliser": setting[0],
        "rate": setting[1],
        "accuracies": [round(float(a), 4) for a in final],
        "mean": round(float(final.mean()), 4),
        "sd": round(float(final.std(ddof=1)), 4) if seeds > 1 else None,
        "n90": n90,
        "curve": [round(float(a), 4) for a in curves.mean(axis=0)],
        "forward_equivalents": passes(where, learner),
        **found,
        "cpu_s": round(time.process_time() - before, 1),
    }


def unsearched(where: Bed, learner: Learner, seeds: int) -> Learned:
    """Return how a learner does with the published setting, judged at the end alone."""
    data = load_data(where.data)
    train, test = held_out(data, "test")
    sizes = (data.n_inputs, *where.hidden, data.n_classes)
    keys = [(0, 1, k) for k in range(seeds)]  # the streams that Bench reports on
    return learner.learn(
        Lesson(where.network, sizes, where.steps, train, test, where.updates, where.batch,
               where.updates, *PUBLISHED, keys)
    )  # fmt: skip


def passes(where: Bed, learner: str) -> float:
    """Return the cost of an update in forward passes."""
    data = load_data(where.data)
    made = UNSEARCHED.get(learner) or make_learner(learner)
    return made.forward_equivalents((data.n_inputs, *where.hidden, data.n_classes))


def line(row: dict[str, Any]) -> str:
    sd = "–" if row["sd"] is None else f"{row['sd']:.4f}"
    cells = (row["bed"], row["learner"], f"{row['normaliser']} {row['rate']:g}",
             f"{row['mean']:.4f} ± {sd}", row["n90"], row["cpu_s"])  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beds", nargs="+", choices=tuple(LEARNERS), default=tuple(LEARNERS))
    parser.add_argument("--learners", nargs="+", help="of those of a bed; all without it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--records", type=Path, help="folder for full_size.jsonl, one line a row")
    options = parser.parse_args()
    kept = None if options.records is None else options.records / "full_size.jsonl"
    is_kept = kept is not None and kept.is_file()
    rows = [json.loads(text) for text in kept.read_text("utf-8").splitlines()] if is_kept else []
    there = {(row["bed"], row["learner"]) for row in rows}
    print("| bed | learner | setting | test | n90 | CPU s |\n|---|---|---|---|---|---|")
    for name in options.beds:
        for learner in LEARNERS[name]:
            if (name, learner) in there or learner not in (options.learners or LEARNERS[name]):
                continue
            rows.append(measure(name, learner, options.seeds))
            print(line(rows[-1]), flush=True)
            if kept is not None:
                kept.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
