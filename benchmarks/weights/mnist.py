"""Accuracy on MNIST against CPU seconds: a 784-256-10 network evolved, and what stands beside it.

All methods learn from the 50,000 training images; settings were chosen on the 10,000 validation
images; the 10,000 test images are reported. One JSON record a method and seed, one line a point of
its curve: evaluations (candidates times minibatches; for gradient methods minibatches), CPU
seconds of the whole process from the first generation on, wall seconds, validation, test.

    python benchmarks/weights/mnist.py --methods low-rank-es adam --seeds 3 --cpu 1200
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from evosearch.data import load_data
from evosearch.data.base import Examples
from evosearch.networks.mlp import Mlp
from evosearch.outcome import FloatArray, plain_evaluation
from evosearch.search.low_rank_es import LowRankEs
from evosearch.search.low_rank_estimate import one_core
from evosearch.spaces import VectorSpace

RECORDS = Path(__file__).parent / "records"
SIZES = (784, 256, 10)
# Units perturbed together, population (candidates), minibatch, learning rate; the second is the
# published form, all layers at once in mirrored pairs.
UNIT_WISE = {"units": 1, "mirrored": False, "noise": "sign", "sigma0": 0.005}
WHOLE = {"units": 0, "mirrored": True, "noise": "sign", "sigma0": 0.005}


Curve = Iterator[tuple[int, Any]]


class Clock:
    """CPU and wall seconds; what is spent on measuring accuracy does not count."""

    def __init__(self, budget_s: float) -> None:
        self.budget_s = budget_s
        self._start()

    def _start(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the process so far."""
        return time.process_time() - self._cpu

    @property
    def wall_s(self) -> float:
        """Seconds of the wall clock so far."""
        return time.perf_counter() - self._wall

    @property
    def share(self) -> float:
        """What part of the CPU seconds is spent."""
        return min(1.0, self.cpu_s / self.budget_s)

    def paused(self, function: Callable[[], Any]) -> Any:
        """Return what a function returns, with the clock stopped."""
        cpu, wall = time.process_time(), time.perf_counter()
        found = function()
        self._cpu += time.process_time() - cpu
        self._wall += time.perf_counter() - wall
        return found


def low_rank(seed: int, threads: int, settings: dict[str, Any], batch: int) -> Curve:
    """Evolve all weights; yield candidates scored and the mean after each generation."""
    data, network = load_data("mnist"), Mlp(SIZES, "relu")
    start = network.initial(np.random.default_rng([seed, 1]))
    space = VectorSpace(len(start), x0=start, shapes=network.shapes)
    search = LowRankEs(space, seed=seed, **settings)
    rng = np.random.default_rng([seed, 2])
    n_evaluations = 0
    with ThreadPoolExecutor(threads) as pool:
        while True:
            chosen = rng.choice(len(data.train), batch, replace=False, shuffle=False)
            shown = network.batch(data.train.rows(chosen))

            def scored(points: Any, shown: Any = shown) -> FloatArray:
                return network.score(points, shown, "cross-entropy")

            (population,) = search.ask_blocks()
            cuts = [len(population) * k // (2 * threads) * 2 for k in range(threads + 1)]
            pieces = [population[a:b] for a, b in pairwise(cuts)]
            fitness = np.concatenate(list(pool.map(scored, pieces)))
            search.tell(range(len(fitness)), plain_evaluation(fitness, len(start)))
            n_evaluations += len(fitness)
            yield n_evaluations, search.favourites()[0]


def gradient(seed: int, sizes: tuple[int, ...], clock: Clock, batch: int = 128) -> Curve:
    """Train by backpropagation and Adam; the learning rate falls along a cosine of the clock."""
    import torch

    from evosearch.networks.torch_forward import dense_logits

    torch.set_num_threads(1)  # threads that wait for one another count as CPU seconds
    data, network = load_data("mnist"), Mlp(sizes, "relu")
    start = network.initial(np.random.default_rng([seed, 1]))
    weights = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    inputs = torch.from_numpy(data.train.inputs.copy())
    labels = torch.from_numpy(data.train.labels.copy())
    optimizer = torch.optim.Adam([weights], lr=1e-3)
    rng = np.random.default_rng([seed, 2])
    n_batches = 0
    while True:
        chosen = torch.from_numpy(rng.integers(len(labels), size=batch))
        optimizer.param_groups[0]["lr"] = 1e-3 * 0.5 * (1 + np.cos(np.pi * clock.share))
        optimizer.zero_grad()
        logits = dense_logits(network, weights[None], inputs[chosen])[0]
        torch.nn.functional.cross_entropy(logits, labels[chosen]).backward()
        optimizer.step()
        n_batches += 1
        yield n_batches, weights.detach().numpy()


def node_perturbation(seed: int, clock: Clock, batch: int = 256) -> Curve:
    """Perturb the sums of hidden units and classes, one noise an example; learn from its loss.

    It reads the inputs of each layer to turn the credit of units into that of weights, so it is no
    black box. The noise added to an example's sums, mirrored, is credited with half the
    difference of that example's losses.
    """
    data, network = load_data("mnist"), Mlp(SIZES, "relu")
    w = network.initial(np.random.default_rng([seed, 1])).astype(np.float32)
    first, second = np.zeros_like(w), np.zeros_like(w)
    rng = np.random.default_rng([seed, 2])
    sigma, n_evaluations, n_steps = np.float32(0.01), 0, 0
    while True:
        chosen = rng.integers(len(data.train), size=batch)
        x, y = data.train.inputs[chosen], data.train.labels[chosen]
        with one_core():
            gradient = _node_gradient(network, w, x, y, rng, sigma)
        n_steps += 1
        first += np.float32(0.1) * (gradient - first)
        second += np.float32(0.001) * (gradient * gradient - second)
        rate = 3e-3 * 0.5 * (1 + np.cos(np.pi * clock.share)) / (1 - 0.9**n_steps)
        w += np.float32(rate) * first / (np.sqrt(second / np.float32(1 - 0.999**n_steps)) + 1e-8)
        n_evaluations += 2
        yield n_evaluations, w


def _node_gradient(
    network: Mlp, w: Any, x: Any, y: Any, rng: np.random.Generator, sigma: Any
) -> Any:
    (a, b, w1, b1, _), (_, c, w2, b2, _) = network.layers.tolist()
    hidden, readout = w[w1:b1].reshape(b, a), w[w2:b2].reshape(c, b)
    noise1 = rng.standard_normal((len(x), b), dtype=np.float32)
    noise2 = rng.standard_normal((len(x), c), dtype=np.float32)
    z = x @ hidden.T + w[b1 : b1 + b]
    losses = []
    for sign in (sigma, -sigma):
        h = np.maximum(z + sign * noise1, 0)
        logits = h @ readout.T + w[b2 : b2 + c] + sign * noise2
        logits -= logits.max(axis=1, keepdims=True)
        losses.append(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y])
    credit = ((losses[1] - losses[0]) / (2 * sigma * len(x)))[:, None]
    delta1, delta2, h = credit * noise1, credit * noise2, np.maximum(z, 0)
    parts = (delta1.T @ x, delta1.sum(axis=0), delta2.T @ h, delta2.sum(axis=0))
    return np.concatenate([part.ravel() for part in parts])


