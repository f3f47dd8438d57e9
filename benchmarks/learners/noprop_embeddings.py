"""How the label embedding decides whether flow matching learns: a mixture of 100 classes.

A toy of the failure that Li, Teh & Pascanu (2025, figure 3) report for one-hot embeddings of 100
classes: accuracies after 500, 1,500 and 3,000 updates, for backpropagation and for NoProp-FM with
several embeddings.

Run: python benchmarks/learners/noprop_embeddings.py [seeds [updates]]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from evosearch.data import Examples
from evosearch.data.base import examples
from evosearch.learners.base import Learned, Lesson
from evosearch.learners.mlp import (
    Curve,
    descents,
    forward,
    initial_networks,
    minibatches,
    one_hot,
)
from evosearch.learners.noprop_fm import NoPropFm
from evosearch.learners.steps import Steps
from evosearch.outcome import FloatArray

N_CLASSES, N_INPUTS = 100, 64
N_TRAIN, N_TEST = 6000, 2000
RADIUS, SPREAD = 3.0, 0.55
UPDATES, CHECK_EVERY, BATCH, RATE = 3000, 500, 128, 1e-3
SHOWN = (500, 1500, 3000)
SETTINGS = {
    "one-hot": NoPropFm(embedding="one-hot", scale=1.0),
    "one-hot, 10 times as long": NoPropFm(embedding="one-hot", scale=10.0),
    "learned, d = 20": NoPropFm(embedding="learned", width=20, scale=1.0),
    "prototype": NoPropFm(embedding="prototype", scale=1.0),
}


def mixture(seed: int) -> tuple[Examples, Examples]:
    """Return training and test examples of Gaussian classes with centres of norm about 3."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0.0, RADIUS / N_INPUTS**0.5, (N_CLASSES, N_INPUTS))

    def part(n: int) -> Examples:
        labels = rng.integers(0, N_CLASSES, n)
        return examples(centres[labels] + rng.normal(0.0, SPREAD, (n, N_INPUTS)), labels)

    return part(N_TRAIN), part(N_TEST)


def lesson(seeds: int, *, updates: int = UPDATES, check_every: int = CHECK_EVERY) -> Lesson:
    """Return the lesson that every setting gets."""
    train, held = mixture(0)
    keys = [(0, 1, k) for k in range(seeds)]
    sizes = (N_INPUTS, 256, 256, N_CLASSES)
    return Lesson("mlp", sizes, 1, train, held, updates, BATCH, check_every, "adam", RATE, keys)


def backpropagation(given: Lesson) -> Learned:
    """Train the classifier that the embeddings are compared with; its biases stay 0."""
    networks = initial_networks(given)
    curve, steps = Curve(given), Steps(given.normaliser, given.rate)
    for update, (inputs, labels) in enumerate(minibatches(given), start=1):
        targets = one_hot(labels, given.sizes[-1])
        changes = descents(networks, forward(networks, inputs), targets)
        steps.apply(networks.weights, changes)
        curve.record(update, networks, networks.parameters)
    return Learned(curve.values, curve.diverged_at, None, networks)


def accuracies(seeds: int, updates: int = UPDATES) -> dict[str, FloatArray]:
    """Return accuracies (seeds, checks) of each setting, printing them as they come."""
    given = lesson(seeds, updates=updates)
    shown = [after // CHECK_EVERY - 1 for after in SHOWN if after <= updates]
    found: dict[str, FloatArray] = {}
    for name in ("backpropagation", *SETTINGS):
        start = time.perf_counter()
        learn = SETTINGS[name].learn if name in SETTINGS else backpropagation
        found[name] = learn(given).curves
        means = " ".join(f"{mean:.3f}" for mean in found[name][:, shown].mean(axis=0))
        print(f"{name:26} {means}  {time.perf_counter() - start:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    accuracies(*(numbers or [2]))
