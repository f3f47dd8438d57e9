"""Method of auxiliary coordinates: every layer is a regression of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evosearch.circuits.base import backward_products, forward_products
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Learned, Learner, Lesson
from evosearch.learners.mlp import (
    Array,
    MlpNetworks,
    cosines,
    descents,
    forward,
    initial_networks,
    linear,
    one_hot,
    softmax,
)
from evosearch.learners.sweeps import check_sweeps, live_in_sweeps, solve
from evosearch.outcome import FloatArray

_FASTER, _SLOWER = 1.2, 0.5  # a step of the coordinates after it was kept, after it was not
_COPIES = 8  # numbers held for each unit, example and draw


class Coordinates:
    """Auxiliary coordinates of all examples, and the two steps that lower the penalty objective.

    The objective is, summed over examples,

        cross-entropy(y, W_L f(z_(L-1)) + b_L) + mu/2 sum_l |z_l - W_l f(z_(l-1)) - b_l|^2

    with f(z_0) = x. Coordinates stand before the activation, so that each hidden layer's weights
    are a linear regression. It is the energy of predictive coding (Whittington & Bogacz 2017) with
    variances 1 / mu.

    Args:
        networks: whose weights the W-step changes in place.
        inputs: (1, n, d), of all draws.
        targets: (n, classes), one-hot.
        mu: penalty, > 0.
        damping: how strongly a W-step holds on to the weights, a share of the examples.
    """

    def __init__(
        self, networks: MlpNetworks, inputs: Array, targets: Array, mu: float, damping: float
    ) -> None:
        self._networks, self._inputs, self._targets = networks, inputs, targets
        self._damping = damping
        self.mu = mu
        self.values: list[Array] = forward(networks, inputs).sums[:-1]
        shape = (len(networks.weights[0]), inputs.shape[1])
        self._rates = np.full(shape, 0.5)  # of each example's coordinates, times mu

    def energies(self) -> FloatArray:
        """Return (D, n): the penalty objective of each example."""
        return self._energies(self.values, self._predictions(self.values))

    def _predictions(self, values: Sequence[Array]) -> list[Array]:
        """Return what the layers make of the coordinates below; the last are logits."""
        posts = [self._inputs, *(np.tanh(value) for value in values)]
        layers = zip(posts, self._networks.weights, self._networks.biases, strict=True)
        return [linear(*layer) for layer in layers]

    def _energies(self, values: Sequence[Array], predictions: Sequence[Array]) -> FloatArray:
        logits = predictions[-1]
        top = logits.max(axis=-1)
        total = top + np.log(np.exp(logits - top[..., None]).sum(axis=-1))
        total = total - (self._targets * logits).sum(axis=-1)
        for value, prediction in zip(values, predictions[:-1], strict=True):
            total += self.mu / 2 * ((value - prediction) ** 2).sum(axis=-1)
        return total

    def z_step(self, steps: int) -> None:
        """Move every example's coordinates down the gradient, all layers at once.

        An example's step is kept only where its objective has not risen; its length adapts.
        """
        predictions = self._predictions(self.values)
        energies = self._energies(self.values, predictions)
        for _ in range(steps):
            slopes = self._slopes(predictions)
            lengths = (self._rates / self.mu)[..., None]
            tried = [v - lengths * s for v, s in zip(self.values, slopes, strict=True)]
            found = self._predictions(tried)
            reached = self._energies(tried, found)
            is_kept = ~(reached > energies)
            self._rates *= np.where(is_kept, _FASTER, _SLOWER)
            for old, new in zip(
                [*self.values, *predictions[1:], energies[..., None]],
                [*tried, *found[1:], reached[..., None]],
                strict=True,
            ):
                np.copyto(old, new, where=is_kept[..., None])

    def _slopes(self, predictions: list[Array]) -> list[Array]:
        """Return the gradient of the objective for the coordinates of each hidden layer."""
        errors = [self.mu * (v - p) for v, p in zip(self.values, predictions[:-1], strict=True)]
        errors.append(self._targets - softmax(predictions[-1]))
        slopes: list[Array] = []
        for layer, value in enumerate(self.values):
            back = errors[layer + 1] @ self._networks.weights[layer + 1]
            slopes.append(errors[layer] - (1 - np.tanh(value) ** 2) * back)
        return slopes

    def w_step(self, steps: int) -> None:
        """Fit each layer's weights to the coordinates on its two sides, independently.

        Hidden layers solve their regression; the top takes ``steps`` steps under a quadratic bound
        of the cross-entropy (Bohning 1992), which never raise it.
        """
        posts = [self._inputs, *(np.tanh(value) for value in self.values)]
        for layer, pre in enumerate(posts):
            pre = np.concatenate([pre, np.ones((*pre.shape[:2], 1))], axis=2)
            gram = pre.swapaxes(1, 2) @ pre
            gram = gram + self._damping * pre.shape[1] * np.eye(gram.shape[1])
            is_top = layer == len(self.values)
            for _ in range(steps if is_top else 1):
                self._fit(layer, pre, gram / 2 if is_top else gram)

    def _fit(self, layer: int, pre: Array, gram: Array) -> None:
        """Change a layer by the solution of ``gram`` and what is missing in its targets."""
        weights, biases = self._networks.weights[layer], self._networks.biases[layer]
        sums = linear(pre[..., :-1], weights, biases)
        is_top = layer == len(self.values)
        missing = self._targets - softmax(sums) if is_top else self.values[layer] - sums
        change = solve(
            np.broadcast_to(gram, (len(weights), *gram.shape[1:])), pre.swapaxes(1, 2) @ missing
        )
        weights += change[:, :-1].swapaxes(1, 2)
        biases += change[:, -1]


@LEARNERS.register("mac")
class Mac(Learner):
    """Layers that learn side by side, held together by a penalty that grows.

    Each sweep relaxes the auxiliary coordinates of all examples (Z-step, every example on its own)
    and then fits every layer to them (W-step, every layer on its own). It works on the whole
    training part: one sweep counts as as many updates as show its examples in minibatches. The
    lesson's normaliser and rate are not used, for both steps solve or search along a line. float64.

    Source: Carreira-Perpinan & Wang (2014), Distributed optimization of deeply nested systems; the
    coordinates stand before the activation here, and the penalty grows a set number of times.

    Args:
        mu: first penalty, > 0.
        growth: what the penalty is multiplied by, at least 1.
        stages: equal parts of the life, between which the penalty grows, at least 1.
        z_steps: gradient steps of the coordinates in a sweep, at least 1.
        w_steps: steps of the top layer in a sweep, at least 1.
        damping: how strongly weights stay where they are, > 0, a share of the examples. With little
            of it, and many ``w_steps``, the top fits the examples before the layers below move.
    """

    name = "mac"
    title = "method of auxiliary coordinates (Carreira-Perpinan & Wang 2014)"
    locks = ""
    has_rate = False
    transports_weights = True

    def __init__(
        self,
        *,
        mu: float = 0.1,
        growth: float = 3.0,
        stages: int = 4,
        z_steps: int = 20,
        w_steps: int = 1,
        damping: float = 0.03,
    ) -> None:
        if not (mu > 0 and growth >= 1 and damping > 0) or min(stages, z_steps, w_steps) < 1:
            raise InputError(
                f"mac has mu {mu}, growth {growth}, stages {stages}, z_steps {z_steps}, w_steps "
                f"{w_steps} and damping {damping}; mu and damping must be above 0 and the others "
                "at least 1."
            )
        self._mu, self._growth, self._stages = mu, growth, stages
        self._z_steps, self._w_steps, self._damping = z_steps, w_steps, damping

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where the network is recurrent or the training part too large."""
        super().check(lesson)
        check_sweeps(self.name, lesson, _COPIES)

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson."""
        self.check(lesson)
        networks = initial_networks(lesson)
        inputs = lesson.train.inputs[None].astype(np.float64)
        targets = one_hot(lesson.train.labels, lesson.sizes[-1])
        at = Coordinates(networks, inputs, targets, self._mu, self._damping)
        probed: list[FloatArray] = []

        def sweep(number: int, sweeps: int) -> None:
            at.mu = self._mu * self._growth ** (number * self._stages // sweeps)
            at.z_step(self._z_steps)
            before = [weights.copy() for weights in networks.weights]
            wanted = lesson.is_probed and number == sweeps // 2
            true = descents(networks, forward(networks, inputs), targets[None]) if wanted else []
            at.w_step(self._w_steps)
            if wanted:
                changes = [now - old for now, old in zip(networks.weights, before, strict=True)]
                probed.append(cosines(changes, true))

        curve = live_in_sweeps(lesson, networks, networks.parameters, sweep)
        return Learned(curve.values, curve.diverged_at, probed[0] if probed else None, networks)

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes.

        Each Z-step makes predictions and sends errors back, but for the inputs' layer; a W-step
        forms each layer's covariance and what is missing, the top's ``w_steps`` times.
        """
        synapses = forward_products(sizes)
        relaxing = (self._z_steps + 1) * (synapses + backward_products(sizes))
        fitting = sum(n_in * n_in for n_in in sizes[:-1])
        fitting += 2 * forward_products(sizes[:-1]) + 2 * self._w_steps * sizes[-1] * sizes[-2]
        return (relaxing + fitting) / synapses