def random_features(seed: int, clock: Clock) -> Curve:
    """Fit a linear readout by ridge regression on more and more random rectified features."""
    data = load_data("mnist")
    targets = np.eye(10, dtype=np.float32)[data.train.labels] - np.float32(0.1)
    rng = np.random.default_rng([seed, 1])
    for n in (256, 512, 1024, 2048, 4096, 8192):
        w = rng.normal(0.0, np.sqrt(2 / 784), (n, 784)).astype(np.float32)
        h = np.maximum(data.train.inputs @ w.T, 0)
        gram = h.T @ h
        gram[np.diag_indices(n)] += np.float32(1e-5 * np.trace(gram))
        readout = np.linalg.solve(gram, h.T @ targets)

        def accuracy(part: Examples, w: Any = w, readout: Any = readout) -> float:
            scores = np.maximum(part.inputs @ w.T, 0) @ readout
            return float((scores.argmax(axis=1) == part.labels).mean())

        yield n, accuracy


def accuracies(found: Any, sizes: tuple[int, ...], batches: dict[str, Any]) -> dict[str, float]:
    data = load_data("mnist")
    if callable(found):
        return {"validation": found(data.validation), "test": found(data.test)}
    network = Mlp(sizes, "relu")
    return {
        name: float(network.score(found[None], batch, "accuracy")[0])
        for name, batch in batches.items()
    }


def measure(
    method: str, seed: int, clock: Clock, curve: Curve, sizes: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Follow a curve until the clock ends; points lie a fifth of the time so far apart."""
    data, network = load_data("mnist"), Mlp(sizes, "relu")
    batches = {"validation": network.batch(data.validation), "test": network.batch(data.test)}
    rows: list[dict[str, Any]] = []
    due = 1.0
    for evaluations, found in curve:
        is_over = clock.cpu_s >= clock.budget_s
        if clock.cpu_s < due and not (is_over or callable(found)):
            continue
        row = {
            "method": method, "seed": seed, "evaluations": evaluations,
            "cpu_s": round(clock.cpu_s, 2), "wall_s": round(clock.wall_s, 2),
        }  # fmt: skip
        row |= clock.paused(lambda found=found: accuracies(found, sizes, batches))
        rows.append(row)
        print(json.dumps(row), flush=True)
        due = max(due + 1.0, due * 1.2)
        if is_over:
            break
    return rows


def started(method: str, seed: int, clock: Clock, options: Any) -> tuple[Curve, tuple[int, ...]]:
    if method == "softmax":
        return gradient(seed, (784, 10), clock), (784, 10)
    if method == "adam":
        return gradient(seed, SIZES, clock), SIZES
    if method == "node-perturbation":
        return node_perturbation(seed, clock), SIZES
    if method == "random-features":
        return random_features(seed, clock), SIZES
    is_whole = method == "low-rank-es-whole"
    population = options.population or (4096 if is_whole else 266 * 128)
    settings = {
        **(WHOLE if is_whole else UNIT_WISE),
        "population": population,
        "rate": options.rate or (0.003 if is_whole else 0.004),
        "horizon": options.generations * population,
    }
    return low_rank(seed, options.threads, settings, options.batch or 128), SIZES


NAMES = (
    "low-rank-es", "low-rank-es-whole", "softmax", "random-features", "adam", "node-perturbation",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--cpu", type=float, default=1200.0, help="CPU seconds a run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--population", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--generations", type=int, default=24_000, help="horizon of the schedule")
    options = parser.parse_args()
    RECORDS.mkdir(exist_ok=True)
    for method in options.methods:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            # Imports, data and compiled code are ready before the clock starts.
            next(started(method, seed, Clock(options.cpu), options)[0])
            clock = Clock(options.cpu)
            rows = measure(method, seed, clock, *started(method, seed, clock, options))
            record = RECORDS / f"mnist-{method}-s{seed}.json"
            record.write_text(json.dumps({"options": vars(options), "curve": rows}, indent=1))


if __name__ == "__main__":
    main()
