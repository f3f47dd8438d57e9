"""Batched lifetimes of many rules in a circuit against a loop over single NumPy lifetimes.

64 rules x 5 seeds live 880 updates of a 64-64-64-64-64-64-64-10 network on digits by direct
feedback alignment, in one call; NumPy lives the same lifetimes one after the other, in the same
float32, with one matrix product where the rule allows it. A few of NumPy's are timed, and both
must end at the same accuracies. Prints one row a number of threads.

    python benchmarks/learners/speed.py [--rules 64] [--seeds 5] [--timed 3]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from joblib import Parallel, delayed

from evosearch.bench.timing import one_blas_thread
from evosearch.circuits.base import CIRCUITS, TERMINALS
from evosearch.circuits.life import accuracies, build_life, held_out
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.streams import FEEDBACK, initial_weights, order_of_examples
from evosearch.circuits.teaching import Plan
from evosearch.data import load_data
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule
from evosearch.tasks.base import draw_rng

SIZES, UPDATES, BATCH, RATE = (64,) * 7 + (10,), 880, 32, 0.3


def in_numpy(decay: float, key: tuple[int, ...], train, held) -> float:
    """Live one life of the rule error*pre - decay*w in NumPy; return the accuracy at its end."""
    weights = [w.astype(np.float32) for w in initial_weights(key, SIZES)]
    biases = [np.zeros(n, np.float32) for n in SIZES[1:]]
    rng = draw_rng(key, FEEDBACK)
    feedback = [(rng.uniform(-1, 1, (10, n)) / np.sqrt(10)).astype(np.float32)
                for n in SIZES[1:-1]]  # fmt: skip
    order = order_of_examples(key, len(train), BATCH, UPDATES).reshape(UPDATES, BATCH)
    one_hot = np.eye(10, dtype=np.float32)[train.labels]
    for chosen in order:
        posts = forward(weights, biases, train.inputs[chosen])
        logits = posts.pop()
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = one_hot[chosen] - p / p.sum(axis=1, keepdims=True)
        errors = [(error @ b) * (1 - h * h) for b, h in zip(feedback, posts[1:], strict=True)]
        for w, b, e, h in zip(weights, biases, [*errors, error], posts, strict=True):
            w += RATE * (e.T @ h / BATCH - decay * w)
            b += RATE * (e.mean(axis=0) - decay * b)
    logits = forward(weights, biases, held.inputs)[-1]
    return float((logits.argmax(axis=1) == held.labels).mean())


def forward(weights, biases, inputs):
    """Return inputs, activities and logits."""
    posts = [inputs]
    for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
        total = posts[-1] @ w.T + b
        posts.append(total if k == len(weights) - 1 else np.tanh(total))
    return posts


def main() -> None:
    """Time both and print a row for one thread and for two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--timed", type=int, default=3, help="NumPy lifetimes that are timed")
    given = parser.parse_args()
    parts = held_out(load_data("digits"), "validation")
    keys = [(0, 0, k) for k in range(given.seeds)]
    decays = np.linspace(0.0, 1e-3, given.rules)
    programs = [lower(Rule(f"error*pre - {decay!r}*w"), TERMINALS) for decay in decays.tolist()]
    life = build_life(
        CIRCUITS.get("dfa")(), normaliser("none", 1.0), Plan(SIZES, UPDATES, BATCH, UPDATES),
        parts, keys,
    )  # fmt: skip
    run_lifetimes(life, programs[:1], RATE, tier="interpreter")  # compiled before the clock runs
    times = []
    for k in range(given.timed):
        start = time.perf_counter()
        accuracy = in_numpy(float(decays[k]), keys[0], *parts)
        times.append(time.perf_counter() - start)
        ours = accuracies(life, run_lifetimes(life, programs[k : k + 1], RATE))[0, 0, -1]
        assert abs(ours - accuracy) < 0.03, (ours, accuracy)
    single = float(np.median(times))
    print(f"NumPy, one lifetime: {1e3 * single:.0f} ms, {1e6 * single / UPDATES:.0f} us an update")
    n_lives = given.rules * given.seeds
    for threads in (1, 2):
        chunks = [programs[k::threads] for k in range(threads)]
        start = time.perf_counter()
        Parallel(n_jobs=threads, backend="threading")(
            delayed(run_lifetimes)(life, chunk, RATE) for chunk in chunks
        )
        seconds = time.perf_counter() - start
        ratio = single * n_lives / seconds
        print(
            f"{threads} thread(s): {n_lives} lifetimes in {seconds:.1f} s, {ratio:.1f} times as "
            "fast as one after the other in NumPy"
        )


if __name__ == "__main__":
    with one_blas_thread():
        main()
