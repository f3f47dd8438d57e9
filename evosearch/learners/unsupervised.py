"""Hidden layers that learn by a local rule without any target, under a readout that has one.

Each rule is one file beside this one; what they share is the life: all layers change in every
update, none waits for another, and the readout learns by its delta rule. float64.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from evosearch.circuits.base import forward_products
from evosearch.errors import InputError
from evosearch.learners.base import Learned, Learner, Lesson
from evosearch.learners.mlp import (
    Array,
    Curve,
    MlpNetworks,
    Pass,
    cosines,
    descents,
    forward,
    initial_networks,
    is_middle,
    minibatches,
    one_hot,
)
from evosearch.learners.steps import Steps
from evosearch.outcome import FloatArray


@dataclass(frozen=True)
class HiddenLayer:
    """What a local rule may look at: one hidden layer during one minibatch of D lives.

    Attributes:
        index: of the layer, 0 at the bottom.
        weights: (D, n_out, n_in).
        pre: (D, B, n_in) activities below.
        sums: (D, B, n_out) weighted inputs with the bias, the output of a linear unit.
        posts: (D, B, n_out) their tanh, which the next layer sees.
    """

    index: int
    weights: Array
    pre: Array
    sums: Array
    posts: Array


LocalRule: TypeAlias = Callable[[HiddenLayer], tuple[Array, Array]]
"""Returns the increments of weights (D, n_out, n_in) and biases (D, n_out), minibatch means."""

LOCAL = 2.0
"""Forward passes of an update: one, and one multiply-add for each synapse; no error travels."""


class UnsupervisedLearner(Learner):
    """A local rule without any target in hidden layers, under a readout that has one.

    Attributes:
        compares_examples: whether the rule counts from the mean over a minibatch, which so needs
            two examples.
    """

    locks = ""
    compares_examples: bool = False

    @abstractmethod
    def rule(self) -> LocalRule:
        """Return the rule of the hidden layers for one lesson, its own state as at birth."""

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where the network is recurrent, or a minibatch is only its mean."""
        super().check(lesson)
        if self.compares_examples and lesson.batch < 2:
            raise InputError(
                f"learner {self.name!r} compares the examples of a minibatch; batch is "
                f"{lesson.batch} and must be at least 2."
            )

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson."""
        self.check(lesson)
        return learn_without_targets(lesson, self.rule())

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes."""
        return LOCAL


def learn_without_targets(lesson: Lesson, rule: LocalRule) -> Learned:
    """Live all draws: hidden layers by the rule, the readout by error * pre.

    Args:
        lesson: what is taught; its normaliser and rate hold for the rule and the readout.
        rule: of the hidden layers.
    """
    networks, curve = initial_networks(lesson), Curve(lesson)
    steps = Steps(lesson.normaliser, lesson.rate)
    found: FloatArray | None = None
    with np.errstate(all="ignore"):  # lives may diverge
        for update, (inputs, labels) in enumerate(minibatches(lesson), start=1):
            seen, targets = forward(networks, inputs), one_hot(labels, lesson.sizes[-1])
            increments = [rule(layer) for layer in _hidden_layers(networks, seen)]
            increments.append(_readout(seen, targets))
            weights, biases = zip(*increments, strict=True)
            if is_middle(lesson, update):
                found = cosines(weights, descents(networks, seen, targets))
            steps.apply(networks.parameters, [*weights, *biases])
            curve.record(update, networks, networks.parameters)
    return Learned(curve.values, curve.diverged_at, found, networks)


def _hidden_layers(networks: MlpNetworks, seen: Pass) -> list[HiddenLayer]:
    return [
        HiddenLayer(k, weights, seen.posts[k], seen.sums[k], seen.posts[k + 1])
        for k, weights in enumerate(networks.weights[:-1])
    ]


def _readout(seen: Pass, targets: Array) -> tuple[Array, Array]:
    error = targets - seen.posts[-1]
    return mean_product(error, seen.posts[-2]), error.mean(axis=1)


def centred(sums: Array) -> Array:
    """Return sums (D, B, n) less each unit's mean over the minibatch.

    With these a product with the inputs tells of their covariance, whatever their mean is.
    """
    return sums - sums.mean(axis=1, keepdims=True)


def mean_product(post: Array, pre: Array) -> Array:
    """Return the mean of post * pre over a minibatch (D, n_out, n_in).

    Args:
        post: (D, B, n_out).
        pre: (D, B, n_in).
    """
    return post.swapaxes(1, 2) @ pre / post.shape[1]


def with_pairs_of_units(sizes: Sequence[int]) -> float:
    """Return what an update costs where units of a layer also act on one another's weights.

    Args:
        sizes: units of each layer, inputs first.
    """
    among = sum(n_out * n_out * (n_in + 1) for n_in, n_out in pairwise(sizes[:-1]))
    return LOCAL + among / forward_products(sizes)
