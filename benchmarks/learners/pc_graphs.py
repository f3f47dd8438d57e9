"""Predictive coding on a convolutional network and a long short-term memory, beside backprop.

All learners of a network start from the same weights and see the same minibatches; a row says how
far a learner's loss strayed from backpropagation's, at most, over all updates. Backpropagation is
torch's automatic differentiation; the others use none. Numbers are float64. *Values settle* is
strict predictive coding, whose predictions move with the values; it is no gradient descent.

``cnn``: conv6-pool-conv16-pool-200-150-10 with filters of 5 x 5 and tanh units, on 3,000 of the
first 4,000 images of CIFAR-10's training set, which is a part of it and no CIFAR-10 result; plain
gradient steps. ``lstm``: the next character of tiny Shakespeare from sequences of 16, 64 cells,
Adam. At gamma = .1 errors need about ten steps for each edge of their way to the output. A learner
with a record is left out.

    OMP_NUM_THREADS=1 python benchmarks/learners/pc_graphs.py --records benchmarks/learners/records
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from evosearch.data.files import find_folder, packed_or_plain, read_file
from evosearch.graphs import (
    Graph,
    cnn,
    increments,
    lstm,
    relax,
    softmax_error,
    zero_divergence,
)
from evosearch.graphs.teachers import StrictPredictiveCoding
from evosearch.learners.steps import Steps

Batch = tuple[list[Tensor], list[Tensor]]
"""Inputs of a graph, and the labels of each output."""
Changes = tuple[float, dict[str, Tensor]]
"""The loss of a minibatch, and what each parameter is to change by."""

IMAGES, LENGTH, CELLS = 64, 16, 64


@dataclass(frozen=True)
class Case:
    """A network and what it learns.

    Attributes:
        graph: makes the network, the same at each call.
        batches: minibatches in their order.
        normaliser: of the changes.
        rate: learning rate.
        steps: settings of T to try with fixed predictions and steps of .1, from the least.
        strict: settings of T and gamma to try where values settle.
    """

    graph: Callable[[], Graph]
    batches: Sequence[Batch]
    normaliser: str
    rate: float
    steps: tuple[int, ...]
    strict: tuple[tuple[int, float], ...]


def cifar_case(updates: int) -> Case:
    name = "data_batch_1_first4000.bin"
    path = packed_or_plain(find_folder("cifar10_subset", (name,)) / name)
    assert path is not None
    records = np.frombuffer(read_file(path), np.uint8).reshape(-1, 3073)[:3000]
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32) / 127.5 - 1.0)
    labels = torch.from_numpy(records[:, 0].astype(np.int64))
    shown = np.random.default_rng(1).integers(len(records), size=(updates, IMAGES))
    return Case(
        lambda: cnn((3, 32, 32), (6, 16), (200, 150), 10, np.random.default_rng(0),
                    dtype=torch.float64),
        [([images[rows]], [labels[rows]]) for rows in shown],
        "none",
        0.05,
        (20, 100),
        ((20, 0.1), (50, 0.2)),
    )  # fmt: skip


def shakespeare_case(updates: int) -> Case:
    text = read_file(find_folder("tinyshakespeare", ("input.txt",)) / "input.txt")
    known, codes = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
    starts = np.random.default_rng(1).integers(len(codes) - LENGTH - 1, size=(updates, 16))
    before = [torch.zeros(16, CELLS, dtype=torch.float64) for _ in range(2)]

    def batch(places: Any) -> Batch:
        rows = torch.from_numpy(codes[places[:, None] + np.arange(LENGTH + 1)].astype(np.int64))
        one_hot = functional.one_hot(rows, len(known)).double()
        return [*one_hot[:, :-1].unbind(1), *before], list(rows[:, 1:].unbind(1))

    return Case(
        lambda: lstm(len(known), CELLS, len(known), LENGTH, np.random.default_rng(0),
                     dtype=torch.float64),
        [batch(places) for places in starts],
        "adam",
        0.01,
        (100, 200),
        ((100, 0.1),),
    )  # fmt: skip


def loss_of(outputs: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
    """Return the mean cross-entropy over examples and outputs."""
    losses = [functional.cross_entropy(o, t) for o, t in zip(outputs, labels, strict=True)]
    return torch.stack(losses).mean()


def backprop(graph: Graph, batch: Batch) -> Changes:
    free = {name: p.clone().requires_grad_() for name, p in graph.parameters.items()}
    values = replace(graph, parameters=free).predict(batch[0]).values
    loss = loss_of([values[k] for k in graph.outputs], batch[1])
    gradients = torch.autograd.grad(loss, list(free.values()))
    return float(loss.detach()), {name: -g for name, g in zip(free, gradients, strict=True)}


def settling(settle: Callable[..., list[Tensor | None]]) -> Callable[[Graph, Batch], Changes]:
    """Return how a way for errors to settle changes the parameters."""

    def changes(graph: Graph, batch: Batch) -> Changes:
        state = graph.predict(batch[0])
        outputs = [state.values[k] for k in graph.outputs]
        share = len(outputs) * len(outputs[0])
        errors = [softmax_error(o, t) / share for o, t in zip(outputs, batch[1], strict=True)]
        found = increments(graph, state, settle(graph, state, errors))
        return float(loss_of(outputs, batch[1])), found

    return changes


def train(case: Case, changes: Callable[[Graph, Batch], Changes]) -> tuple[list[float], float]:
    """Return the loss of each minibatch before its update, and the CPU seconds of an update."""
    graph, steps = case.graph(), Steps(case.normaliser, case.rate)
    parameters = [values.numpy() for values in graph.parameters.values()]
    losses: list[float] = []
    before = time.process_time()
    for batch in case.batches:
        loss, found = changes(graph, batch)
        losses.append(loss)
        steps.apply(parameters, [found[name].numpy() for name in graph.parameters])
    return losses, (time.process_time() - before) / len(case.batches)


def learners_of(case: Case) -> dict[str, Callable[[Graph, Batch], Changes]]:
    learners = {"backprop": backprop, "z-il": settling(zero_divergence)}
    for n in case.steps:
        learners[f"fixed prediction, T = {n}"] = settling(
            lambda *where, n=n: relax(*where, steps=n, gamma=0.1)
        )
    for n, gamma in case.strict:
        strict = StrictPredictiveCoding(steps=n, gamma=gamma)
        learners[f"values settle, T = {n} of {gamma}"] = strict.changes
    return learners


def measure(network: str, case: Case, known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row of each learner that has none; backpropagation is run for comparison."""
    there = {row["learner"] for row in known if row["network"] == network}
    learners = {name: changes for name, changes in learners_of(case).items() if name not in there}
    if not learners:
        return []
    truth, unit = train(case, backprop)
    rows: list[dict[str, Any]] = []
    for name, changes in learners.items():
        losses, seconds = train(case, changes) if name != "backprop" else (truth, unit)
        strayed = np.abs(np.subtract(losses, truth)).max()
        rows.append({
            "network": network,
            "learner": name,
            "vertices": len(case.graph().vertices),
            "depth": case.graph().depth,
            "updates": len(losses),
            "first_loss": losses[0],
            "last_losses": float(np.mean(losses[-5:])),
            "max_difference": float(strayed),
            "cpu_s_per_update": seconds,
            "cost_over_bp": seconds / unit,
            "losses": losses,
        })  # fmt: skip
        print(line(rows[-1]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    cells = (row["network"], row["learner"], row["depth"], row["updates"],
             f"{row['first_loss']:.3f}", f"{row['last_losses']:.3f}",
             f"{row['max_difference']:.1e}", f"{row['cost_over_bp']:.1f}")  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=("cnn", "lstm"), default=("cnn", "lstm"))
    parser.add_argument("--updates", type=int, default=30)
    parser.add_argument("--records", type=Path, help="folder for pc_graphs.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = {"cnn": cifar_case, "lstm": shakespeare_case}
    heads = ("network", "learner", "longest way", "updates", "loss at first", "mean of last five",
             "most off backprop", "CPU / backprop")  # fmt: skip
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    kept = None if options.records is None else options.records / "pc_graphs.jsonl"
    is_kept = kept is not None and kept.is_file()
    rows = [json.loads(text) for text in kept.read_text("utf-8").splitlines()] if is_kept else []
    for name in options.networks:
        rows += measure(name, cases[name](options.updates), rows)
        if kept is not None:
            rows.sort(key=lambda row: row["network"])
            kept.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
