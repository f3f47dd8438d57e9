"""Kickback: backpropagation cut down to what a unit's own outgoing weights say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import forward_products
from evosearch.circuits.streams import FEEDBACK, initial_weights
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Learned, Learner, Lesson
from evosearch.learners.mlp import Array, Curve, cosines, is_middle, linear, minibatches
from evosearch.learners.steps import Steps
from evosearch.outcome import FloatArray
from evosearch.tasks.base import draw_rng

_ALTERNATIVES = "bp, fa, dfa and the other learners with an output a class take more"


@dataclass(frozen=True)
class ScalarNetworks:
    """D networks of rectified units with one linear output, which says 1 or -1 for two classes.

    Attributes:
        weights: of each layer (D, n_out, n_in), from the bottom; the last has one row.
        biases: of each layer (D, n_out).
        signs: of the units of each hidden layer (D, n), 1 or -1, which never change.
    """

    weights: list[Array]
    biases: list[Array]
    signs: list[Array]

    @property
    def parameters(self) -> list[Array]:
        """All weights, then all biases."""
        return [*self.weights, *self.biases]

    def activities(self, inputs: Array) -> list[Array]:
        """Return the activities of each layer (D, B, n), the inputs first, the output (D, B, 1)."""
        posts = [inputs]
        for weights, biases in zip(self.weights[:-1], self.biases[:-1], strict=True):
            posts.append(np.maximum(linear(posts[-1], weights, biases), 0.0))
        return [*posts, linear(posts[-1], self.weights[-1], self.biases[-1])]

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, d): 1 where the output is above 0, else 0."""
        with np.errstate(all="ignore"):
            output = self.activities(inputs[None].astype(np.float64))[-1]
        return (output[:, :, 0] > 0).astype(np.int64)


