"""Training without gradients by alternating minimisation of closed-form problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import backward_products, forward_products
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Learned, Learner, Lesson
from evosearch.learners.mlp import Array, initial_networks, linear, one_hot
from evosearch.learners.sweeps import check_sweeps, live_in_sweeps, solve

_COPIES = 8  # numbers held for each unit, example and draw


@dataclass(frozen=True)
class _Piece:
    """A range of sums over which a unit's activity is ``slope * sum + offset``."""

    low: float
    high: float
    slope: float
    offset: float


PIECES: dict[str, tuple[_Piece, ...]] = {
    "relu": (_Piece(-np.inf, 0.0, 0.0, 0.0), _Piece(0.0, np.inf, 1.0, 0.0)),
    "hard-tanh": (
        _Piece(-np.inf, -1.0, 0.0, -1.0),
        _Piece(-1.0, 1.0, 1.0, 0.0),
        _Piece(1.0, np.inf, 0.0, 1.0),
    ),
}
"""Activations that are made of straight pieces, each with a solution of its own."""


def activity(name: str, sums: Array) -> Array:
    """Return the activities of units with these sums."""
    return np.maximum(sums, 0.0) if name == "relu" else np.clip(sums, -1.0, 1.0)


@dataclass(frozen=True)
class PiecewiseNetworks:
    """D networks of piecewise linear units; the class with the greatest sum is the answer.

    Attributes:
        activation: relu or hard-tanh.
        weights: of each layer (D, n_out, n_in).
        biases: of each layer (D, n_out).
    """

    activation: str
    weights: list[Array]
    biases: list[Array]

    def sums(self, inputs: Array) -> list[Array]:
        """Return the sums of each layer (D, n, n_out) for inputs (1, n, d)."""
        found: list[Array] = []
        for weights, biases in zip(self.weights, self.biases, strict=True):
            posts = activity(self.activation, found[-1]) if found else inputs
            found.append(linear(posts, weights, biases))
        return found

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, d)."""
        with np.errstate(all="ignore"):
            return self.sums(inputs[None].astype(np.float64))[-1].argmax(axis=-1)


def fit_weights(posts: Array, sums: Array, ridge: float) -> tuple[Array, Array]:
    """Return weights and biases that minimise |sums - W posts - b|^2 + ridge |W, b|^2.

    Args:
        posts: (D, n, n_in), or (1, n, n_in).
        sums: (D, n, n_out).
        ridge: > 0.
    """
    pre = np.concatenate([posts, np.ones((*posts.shape[:2], 1))], axis=2)
    gram = pre.swapaxes(1, 2) @ pre + ridge * np.eye(pre.shape[2])
    right = pre.swapaxes(1, 2) @ sums
    found = solve(np.broadcast_to(gram, (len(sums), *gram.shape[1:])), right)
    return found[:, :-1].swapaxes(1, 2), found[:, -1]


def fit_posts(weights: Array, wanted: Array, activities: Array, beta: float, gamma: float) -> Array:
    """Return posts a that minimise beta |wanted - W a|^2 + gamma |a - activities|^2.

    Args:
        weights: of the layer above (D, n_up, n).
        wanted: sums of the layer above less its biases (D, examples, n_up).
        activities: what the units' sums give (D, examples, n).
        beta: penalty of a layer's sums.
        gamma: penalty of its activities.
    """
    matrices = beta * weights.swapaxes(1, 2) @ weights + gamma * np.eye(weights.shape[2])
    right = beta * wanted @ weights + gamma * activities
    return solve(matrices, right.swapaxes(1, 2)).swapaxes(1, 2)


def fit_sums(posts: Array, inputs: Array, activation: str, beta: float, gamma: float) -> Array:
    """Return sums z that minimise gamma (posts - h(z))^2 + beta (z - inputs)^2, each on its own.

    Every piece of the activation has a solution in closed form; the best of them is the answer.

    Args:
        posts: any shape.
        inputs: what the layer below makes of its units, of the same shape.
        activation: one of ``PIECES``.
        beta: penalty of a layer's sums.
        gamma: penalty of its activities.
    """
    tried: list[tuple[Array, Array]] = []
    for piece in PIECES[activation]:
        above = gamma * piece.slope * (posts - piece.offset) + beta * inputs
        sums = np.clip(above / (gamma * piece.slope**2 + beta), piece.low, piece.high)
        missing = posts - piece.slope * sums - piece.offset
        tried.append((gamma * missing**2 + beta * (sums - inputs) ** 2, sums))
    return _best(tried)


def fit_top(multipliers: Array, inputs: Array, is_label: Array, beta: float) -> Array:
    """Return top sums z that minimise hinge(z) + multiplier z + beta (z - inputs)^2.

    The hinge is max(1 - z, 0) at the label of an example and max(z, 0) at other classes.

    Args:
        multipliers: (D, n, classes).
        inputs: what the last layer makes of the posts below, of the same shape.
        is_label: (n, classes), 1 at labels, else 0.
        beta: penalty of the sums.
    """
    flat = inputs - multipliers / (2 * beta)
    sloped = flat + np.where(is_label > 0, 1.0, -1.0) / (2 * beta)
    below = np.minimum(np.where(is_label > 0, sloped, flat), is_label)
    above = np.maximum(np.where(is_label > 0, flat, sloped), is_label)

    def cost(z: Array) -> Array:
        hinge = np.maximum(np.where(is_label > 0, 1 - z, z), 0.0)
        return hinge + multipliers * z + beta * (z - inputs) ** 2

    return _best([(cost(below), below), (cost(above), above)])


def _best(tried: list[tuple[Array, Array]]) -> Array:
    """Return, element by element, the solution of the least cost; the first where equal."""
    least, found = tried[0]
    for cost, solution in tried[1:]:
        found = np.where(cost < least, solution, found)
        least = np.minimum(least, cost)
    return found


@LEARNERS.register("admm")
class Admm(Learner):
    """Weights, activities and sums of every layer, each solved for while the others stand still.

    Sweeps go over the whole training part: one counts as as many updates as show its examples in
    minibatches. First sweeps do without the Lagrange multiplier of the top layer, which comes in
    later. It solves for units that are piecewise linear: the tanh units of the task are replaced by
    ``activation``, of which hard-tanh is the nearest to them. The top has a hinge loss for every
    class. The lesson's normaliser and rate are not used. float64.

    Source: Taylor, Burmeister, Xu, Singh, Patel & Goldstein (2016), Training neural networks
    without gradients: a scalable ADMM approach. Biases, and a ridge for the weights, are additions.

    Args:
        activation: relu or hard-tanh.
        beta: penalty of a layer's sums, > 0.
        gamma: penalty of its activities, > 0.
        ridge: penalty of the weights, > 0.
        warm: share of the sweeps without the multiplier, 0 to 1.
    """

    name = "admm"
    title = "alternating direction method of multipliers (Taylor et al. 2016)"
    locks = "F"
    has_rate = False
    transports_weights = True

    def __init__(
        self,
        *,
        activation: str = "hard-tanh",
        beta: float = 1.0,
        gamma: float = 10.0,
        ridge: float = 0.1,
        warm: float = 0.5,
    ) -> None:
        if activation not in PIECES:
            raise InputError(
                f"learner 'admm' solves for piecewise linear units only, not {activation!r}; use "
                "activation relu or hard-tanh, or learner mac, which trains tanh units."
            )
        if not (beta > 0 and gamma > 0 and ridge > 0 and 0 <= warm <= 1):
            raise InputError(
                f"admm has beta {beta}, gamma {gamma}, ridge {ridge} and warm {warm}; the first "
                "three must be above 0 and warm from 0 to 1."
            )
        self._activation, self._beta, self._gamma = activation, beta, gamma
        self._ridge, self._warm = ridge, warm

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where the network is recurrent or the training part too large."""
        super().check(lesson)
        check_sweeps(self.name, lesson, _COPIES)

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson."""
        self.check(lesson)
        start = initial_networks(lesson)
        networks = PiecewiseNetworks(self._activation, start.weights, start.biases)
        inputs = lesson.train.inputs[None].astype(np.float64)
        is_label = one_hot(lesson.train.labels, lesson.sizes[-1])
        sums = networks.sums(inputs)
        posts = [inputs, *(activity(self._activation, layer) for layer in sums[:-1])]
        multipliers = np.zeros_like(sums[-1])

        def sweep(number: int, sweeps: int) -> None:
            self._sweep_hidden(networks, posts, sums)
            made = self._fit_layer(networks, len(sums) - 1, posts[-1], sums[-1])
            sums[-1][:] = fit_top(multipliers, made, is_label, self._beta)
            if number >= self._warm * sweeps:
                multipliers[:] += self._beta * (sums[-1] - made)

        curve = live_in_sweeps(
            lesson, networks, [*networks.weights, *networks.biases, multipliers], sweep
        )
        return Learned(curve.values, curve.diverged_at, None, networks)

    def _sweep_hidden(
        self, networks: PiecewiseNetworks, posts: list[Array], sums: list[Array]
    ) -> None:
        """Solve for the hidden layers from the bottom; ``posts`` begins with the inputs."""
        beta, gamma = self._beta, self._gamma
        for layer in range(len(sums) - 1):
            made = self._fit_layer(networks, layer, posts[layer], sums[layer])
            wanted = sums[layer + 1] - networks.biases[layer + 1][:, None]
            activities = activity(self._activation, sums[layer])
            up = networks.weights[layer + 1]
            posts[layer + 1][:] = fit_posts(up, wanted, activities, beta, gamma)
            sums[layer][:] = fit_sums(posts[layer + 1], made, self._activation, beta, gamma)

    def _fit_layer(
        self, networks: PiecewiseNetworks, layer: int, posts: Array, sums: Array
    ) -> Array:
        """Solve for a layer's weights, and return what it then makes of the posts below."""
        weights, biases = fit_weights(posts, sums, self._ridge / self._beta)
        networks.weights[layer][:] = weights
        networks.biases[layer][:] = biases
        return linear(posts, weights, biases)

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes.

        A sweep forms each layer's covariance, twice its sums, and solves for hidden activities;
        solutions whose cost does not grow with the examples are left out.
        """
        synapses = forward_products(sizes)
        fitting = sum(n_in * n_in for n_in in sizes[:-1]) + 2 * synapses
        posts = backward_products(sizes) + sum(n * n for n in sizes[1:-1])
        return (fitting + posts) / synapses
