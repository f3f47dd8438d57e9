"""Whether predictive coding trains 64 layers: μPC beside the same network without its scales.

Networks of 63 tanh layers of 64 units and an output learn the digits for five passes, by squared
error and Adam. ``mupc`` has skip connections and the Depth-μP scales, ``residual`` skip
connections alone, ``plain`` neither. Each learning rate is chosen by one lifetime on validation
data; the others learn from training and validation data, and the test part judges.

``--bed digits6`` measures μPC with its default settings on a bed beside its floor and ceiling, as
table.py does, but with as many rates of its own: its weights are of unit size, and rates so of
another order.

    OMP_NUM_THREADS=1 python benchmarks/learners/mupc.py --records benchmarks/learners/records
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evosearch.beds import bed
from evosearch.circuits.life import held_out
from evosearch.data import load_data
from evosearch.fitted import Fit
from evosearch.fitting import Bench, times
from evosearch.learners.base import Learned, Lesson
from evosearch.learners.catalogue import make_learner
from evosearch.learners.mupc import MuPc
from evosearch.tables import plain

UPDATES, BATCH, CHECK_EVERY = 220, 32, 44
STEPS, GAMMA = 24, 0.2
OWN = (("adam", 0.1), ("adam", 0.03), ("adam", 0.01), ("adam", 0.003))
BED_SEEDS = 5
RATES = {"mupc": (0.1, 0.03, 0.01), "residual": (1e-2, 1e-3, 1e-4), "plain": (1e-2, 1e-3, 1e-4)}


def live(name: str, rate: float, split: str, n_layers: int, n_seeds: int) -> Learned:
    """Return how lives went that learned from a split's networks and were judged on it."""
    data = load_data("digits")
    train, held = held_out(data, split)
    purpose = 0 if split == "validation" else 1
    lesson = Lesson(
        network="mlp",
        sizes=(data.n_inputs, *[64] * (n_layers - 1), data.n_classes),
        steps=1,
        train=train,
        held=held,
        updates=UPDATES,
        batch=BATCH,
        check_every=CHECK_EVERY,
        normaliser="adam",
        rate=rate,
        keys=[(0, purpose, k) for k in range(n_seeds)],
        is_probed=True,
    )
    return MuPc(steps=STEPS, gamma=GAMMA, parametrisation=name).learn(lesson)


def measure(name: str, n_layers: int, n_seeds: int) -> dict[str, Any]:
    before = time.process_time()

    def validated(rate: float) -> float:
        return float(np.nan_to_num(live(name, rate, "validation", n_layers, 1).curves[0, -1]))

    tried = {rate: validated(rate) for rate in RATES[name]}
    rate = max(tried, key=lambda rate: tried[rate])
    learned = live(name, rate, "test", n_layers, n_seeds)
    final = learned.curves[:, -1]
    assert learned.cosines is not None
    return {
        "parametrisation": name,
        "layers": n_layers,
        "steps": STEPS,
        "gamma": GAMMA,
        "updates": UPDATES,
        "seeds": n_seeds,
        "validation": {str(rate): round(found, 4) for rate, found in tried.items()},
        "rate": rate,
        "accuracies": [round(float(a), 4) for a in final],
        "mean": round(float(final.mean()), 4),
        "sd": round(float(final.std(ddof=1)), 4) if n_seeds > 1 else None,
        "curve": [round(float(a), 4) for a in learned.curves.mean(axis=0)],
        # Layers that errors do not come down to change by nothing, which has no direction.
        "cosines": [
            None if np.isnan(c).any() else round(float(c.mean()), 3) for c in learned.cosines.T
        ],
        "cpu_s": round(time.process_time() - before, 1),
    }


def on_bed(name: str, ours: MuPc) -> dict[str, Any]:
    """Return the facts of a row of table.py."""
    where, learners = bed(name), (bed(name).floor, bed(name).ceiling, ours.name)
    seconds = times(name, learners=learners)
    if (ours.steps, ours.gamma) != (MuPc().steps, MuPc().gamma):
        seconds[ours.name] = math.nan  # what was timed has the default steps
    rows = []
    for learner in learners:
        is_ours = learner == ours.name
        own = replace(where, grid=OWN[: len(where.grid)]) if is_ours else where
        made = ours if is_ours else make_learner(learner)
        fitted = Bench(own, load_data(where.data), made, 0).fitted(BED_SEEDS)
        rows.append(replace(fitted, seconds_per_update=seconds[learner]))
    fit = Fit(name, BED_SEEDS, tuple(rows), where.check_every, where.floor, where.ceiling)
    return {**fit.facts(rows[-1]), "accuracies": rows[-1].accuracies, "seeds": BED_SEEDS}


def line(row: dict[str, Any]) -> str:
    tried = ", ".join(f"{rate}: {found}" for rate, found in row["validation"].items())
    cells = (row["parametrisation"], row["layers"], row["rate"], tried,
             f"{row['mean']:.3f} ± {row['sd']}", row["cpu_s"])  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=64, help="with the output, at least 3")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bed", help="measure on a bed of four settings, such as digits6, alone")
    parser.add_argument("--steps", type=int, default=8, help="of relaxation, on a bed")
    parser.add_argument("--gamma", type=float, default=0.5, help="of relaxation, on a bed")
    parser.add_argument("--records", type=Path, help="folder for mupc.jsonl, one line a row")
    options = parser.parse_args()
    if options.bed is not None:
        text = (
            json.dumps(
                plain(on_bed(options.bed, MuPc(steps=options.steps, gamma=options.gamma))), indent=1
            )
            + "\n"
        )
        print(text)
        if options.records is not None:
            (options.records / options.bed / "mupc.json").write_text(text, encoding="utf-8")
        return
    print(
        "| parametrisation | layers | rate | validation | test | CPU s |\n|---|---|---|---|---|---|"
    )
    rows: list[dict[str, Any]] = []
    for name in RATES:
        rows.append(measure(name, options.layers, options.seeds))
        print(line(rows[-1]), flush=True)
    if options.records is not None:
        options.records.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (options.records / "mupc.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
