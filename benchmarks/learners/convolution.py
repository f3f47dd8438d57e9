"""Learners on convolutional networks: how far random feedback falls behind, and residual rLRA.

``cifar plain``: conv8-pool-conv16-pool-64-10 with filters of 5 x 5; ``cifar residual``:
conv8-pool, then two blocks of two padded 3 x 3 convolutions around a skip connection, each with a
pool, and a linear output; both on the first 4,000 images of CIFAR-10's training set, which is a
part of it and no CIFAR-10 result: 2,500 train, 500 validate, 1,000 test. ``fashion plain``: the
first network on fashion8k. Units are tanh, numbers float32.

Every learner starts from the same weights and sees the same minibatches. Its normaliser and rate
are chosen among three by one life each on the validation part; then it learns from training and
validation part together, and the test part judges. A row that is in the record is left out, so
that the script goes on where it was stopped.

    python benchmarks/learners/convolution.py --records benchmarks/learners/records
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evosearch.data import load_data
from evosearch.data.files import find_folder, packed_or_plain, read_file
from evosearch.graphs import Alignment, Graph, accuracy, cnn, make_teacher, residual_cnn, train
from evosearch.graphs.teachers import FixedPrediction, RepresentationAlignment, Teacher
from evosearch.learners.steps import Steps

BATCH = 50
GRID = (("adam", 3e-3), ("adam", 1e-3), ("none", 0.1))
LEARNERS = ("bp", "shallow", "fa", "dfa", "lra", "rlra", "rlra-activity", "fpc")
READ = {"skip_rule": "activity", "rate": 0.1, "deviation": 0.1}  # the better of two looked at

STEPS, GAMMA = 12, 0.7  # of predictive coding: about nine edges lie below the output

Examples = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """A network and what it learns.

    Attributes:
        graph: makes the network from a generator.
        parts: training, validation and test examples.
        updates: minibatches shown.
    """

    graph: Callable[[np.random.Generator], Graph]
    parts: tuple[Examples, Examples, Examples]
    updates: int


def cifar() -> tuple[Examples, Examples, Examples]:
    """Return 2,500, 500 and 1,000 images with pixels from -1 to 1."""
    name = "data_batch_1_first4000.bin"
    path = packed_or_plain(find_folder("cifar10_subset", (name,)) / name)
    assert path is not None
    records = np.frombuffer(read_file(path), np.uint8).reshape(-1, 3073)
    images = torch.from_numpy((records[:, 1:] / 127.5 - 1.0).astype(np.float32))
    labels = torch.from_numpy(records[:, 0].astype(np.int64))
    cuts = (slice(0, 2500), slice(2500, 3000), slice(3000, 4000))
    first, second, third = ((images[k].reshape(-1, 3, 32, 32), labels[k]) for k in cuts)
    return first, second, third


def fashion() -> tuple[Examples, Examples, Examples]:
    """Return the parts of fashion8k: 7,000, 1,000 and 2,000 images."""
    data = load_data("fashion8k")
    first, second, third = (
        (torch.tensor(part.inputs).reshape(-1, 1, 28, 28), torch.tensor(part.labels))
        for part in (data.train, data.validation, data.test)
    )
    return first, second, third


CASES: dict[str, Callable[[], Case]] = {
    "cifar plain": lambda: Case(
        lambda rng: cnn((3, 32, 32), (8, 16), (64,), 10, rng), cifar(), 360
    ),
    "cifar residual": lambda: Case(
        lambda rng: residual_cnn((3, 32, 32), 8, 2, 10, rng), cifar(), 240
    ),
    "fashion plain": lambda: Case(
        lambda rng: cnn((1, 28, 28), (8, 16), (64,), 10, rng), fashion(), 160
    ),
}


def teacher_of(learner: str, graph: Graph, images: Tensor, rng: np.random.Generator) -> Teacher:
    if learner == "fpc":
        return FixedPrediction(steps=STEPS, gamma=GAMMA)
    if learner == "rlra-activity":
        return RepresentationAlignment(Alignment(graph, graph.predict([images]), rng, **READ))
    return make_teacher(learner, graph, [images], rng)


def live(
    case: Case, learner: str, setting: tuple[str, float], examples: Examples, held: Examples,
    key: tuple[int, ...],
) -> float:  # fmt: skip
    """Return the accuracy on the held part after one life, NaN where it diverged."""
    weights, order, feedback = (np.random.default_rng([*key, k]) for k in range(3))
    graph, (images, labels) = case.graph(weights), examples
    teacher = teacher_of(learner, graph, images[:1], feedback)
    n, per_pass = len(labels), len(labels) // BATCH
    passes = [torch.from_numpy(order.permutation(n)[: per_pass * BATCH])
              for _ in range(-(-case.updates // per_pass))]  # fmt: skip
    shown = torch.cat(passes).reshape(-1, BATCH)[: case.updates]
    batches = (([images[rows]], [labels[rows]]) for rows in shown)
    losses = train(graph, teacher, batches, Steps(*setting))
    is_finite = all(bool(values.isfinite().all()) for values in graph.parameters.values())
    return accuracy(graph, *held) if np.isfinite(losses[-1]) and is_finite else float("nan")


def measure(name: str, case: Case, learner: str, seeds: int) -> dict[str, Any]:
    before = time.process_time()
    train_part, validation, test = case.parts
    tried = [live(case, learner, setting, train_part, validation, (0, 0)) for setting in GRID]
    best = GRID[int(np.nanargmax(tried))]
    both = (torch.cat([train_part[0], validation[0]]), torch.cat([train_part[1], validation[1]]))
    final = np.array([live(case, learner, best, both, test, (1, k)) for k in range(seeds)])
    return {
        "case": name,
        "learner": learner,
        "vertices": len(case.graph(np.random.default_rng(0)).vertices),
        "updates": case.updates,
        "batch": BATCH,
        "train": len(both[1]),
        "test": len(test[1]),
        "tried": {f"{kind} {rate:g}": None if np.isnan(a) else round(a, 4)
                  for (kind, rate), a in zip(GRID, tried, strict=True)},
        "setting": f"{best[0]} {best[1]:g}",
        "seeds": seeds,
        "accuracies": [None if np.isnan(a) else round(float(a), 4) for a in final],
        "mean": None if np.isnan(final).any() else round(float(final.mean()), 4),
        "sd": None if np.isnan(final).any() else round(float(final.std(ddof=1)), 4),
        "cpu_s": round(time.process_time() - before, 1),
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    cells = (row["case"], row["learner"], row["setting"], row["tried"], row["mean"], row["sd"],
             row["cpu_s"])  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=LEARNERS)
    parser.add_argument("--seeds", type=int, default=3, help="at least 2")
    parser.add_argument("--records", type=Path, help="folder for convolution.jsonl, a line a row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = None if options.records is None else options.records / "convolution.jsonl"
    is_kept = kept is not None and kept.is_file()
    rows = [json.loads(text) for text in kept.read_text("utf-8").splitlines()] if is_kept else []
    there = {(row["case"], row["learner"]) for row in rows}
    print("| case | learner | setting | tried | mean | sd | CPU s |\n|---|---|---|---|---|---|---|")
    for name in options.cases:
        case = CASES[name]()
        for learner in options.learners:
            if (name, learner) not in there:
                rows.append(measure(name, case, learner, options.seeds))
                print(line(rows[-1]), flush=True)
                if kept is not None:
                    text = "".join(json.dumps(row) + "\n" for row in rows)
                    kept.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
