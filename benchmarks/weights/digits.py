"""The 2,410 weights of a 64-32-10 network on scikit-learn's digits, full batch, population 128.

The peers' protocol: 1,437 training images (a stratified cut with seed 0 of all 1,797), 360 test
images, tanh, full-batch cross-entropy, one core. One line of JSON a search: generations a second
of CPU time, ask and tell and scores together, CPU seconds and evaluations to 95 % test accuracy,
and accuracies on the way; Adam stands beside them.

    OMP_NUM_THREADS=1 python benchmarks/weights/digits.py --cpu 10
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from evosearch.data.base import Examples, examples
from evosearch.networks.adam import train_adam
from evosearch.networks.mlp import Batch, Mlp
from evosearch.outcome import FloatArray, plain_evaluation
from evosearch.search.base import SEARCHES
from evosearch.spaces import VectorSpace

# Step size and learning rates as the peers ran with; the last two are this toolkit's own forms.
CASES: dict[str, dict[str, Any]] = {
    "openai-es": {"search": "openai-es", "rate": 0.02},
    "snes": {"search": "snes"},
    "pgpe": {"search": "pgpe"},
    "sep-cmaes": {"search": "sep-cmaes"},
    "low-rank-es": {"search": "low-rank-es", "rate": 0.02},
    "low-rank-es-units": {
        "search": "low-rank-es", "rate": 0.02, "units": 1, "mirrored": False, "noise": "sign",
        "population": 42 * 16, "sigma0": 0.02,
    },
}  # fmt: skip
TARGET = 0.95


def parts() -> tuple[Examples, Examples]:
    """Return the peers' training and test images."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        images / 16.0, labels, test_size=360, random_state=0, stratify=labels
    )
    return examples(x, y), examples(x_test, y_test)


def evolve(network: Mlp, shown: Batch, seed: int, settings: dict[str, Any]) -> Iterator[Any]:
    """Yield candidates scored so far and the best weights known after each generation."""
    given = {"population": 128, "sigma0": 0.05, **settings}
    start = network.initial(np.random.default_rng(seed))
    space = VectorSpace(len(start), x0=start, shapes=network.shapes)
    search = SEARCHES.get(given.pop("search"))(space, seed=seed, **given)
    n_evaluations = 0
    while True:
        blocks = search.ask_blocks()
        found = [network.score(block, shown, "cross-entropy") for block in blocks]
        fitness = np.concatenate(found)
        search.tell(range(len(fitness)), plain_evaluation(fitness, len(start)))
        n_evaluations += len(fitness)
        yield n_evaluations, search.favourites()[0]


def measure(name: str, seed: int, budget_s: float) -> dict[str, Any]:
    train, test = parts()
    network = Mlp((64, 32, 10), "tanh")
    shown, held = network.batch(train), network.batch(test)
    row: dict[str, Any] = {"case": name, "seed": seed, "cpu_s_to_target": None, "test": {}}
    # The first generation compiles.
    next(evolve(network, shown, seed, CASES[name]))
    spent, due, n = 0.0, 0.1, 0
    before = time.process_time()
    for n_evaluations, weights in evolve(network, shown, seed, CASES[name]):
        n += 1
        spent += time.process_time() - before
        is_over = spent >= budget_s
        if is_over or spent >= due:
            accuracy = accuracy_of(network, weights, held)
            row["test"][round(spent, 2)] = accuracy
            due = spent * 1.1
            if accuracy >= TARGET and row["cpu_s_to_target"] is None:
                row |= {"cpu_s_to_target": round(spent, 2), "evaluations_to_target": n_evaluations}
        if is_over:
            break
        before = time.process_time()
    return row | {"generations_per_cpu_s": round(n / spent, 1)}


def accuracy_of(network: Mlp, weights: FloatArray, held: Batch) -> float:
    return round(float(network.score(weights[None], held, "accuracy")[0]), 4)


def measure_adam(seed: int) -> dict[str, Any]:
    train, test = parts()
    network = Mlp((64, 32, 10), "tanh")
    start = network.initial(np.random.default_rng(seed))
    before = time.process_time()
    weights = train_adam(network, train, start, epochs=150, batch=128, seed=seed)
    spent = time.process_time() - before
    accuracy = accuracy_of(network, weights, network.batch(test))
    return {"case": "adam", "seed": seed, "test": {round(spent, 2): accuracy}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cpu", type=float, default=10.0, help="CPU seconds a run")
    options = parser.parse_args()
    for seed in range(options.seeds):
        for name in options.cases:
            print(json.dumps(measure(name, seed, options.cpu)), flush=True)
        print(json.dumps(measure_adam(seed)), flush=True)


if __name__ == "__main__":
    main()
