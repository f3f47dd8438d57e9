"""Networks at the first update of their lives, and the random numbers that they met there."""

import itertools

import numpy as np
from circuits_lives import some_examples

from evosearch.circuits.base import TERMINALS
from evosearch.circuits.life import build_life, probe
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.teaching import Plan
from evosearch.data.base import examples
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

KEY = (3, 4)
SMALL = (3, 2, 2, 3)


def born(circuit, part, sizes, update=1):
    """Return the probe at an update of a network that never changes, biases 0, and its noise.

    The noise is a list, one array (updates, B, n) for each phase that draws random numbers.
    """
    plan = Plan(sizes, 2 * update, len(part), check_every=update, is_probed=True)
    life = build_life(circuit, normaliser("none", 0.0), plan, (part, some_examples(30, 1, sizes)),
                      [KEY], dtype="float64")  # fmt: skip
    programs = [lower(Rule("error*pre"), TERMINALS)]
    result = run_lifetimes(life, programs, 0.0, tier="interpreter")
    drawn = [t[0].reshape(2 * update, len(part), -1) for t in life.tables
             if len(t) == 1 and t.ndim == 3 and t.shape[1] == 2 * update]  # fmt: skip
    return probe(life, result, plan), drawn


def repeated(n, sizes, seed=5):
    """Return one example n times, labelled 1."""
    inputs = np.random.default_rng(seed).normal(size=sizes[0]).astype(np.float32)
    return examples(np.tile(inputs, (n, 1)), np.ones(n, dtype=np.int64))


def updates_of(middle):
    """Return what error*pre adds to the weights of each layer, mean over the minibatch."""
    n = middle.errors[0].shape[1]
    return [e[0].T @ p[0] / n for e, p in zip(middle.errors, middle.pres, strict=True)]


def cosine(ours, wanted):
    """Return the cosine between two lists of arrays."""
    a, b = (np.concatenate([x.ravel() for x in arrays]) for arrays in (ours, wanted))
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def losses(weights, inputs, target, changes):
    """Return cross-entropies (B,) where layer k's totals get changes[k](activities below)."""
    activity = inputs
    for weight, change in zip(weights[:-1], changes, strict=True):
        activity = np.tanh(activity @ weight.T + change(activity))
    return -np.log((softmax(activity @ weights[-1].T) * target).sum(axis=1))


def mean_reward(weights, inputs, label, reward):
    """Return the mean reward of a network of +-1 units by adding up over all their states.

    Args:
        weights: of each layer.
        inputs: (n_in,).
        label: the right class.
        reward: of the probability of the right class.
    """
    sizes = [len(weight) for weight in weights[:-1]]
    total = 0.0
    for states in itertools.product([-1.0, 1.0], repeat=sum(sizes)):
        activity, start, likelihood = inputs, 0, 1.0
        for weight, n in zip(weights[:-1], sizes, strict=True):
            up = 1.0 / (1.0 + np.exp(-2.0 * weight @ activity))
            activity, start = np.array(states[start : start + n]), start + n
            likelihood *= np.where(activity > 0, up, 1.0 - up).prod()
        total += likelihood * reward(softmax(weights[-1] @ activity)[label])
    return total


def slopes(function, weights, step=1e-6):
    """Return central differences of a function of a list of matrices."""
    found = [np.zeros_like(weight) for weight in weights]
    for k, weight in enumerate(weights):
        for place in np.ndindex(weight.shape):
            sides = []
            for sign in (1, -1):
                moved = [w.copy() for w in weights]
                moved[k][place] += sign * step
                sides.append(function(moved))
            found[k][place] = (sides[0] - sides[1]) / (2 * step)
    return found