@LEARNERS.register("kickback")
class Kickback(Learner):
    """Kickback: every hidden unit hears one scalar error, times its influence on the next layer.

    A network of rectified units with one linear output learns to say 1 or -1 for two classes by
    squared error. A unit's influence is the sum of its weights to the active units of the next
    layer, each with that unit's sign: one step of the way that backpropagation goes to the top. In
    a coherent network these influences have the signs of the true ones; in a plain one often not.

    Args:
        initial: ``coherent`` makes each weight above the first layer agree in sign with the units
            at both its ends, ``plain`` leaves weights as drawn, with all signs 1 but the top
            hidden layer's, which follow the output weights.

    Source: D. Balduzzi, H. Vanchinathan, J. Buhmann, "Kickback cuts backprop's red-tape:
    biologically plausible credit assignment in neural networks", AAAI 2015.

    Raises:
        InputError: there is no such initialisation.
    """

    name = "kickback"
    title = "Kickback (D. Balduzzi, H. Vanchinathan, J. Buhmann 2015)"
    locks = "U"

    def __init__(self, *, initial: str = "coherent") -> None:
        if initial not in ("coherent", "plain"):
            raise InputError(f"initial is {initial!r}; it must be 'coherent' or 'plain'.")
        self._is_coherent = initial == "coherent"

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where there are other than two classes."""
        super().check(lesson)
        if lesson.sizes[-1] != 2:
            raise InputError(
                f"learner 'kickback' has one scalar output and so tells two classes apart; this "
                f"task has {lesson.sizes[-1]}: {_ALTERNATIVES}."
            )

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson, with the hidden units that it names."""
        self.check(lesson)
        networks = scalar_networks(lesson, is_coherent=self._is_coherent)
        curve, steps = Curve(lesson), Steps(lesson.normaliser, lesson.rate)
        found: FloatArray | None = None
        with np.errstate(all="ignore"):  # lives may diverge
            for update, (inputs, labels) in enumerate(minibatches(lesson), start=1):
                posts = networks.activities(inputs)
                error = (2.0 * labels - 1.0)[:, :, None] - posts[-1]
                weights, biases = increments(posts, kickback_errors(networks, posts, error))
                if is_middle(lesson, update):
                    wanted = increments(posts, backprop_errors(networks, posts, error))
                    found = cosines(weights, wanted[0])
                steps.apply(networks.parameters, [*weights, *biases])
                curve.record(update, networks, networks.parameters)
        return Learned(curve.values, curve.diverged_at, found, networks)

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes.

        Influences are matrix products of their own, but of one row an example.
        """
        return 2.0 + forward_products(sizes[1:-1]) / forward_products(sizes)


def scalar_networks(lesson: Lesson, *, is_coherent: bool) -> ScalarNetworks:
    """Draw networks with one output; weights come from N(0, 2 / n_in), biases are 0.

    Coherent weights above the first layer are their amounts times sqrt(pi / n_in), with signs.

    Args:
        lesson: says sizes and keys.
        is_coherent: whether weights are made to agree with the signs of units.
    """
    sizes = (*lesson.sizes[:-1], 1)
    drawn = [initial_weights(key, sizes) for key in lesson.keys]
    # Rectified units pass half of the variance on.
    weights = [np.sqrt(2.0) * np.stack(layer) for layer in zip(*drawn, strict=True)]
    n_draws = len(drawn)
    if is_coherent:
        signs = _random_signs(lesson)
        uppers = [*signs[1:], np.ones((n_draws, 1))]
        for k, (lower, upper) in enumerate(zip(signs, uppers, strict=False), start=1):
            # Sums of n weights that agree grow by sqrt(n / pi) a layer; these are scaled to keep.
            scale = np.sqrt(np.pi / sizes[k])
            weights[k] = scale * upper[:, :, None] * np.abs(weights[k]) * lower[:, None]
    else:
        signs: list[Array] = [np.ones((n_draws, n)) for n in sizes[1:-1]]
        signs[-1:] = [np.where(weights[-1][:, 0] < 0, -1.0, 1.0) for _ in signs[-1:]]
    return ScalarNetworks(weights, [np.zeros(w.shape[:2]) for w in weights], signs)


def _random_signs(lesson: Lesson) -> list[Array]:
    """Draw 1 or -1 for each hidden unit (D, n), one array a layer."""
    generators = [draw_rng(key, FEEDBACK) for key in lesson.keys]
    return [
        np.stack([rng.choice([-1.0, 1.0], n) for rng in generators]) for n in lesson.sizes[1:-1]
    ]


def kickback_errors(networks: ScalarNetworks, posts: Sequence[Array], error: Array) -> list[Array]:
    """Return teaching signals of each layer (D, B, n), from the bottom.

    Args:
        networks: as they were in the pass.
        posts: activities of each layer, the inputs first.
        error: (D, B, 1) target less output.
    """
    found = [error]
    for layer in reversed(range(1, len(networks.weights))):
        weights = networks.weights[layer]
        is_top = layer == len(networks.weights) - 1
        if is_top:
            influence = weights
        else:
            active = (posts[layer + 1] > 0) * networks.signs[layer][:, None]
            # Influences of units that are many in sum are kept at the size of single weights.
            influence = active @ weights / np.sqrt(weights.shape[1])
        found.append(error * influence * (posts[layer] > 0))
    return found[::-1]


def backprop_errors(networks: ScalarNetworks, posts: Sequence[Array], error: Array) -> list[Array]:
    """Return what backpropagation would send, of the same shapes: minus the gradient a sum."""
    found = [error]
    for layer in reversed(range(1, len(networks.weights))):
        found.append((found[-1] @ networks.weights[layer]) * (posts[layer] > 0))
    return found[::-1]


def increments(posts: Sequence[Array], errors: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Return the means of error * pre and of the error, of each layer."""
    weights = [
        error.swapaxes(1, 2) @ pre / pre.shape[1] for pre, error in zip(posts, errors, strict=False)
    ]
    return weights, [error.mean(axis=1) for error in errors]
