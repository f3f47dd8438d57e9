"""μPC: predictive coding in residual networks of a hundred layers, scaled for any depth.

Value nodes z_l of H hidden layers and the output are predicted from the layer below,

    mu_1 = a_1 W_1 x
    mu_l = z_(l-1) + a_l W_l tanh(z_(l-1))
    mu_(H+1) = a_(H+1) W_(H+1) tanh(z_H)

and go down the energy, half the sum of all squared errors e_l = z_l - mu_l, with the output held at
the target, one-hot. Weights are N(0, 1) and the scales a_1 = N_0^(-1/2), a_l = (N (H + 1))^(-1/2)
and a_(H+1) = 1 / N, for N_0 inputs and N units a layer, as in Depth-μP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import backward_products, forward_products
from evosearch.circuits.predictive_coding import check_relaxation
from evosearch.circuits.streams import initial_weights
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Learned, Learner, Lesson
from evosearch.learners.mlp import Array, Curve, cosines, is_middle, minibatches, one_hot
from evosearch.learners.steps import Steps
from evosearch.outcome import FloatArray

PARAMETRISATIONS = ("mupc", "residual", "plain")


@dataclass(frozen=True)
class ResidualNetworks:
    """D networks of H equal tanh layers, with or without skip connections, and a linear output.

    Attributes:
        first: (D, N, N_0) weights of the lowest layer.
        hidden: (D, H - 1, N, N) weights of the other hidden layers.
        last: (D, classes, N) weights of the output.
        scales: what the sums of the three are multiplied with.
        skip: 1.0 where each hidden layer but the first adds the one below, else 0.0.
    """

    first: Array
    hidden: Array
    last: Array
    scales: tuple[float, float, float]
    skip: float

    @property
    def parameters(self) -> list[Array]:
        """All weights; there are no biases."""
        return [self.first, self.hidden, self.last]

    def forward(self, inputs: Array) -> Array:
        """Return what each hidden layer's units receive (D, H, B, N), for inputs (D, B, N_0)."""
        sums = [self.below(inputs)]
        for k in range(self.hidden.shape[1]):
            pre = np.tanh(sums[-1])
            branch = self.scales[1] * (pre @ self.hidden[:, k].swapaxes(1, 2))
            sums.append(self.skip * sums[-1] + branch)
        return np.stack(sums, axis=1)

    def below(self, inputs: Array) -> Array:
        """Return what the inputs predict of the first hidden layer (D, B, N)."""
        return self.scales[0] * (inputs @ self.first.swapaxes(1, 2))

    def between(self, values: Array, pres: Array) -> Array:
        """Return what all hidden layers but the last predict of the next (D, H - 1, B, N)."""
        branch = self.scales[1] * (pres[:, :-1] @ self.hidden.swapaxes(2, 3))
        return self.skip * values[:, :-1] + branch

    def output(self, pres: Array) -> Array:
        """Return what the last hidden layer predicts of the output (D, B, classes)."""
        return self.scales[2] * (pres[:, -1] @ self.last.swapaxes(1, 2))

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, N_0), by the forward pass alone."""
        with np.errstate(all="ignore"):
            top = self.forward(inputs[None].astype(self.first.dtype))[:, -1:]
            return self.output(np.tanh(top)).argmax(axis=-1)


@dataclass
class Settled:
    """Value nodes of one minibatch and their errors.

    Attributes:
        values: (D, H, B, N).
        errors: (D, H, B, N) of the hidden layers.
        output_error: (D, B, classes).
    """

    values: Array
    errors: Array
    output_error: Array


def residual_networks(
    lesson: Lesson, parametrisation: str, dtype: type[np.floating] = np.float32
) -> ResidualNetworks:
    """Draw networks from the same random numbers as every learner's.

    Args:
        lesson: says sizes and keys.
        parametrisation: ``mupc``; ``residual`` and ``plain`` have weights N(0, 1 / n_in) and no
            scales, the second no skip connections either.
        dtype: of the weights.
    """
    drawn = [initial_weights(key, lesson.sizes) for key in lesson.keys]
    first = np.stack([layers[0] for layers in drawn])
    hidden = np.stack([np.stack(layers[1:-1]) for layers in drawn])
    last = np.stack([layers[-1] for layers in drawn])
    n_inputs, n_units, n_layers = lesson.sizes[0], lesson.sizes[1], len(lesson.sizes) - 1
    scales = (1.0, 1.0, 1.0)
    if parametrisation == "mupc":
        first, hidden, last = (w * w.shape[-1] ** 0.5 for w in (first, hidden, last))
        scales = (n_inputs**-0.5, (n_units * n_layers) ** -0.5, 1.0 / n_units)
    return ResidualNetworks(
        first.astype(dtype),
        hidden.astype(dtype),
        last.astype(dtype),
        scales,
        0.0 if parametrisation == "plain" else 1.0,
    )


def errors_of(networks: ResidualNetworks, below: Array, values: Array, targets: Array) -> Settled:
    """Return the errors of value nodes, of which ``below`` is what inputs predict of the first."""
    pres = np.tanh(values)
    errors = np.empty_like(values)
    errors[:, 0] = values[:, 0] - below
    errors[:, 1:] = values[:, 1:] - networks.between(values, pres)
    return Settled(values, errors, targets - networks.output(pres))


def slopes(networks: ResidualNetworks, now: Settled) -> Array:
    """Return minus the gradient of the energy for all value nodes (D, H, B, N)."""
    derivative = 1 - np.tanh(now.values) ** 2
    found = -now.errors
    above = now.errors[:, 1:]
    found[:, :-1] += networks.skip * above
    found[:, :-1] += networks.scales[1] * derivative[:, :-1] * (above @ networks.hidden)
    back = now.output_error @ networks.last
    found[:, -1] += networks.scales[2] * derivative[:, -1] * back
    return found


def relax(
    networks: ResidualNetworks, inputs: Array, targets: Array, steps: int, gamma: float
) -> Settled:
    """Let value nodes go down the energy for T steps from the forward pass, all layers at once."""
    below = networks.below(inputs)
    now = errors_of(networks, below, networks.forward(inputs), targets)
    for _ in range(steps):
        values = now.values + gamma * slopes(networks, now)
        now = errors_of(networks, below, values, targets)
    return now


def increments(networks: ResidualNetworks, inputs: Array, now: Settled) -> list[Array]:
    """Return minus the gradient of the mean energy for each of the three groups of weights."""
    pres = np.tanh(now.values)
    scale = [a / inputs.shape[1] for a in networks.scales]
    return [
        scale[0] * (now.errors[:, 0].swapaxes(1, 2) @ inputs),
        scale[1] * (now.errors[:, 1:].swapaxes(2, 3) @ pres[:, :-1]),
        scale[2] * (now.output_error.swapaxes(1, 2) @ pres[:, -1]),
    ]


def descents(networks: ResidualNetworks, inputs: Array, targets: Array) -> list[Array]:
    """Return what backpropagation of half the squared error would change, of the same shapes."""
    values = networks.forward(inputs)
    errors, output_error = np.zeros_like(values), targets - networks.output(np.tanh(values))
    derivative = 1 - np.tanh(values) ** 2
    errors[:, -1] = networks.scales[2] * derivative[:, -1] * (output_error @ networks.last)
    for k in reversed(range(networks.hidden.shape[1])):
        above = errors[:, k + 1]
        back = networks.scales[1] * derivative[:, k] * (above @ networks.hidden[:, k])
        errors[:, k] = networks.skip * above + back
    return increments(networks, inputs, Settled(values, errors, output_error))


@LEARNERS.register("mupc")
class MuPc(Learner):
    """μPC: predictive coding of a residual network in the Depth-μP parametrisation.

    The forward pass keeps its size at any depth and width, so that one step of value nodes and one
    learning rate serve all. Errors come down by a layer a step: with fewer steps than layers the
    lowest stay as they were drawn. Weights are N(0, 1), and rates so of another order than those of
    other learners: the published one is Adam's .1. Steps and gamma are published as well; skip
    connections bend the energy by up to 4, so that gamma = .5 stands at the edge of stability, and
    more and smaller steps may learn better. Computed in float32.

    Args:
        steps: T, at least 1.
        gamma: step of the value nodes, in (0, 1].
        parametrisation: ``mupc``; as controls ``residual``, the same network in the standard one,
            and ``plain``, which has no skip connections either.

    Source: F. Innocenti, E. M. Achour, C. L. Buckley, "μPC: scaling predictive coding to 100+ layer
    networks", NeurIPS 2025 (arXiv 2505.13124).

    Raises:
        InputError: a setting is out of its range.
    """

    name = "mupc"
    title = "μPC (Innocenti, Achour, Buckley 2025)"
    locks = "FBU"
    transports_weights = True

    def __init__(
        self, *, steps: int = 8, gamma: float = 0.5, parametrisation: str = "mupc"
    ) -> None:
        check_relaxation(steps, gamma)
        if parametrisation not in PARAMETRISATIONS:
            raise InputError(
                f"parametrisation is {parametrisation!r}; it must be one of "
                f"{', '.join(PARAMETRISATIONS)}."
            )
        self.steps, self.gamma, self.parametrisation = steps, gamma, parametrisation

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where hidden layers are not at least two of one size."""
        super().check(lesson)
        hidden = lesson.sizes[1:-1]
        if len(hidden) < 2 or len(set(hidden)) > 1:
            raise InputError(
                f"learner 'mupc' adds each hidden layer to the next and so needs at least two of "
                f"one size; this network has {list(hidden)}: pc and ipc train any."
            )

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson, by squared error to one-hot targets."""
        self.check(lesson)
        networks = residual_networks(lesson, self.parametrisation)
        curve, steps = Curve(lesson), Steps(lesson.normaliser, lesson.rate)
        found: FloatArray | None = None
        with np.errstate(all="ignore"):  # lives may diverge
            shown = minibatches(lesson, np.float32)
            for update, (inputs, labels) in enumerate(shown, start=1):
                targets = one_hot(labels, lesson.sizes[-1], np.float32)
                now = relax(networks, inputs, targets, self.steps, self.gamma)
                changes = increments(networks, inputs, now)
                if is_middle(lesson, update):
                    wanted = descents(networks, inputs, targets)
                    found = cosines(by_layer(changes), by_layer(wanted))
                steps.apply(networks.parameters, changes)
                curve.record(update, networks, [*networks.parameters, now.values])
        return Learned(curve.values, curve.diverged_at, found, networks)

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes.

        A step goes down and up through all layers but the first.
        """
        return 2.0 + 2.0 * self.steps * backward_products(sizes) / forward_products(sizes)


def by_layer(groups: Sequence[Array]) -> list[Array]:
    """Return arrays (D, n_out, n_in) of each layer from the three groups."""
    first, hidden, last = groups
    return [first, *(hidden[:, k] for k in range(hidden.shape[1])), last]
