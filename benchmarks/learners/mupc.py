"""Whether predictive coding trains 64 layers: μPC beside the same network without its scales.

Networks of 63 tanh layers of 64 units and an output learn the digits for five passes, by squared
error and Adam. ``mupc`` has skip connections and the Depth-μP scales, ``residual`` skip
connections alone, ``plain`` neither. Each learning rate is chosen by one lifetime on validation
data; the others learn from training and validation data, and the test part judges.

    OMP_NUM_THREADS=1 python benchmarks/learners/mupc.py --records benchmarks/learners/records
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from evosearch.circuits.life import held_out
from evosearch.data import load_data
from evosearch.learners.base import Learned, Lesson
from evosearch.learners.mupc import MuPc

UPDATES, BATCH, CHECK_EVERY = 220, 32, 44
STEPS, GAMMA = 24, 0.2
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


def line(row: dict[str, Any]) -> str:
    tried = ", ".join(f"{rate}: {found}" for rate, found in row["validation"].items())
    cells = (row["parametrisation"], row["layers"], row["rate"], tried,
             f"{row['mean']:.3f} ± {row['sd']}", row["cpu_s"])  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=64, help="with the output, at least 3")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--records", type=Path, help="folder for mupc.jsonl, one line a row")
    options = parser.parse_args()
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
