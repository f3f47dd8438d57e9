"""Forward-Forward: each layer learns to be excited by right labels and calm at wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import forward_products
from evosearch.circuits.streams import NOISE
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Learned, Learner, Lesson
from evosearch.learners.mlp import (
    Array,
    Curve,
    in_parts,
    initial_networks,
    linear,
    minibatches,
    one_hot,
)
from evosearch.learners.steps import Steps
from evosearch.tasks.base import draw_rng

_SMALLEST_LENGTH = 1e-8


@dataclass(frozen=True)
class GoodnessNetworks:
    """D networks of rectified units without a readout; the label is part of the input.

    Attributes:
        weights: of each hidden layer (D, n_out, n_in), from the bottom.
        biases: of each hidden layer (D, n_out).
        n_classes: labels that an input is tried with.
    """

    weights: list[Array]
    biases: list[Array]
    n_classes: int

    @property
    def parameters(self) -> list[Array]:
        """All weights, then all biases."""
        return [*self.weights, *self.biases]

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, d): those with the greatest goodness."""
        return in_parts(self._best, inputs)

    def _best(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        found: list[Array] = []
        for label in range(self.n_classes):
            labels = np.full((1, len(inputs)), label)
            tried = overlaid(inputs[None].astype(np.float64), labels, self.n_classes)
            posts = [layer_posts for _, layer_posts in self.passes(tried)]
            found.append(sum((goodness(post) for post in posts[1:]), goodness(posts[0])))
        return np.stack(found).argmax(axis=0)

    def passes(self, inputs: Array) -> list[tuple[Array, Array]]:
        """Return what each layer sees and its activities, (D, B, n_in) and (D, B, n_out).

        A layer sees the activities below scaled to a mean square of 1, so that it cannot read off
        the goodness that they already have.

        Args:
            inputs: (D, B, n), or (1, B, n) where all draws see the same.
        """
        found: list[tuple[Array, Array]] = []
        pre = inputs
        for weights, biases in zip(self.weights, self.biases, strict=True):
            post = np.maximum(linear(pre, weights, biases), 0.0)
            found.append((pre, post))
            pre = post / np.maximum(np.sqrt(goodness(post)), _SMALLEST_LENGTH)[:, :, None]
        return found


@LEARNERS.register("ff")
class ForwardForward(Learner):
    """Forward-Forward: two forward passes, one with the right label and one with a wrong one.

    The label takes the place of the first inputs, one a class. Each hidden layer of rectified
    units raises its goodness, the mean square of its activities, above a threshold in the first
    pass and lowers it in the second, alone and at once with all others. A label is predicted by
    the goodness of all layers; the network has no readout.

    Args:
        threshold: of the goodness, above 0.

    Source: G. Hinton, "The Forward-Forward algorithm: some preliminary investigations", 2022.

    Raises:
        InputError: the threshold is not above 0.
    """

    name = "ff"
    title = "Forward-Forward (G. Hinton 2022)"
    locks = ""

    def __init__(self, *, threshold: float = 2.0) -> None:
        if not (np.isfinite(threshold) and threshold > 0):
            raise InputError(f"threshold is {threshold}; it must be a number above 0.")
        self._threshold = threshold

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where labels find no place, or no layer could learn."""
        super().check(lesson)
        n_inputs, n_classes = lesson.sizes[0], lesson.sizes[-1]
        if n_inputs <= n_classes:
            raise InputError(
                f"learner 'ff' writes labels over the first {n_classes} inputs; this task has "
                f"{n_inputs} inputs: use more of them, or a learner with a readout such as dfa."
            )
        if len(lesson.sizes) < 3:
            raise InputError(
                "learner 'ff' trains hidden layers alone; this network has none: give it one."
            )

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson."""
        self.check(lesson)
        whole, n_classes = initial_networks(lesson), lesson.sizes[-1]
        networks = GoodnessNetworks(whole.weights[:-1], whole.biases[:-1], n_classes)
        steps, curve = Steps(lesson.normaliser, lesson.rate), Curve(lesson)
        generators = [draw_rng(key, NOISE) for key in lesson.keys]
        with np.errstate(all="ignore"):  # lives may diverge
            for update, (inputs, labels) in enumerate(minibatches(lesson), start=1):
                wrong = wrong_labels(labels, n_classes, generators)
                right = networks.passes(overlaid(inputs, labels, n_classes))
                false = networks.passes(overlaid(inputs, wrong, n_classes))
                increments = [
                    layer_increments(*positive, *negative, self._threshold)
                    for positive, negative in zip(right, false, strict=True)
                ]
                weights, biases = zip(*increments, strict=True)
                steps.apply(networks.parameters, [*weights, *biases])
                curve.record(update, networks, networks.parameters)
        return Learned(curve.values, curve.diverged_at, None, networks)

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example: two passes and two increments a synapse."""
        return 4.0 * forward_products(sizes[:-1]) / forward_products(sizes)


def goodness(posts: Array) -> Array:
    """Return the mean square (D, B) of activities (D, B, n)."""
    return (posts**2).mean(axis=-1)


def overlaid(inputs: Array, labels: NDArray[np.integer], n_classes: int) -> Array:
    """Return inputs (D, B, n) with labels (D, B) in the place of the first ones, one a class."""
    rest = np.broadcast_to(inputs, (*labels.shape, inputs.shape[-1]))[:, :, n_classes:]
    return np.concatenate([one_hot(labels, n_classes), rest], axis=-1)


def wrong_labels(
    labels: NDArray[np.int64], n_classes: int, generators: Sequence[np.random.Generator]
) -> NDArray[np.int64]:
    """Draw labels (D, B) that are not the true ones, each of the others as often.

    Args:
        labels: (D, B) true ones.
        n_classes: at least 2.
        generators: one a draw.
    """
    shifts = np.stack([rng.integers(1, n_classes, labels.shape[1]) for rng in generators])
    return (labels + shifts) % n_classes


def layer_increments(
    pre: Array, post: Array, wrong_pre: Array, wrong_post: Array, threshold: float
) -> tuple[Array, Array]:
    """Return minus the gradient of a layer's loss for its weights and biases.

    The loss is the mean over examples of softplus(threshold - goodness) with right labels, and
    of softplus(goodness - threshold) with wrong ones.

    Args:
        pre: (D, B, n_in) what the layer saw with right labels.
        post: (D, B, n_out) its activities then.
        wrong_pre: the same with wrong labels.
        wrong_post: the same with wrong labels.
        threshold: of the goodness.
    """
    n_examples, n_units = post.shape[1:]
    scale = 2.0 / (n_examples * n_units)
    raised = scale * logistic(threshold - goodness(post))[:, :, None] * post
    lowered = scale * logistic(goodness(wrong_post) - threshold)[:, :, None] * wrong_post
    weights = raised.swapaxes(1, 2) @ pre - lowered.swapaxes(1, 2) @ wrong_pre
    return weights, raised.sum(axis=1) - lowered.sum(axis=1)


def logistic(values: Array) -> Array:
    """Return 1 / (1 + exp(-values)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * values))
