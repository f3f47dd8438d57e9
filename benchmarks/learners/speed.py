"""Batched lifetimes of many rules in a circuit against a loop over single NumPy lifetimes.

64 rules x 5 seeds live 880 updates of a 64-64-64-64-64-64-64-10 network on digits by direct
feedback alignment, in one call; NumPy lives the same lifetimes one after the other, in the same
float32, with one matrix product where the rule allows it. A few of NumPy's are timed, and both
must end at the same accuracies. Prints one row a number of threads, then where the time goes: lives
of narrower and wider layers tell what grows with synapses, with units, and with neither, and one
large product in NumPy what the processor can do. Times are the thread's own where nothing runs
beside it.

    python benchmarks/learners/speed.py [--rules 64] [--seeds 5] [--timed 3]
    python benchmarks/learners/speed.py --parts       # only where the time goes
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from joblib import Parallel, delayed
from scipy.optimize import nnls

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


def life_of(sizes, updates, n_keys, parts):
    """Return the life of networks in direct feedback alignment."""
    keys = [(0, 0, k) for k in range(n_keys)]
    return build_life(
        CIRCUITS.get("dfa")(), normaliser("none", 1.0), Plan(sizes, updates, BATCH, updates), parts,
        keys,
    )  # fmt: skip


def print_parts(parts, widths=(16, 32, 64, 128), n_lives=8, updates=220) -> None:
    """Print what of an update's time grows with synapses and units, and the rate of products."""
    program = [lower(Rule("error*pre - 0.001*w"), TERMINALS)]
    seconds = []
    for width in widths:
        life = life_of((64, *(width,) * 6, 10), updates, n_lives, parts)
        run_lifetimes(life, program, RATE)
        seconds.append(least_seconds(lambda life=life: run_lifetimes(life, program, RATE)))
    per_update = np.array(seconds) / (n_lives * updates)
    table = np.array([[synapses(n), 6 * n, 1.0] for n in widths])
    # Relative errors count: short lives are not to be lost beside long ones.
    terms = nnls(table / per_update[:, None], np.ones(len(widths)))[0] * table[widths.index(64)]
    shares = ", ".join(f"{100 * t / terms.sum():.0f} % {what}" for t, what in
                       zip(terms, ("synapses", "units", "neither"), strict=True))  # fmt: skip
    products = 2 * BATCH * (2 * synapses(64) + 6 * 64 * 10)  # forward, changes, errors
    large = np.ones((1024, 1024), np.float32)
    most = 2 * 1024**3 / least_seconds(lambda: large @ large)
    ours = products / per_update[widths.index(64)]
    print(f"An update: {1e6 * per_update[widths.index(64)]:.0f} us; grows with {shares}")
    print(f"Products: {ours / 1e9:.0f} of {most / 1e9:.0f} GFLOP/s of one large product in NumPy")


def synapses(width: int) -> int:
    """Return the weights of a network with six hidden layers of a width."""
    return 64 * width + 5 * width * width + 10 * width


def least_seconds(call, turns: int = 7) -> float:
    """Return the thread's own seconds for a call, the least of a few."""
    found = []
    for _ in range(turns):
        start = time.thread_time()
        call()
        found.append(time.thread_time() - start)
    return min(found)


def main() -> None:
    """Time both and print a row for one thread and for two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--timed", type=int, default=3, help="NumPy lifetimes that are timed")
    parser.add_argument("--parts", action="store_true", help="only where the time goes")
    given = parser.parse_args()
    parts = held_out(load_data("digits"), "validation")
    if given.parts:
        print_parts(parts)
        return
    keys = [(0, 0, k) for k in range(given.seeds)]
    decays = np.linspace(0.0, 1e-3, given.rules)
    programs = [lower(Rule(f"error*pre - {decay!r}*w"), TERMINALS) for decay in decays.tolist()]
    life = life_of(SIZES, UPDATES, given.seeds, parts)
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
