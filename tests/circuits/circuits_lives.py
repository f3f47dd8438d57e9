"""Small lives in circuits for the tests, and what torch says of the same network."""

import numpy as np
import torch

from evosearch.circuits.base import CIRCUITS, TERMINALS
from evosearch.circuits.life import accuracies, build_life, probe
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.teaching import Plan
from evosearch.data.base import examples
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

SIZES = (5, 8, 7, 6, 3)
KEYS = [(1, 2), (1, 3)]


def some_examples(n=40, seed=0, sizes=SIZES):
    """Inputs from N(0, 1), labelled by a random linear teacher."""
    rng = np.random.default_rng(seed)
    teacher = np.random.default_rng(99).normal(size=(sizes[0], sizes[-1]))
    inputs = rng.normal(size=(n, sizes[0])).astype(np.float32)
    return examples(inputs, (inputs @ teacher).argmax(axis=1))


def live(
    circuit, *texts, updates=8, rate=0.2, steps="none", batch=40, check_every=1, is_probed=True,
    dtype="float64", device="cpu",
):  # fmt: skip
    """Return the life, its plan and its result under rules given as text."""
    parts = some_examples(), some_examples(30, seed=1)
    plan = Plan(SIZES, updates, batch, check_every, is_probed)
    changes = normaliser(steps, rate)
    life = build_life(CIRCUITS.get(circuit)(), changes, plan, parts, KEYS, dtype=dtype)
    programs = [lower(Rule(text), TERMINALS) for text in texts or ("error*pre",)]
    return life, plan, run_lifetimes(life, programs, changes.eta, device=device)


def probed(circuit, **settings):
    """Return what is probed at update ``updates / 2`` of a life under error*pre."""
    life, plan, result = live(circuit, **settings)
    return probe(life, result, plan)


def final_accuracy(circuit, *texts, **settings):
    """Return (P, D) accuracies at the end."""
    life, _, result = live(circuit, *texts, is_probed=False, **settings)
    return accuracies(life, result)[:, :, -1]


class TorchNetwork:
    """The same network in torch, of one draw."""

    def __init__(self, weights):
        self.weights = [torch.tensor(w, requires_grad=True) for w in weights]
        self.biases = [torch.zeros(len(w), dtype=torch.float64, requires_grad=True)
                       for w in weights]  # fmt: skip

    def loss(self, part):
        activity = torch.tensor(part.inputs, dtype=torch.float64)
        last = len(self.weights) - 1
        for k, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            activity = activity @ w.T + b
            activity = activity if k == last else torch.tanh(activity)
        return torch.nn.functional.cross_entropy(activity, torch.tensor(part.labels))

    def learn(self, optimizer, updates):
        """Take full-batch steps with a torch optimizer; return the weights."""
        steps = optimizer([*self.weights, *self.biases])
        for _ in range(updates):
            steps.zero_grad()
            self.loss(some_examples()).backward()
            steps.step()
        return [w.detach().numpy() for w in self.weights]
