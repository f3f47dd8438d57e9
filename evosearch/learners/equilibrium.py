"""Equilibrium propagation: a network settles twice, free and nudged, and learns the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import backward_products, forward_products
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


@dataclass(frozen=True)
class Settling:
    """How states approach equilibrium.

    Attributes:
        steps: of the free phase.
        nudged_steps: of a nudged phase, which goes on from where the free one ended.
        step_size: share of the way that a unit goes to what its neighbours ask of it.
        least: state of a hidden unit; the most is 1, and outputs lie within 0 and 1.
    """

    steps: int
    nudged_steps: int
    step_size: float
    least: float = 0.0


@dataclass(frozen=True)
class EquilibriumNetworks:
    """D networks of units with bounded states whose connections work both ways.

    The energy of states s is the sum of s^2 / 2 - s b over units, less the sum of s w s' over
    connected pairs; inputs are held.

    Attributes:
        weights: of each layer (D, n_out, n_in), from the bottom.
        biases: of each layer (D, n_out).
        settling: how states approach equilibrium.
    """

    weights: list[Array]
    biases: list[Array]
    settling: Settling

    @property
    def parameters(self) -> list[Array]:
        """All weights, then all biases."""
        return [*self.weights, *self.biases]

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, d): the most active output of the free phase."""
        return in_parts(self._labels, inputs)

    def _labels(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        return self.free(inputs[None].astype(self.weights[0].dtype))[-1].argmax(axis=-1)

    def free(self, inputs: Array) -> list[Array]:
        """Return the states (D, B, n) of each layer above the inputs after the free phase.

        Args:
            inputs: (D, B, n), or (1, B, n) where all draws see the same.
        """
        shape = (len(self.weights[0]), inputs.shape[1])
        states = [np.zeros((*shape, b.shape[1]), inputs.dtype) for b in self.biases]
        return self._settled(inputs, states, self.settling.steps)

    def nudged(self, inputs: Array, free: list[Array], targets: Array, beta: Array) -> list[Array]:
        """Return the states after a nudged phase.

        Args:
            inputs: (D, B, n).
            free: states of the free phase.
            targets: (D, B, classes) that the outputs are drawn to.
            beta: (D, 1, 1) how strongly; where negative they are pushed away.
        """
        return self._settled(inputs, free, self.settling.nudged_steps, targets, beta)

    def _settled(
        self,
        inputs: Array,
        states: list[Array],
        n_steps: int,
        targets: Array | None = None,
        beta: Array | None = None,
    ) -> list[Array]:
        drive = linear(inputs, self.weights[0], self.biases[0])
        for _ in range(n_steps):
            wanted = self._asked(drive, states)
            if targets is not None and beta is not None:
                wanted[-1] += beta * (targets - states[-1])
            floors = [*[self.settling.least] * (len(states) - 1), 0.0]
            for want, state, floor in zip(wanted, states, floors, strict=True):
                want -= state
                want *= self.settling.step_size
                want += state
                np.clip(want, floor, 1.0, out=want)
            states = wanted
        return states

    def _asked(self, drive: Array, states: list[Array]) -> list[Array]:
        """Return what units are asked to be by the layers below and above, in new arrays."""
        above = list(zip(states[:-1], self.weights[1:], self.biases[1:], strict=True))
        asked = [drive.copy(), *(linear(state, w, b) for state, w, b in above)]
        for k, (upper, weights) in enumerate(zip(states[1:], self.weights[1:], strict=True)):
            asked[k] += upper @ weights
        return asked


@LEARNERS.register("eqprop")
class EquilibriumPropagation(Learner):
    """Equilibrium propagation: the products of activities when nudged, less those when free.

    Units are those of a Hopfield network with bounded states. For outputs that are drawn to
    the target ever more weakly the difference of two Hebbian terms becomes the gradient of the
    squared error at the free equilibrium. One-sided nudging has an error of first order in
    ``beta``; it cancels between two nudged phases of opposite sign, and on average where the sign
    is drawn anew for each minibatch. float32.

    Args:
        nudging: ``centred`` for two nudged phases, ``random`` for one of random sign.
        beta: strength of the nudging, above 0.
        free_steps: of the free phase.
        nudged_steps: of a nudged phase.
        step_size: of the relaxation, within 0 and 1.
        is_signed: whether hidden states lie within -1 and 1, not within 0 and 1 as in the source:
            units at rest then pass errors down, where half of the others are at 0 and pass none.
        gain: what initial weights are multiplied by, above 0: connections that work both ways add
            up, and too strong ones leave units at their bounds.

    Sources: B. Scellier, Y. Bengio, "Equilibrium propagation: bridging the gap between energy-based
    models and backpropagation", Frontiers in Computational Neuroscience 11, 2017; two nudged
    phases: A. Laborieux and others, Frontiers in Neuroscience 15, 2021.

    Raises:
        InputError: a setting is out of range.
    """

    name = "eqprop"
    title = "Equilibrium propagation (B. Scellier, Y. Bengio 2017)"
    locks = "FBU"
    transports_weights = True

    def __init__(
        self,
        *,
        nudging: str = "centred",
        beta: float = 0.5,
        free_steps: int = 20,
        nudged_steps: int = 6,
        step_size: float = 0.5,
        is_signed: bool = True,
        gain: float = 0.6,
    ) -> None:
        if nudging not in ("centred", "random"):
            raise InputError(f"nudging is {nudging!r}; it must be 'centred' or 'random'.")
        if not (np.isfinite(beta) and beta > 0 and 0 < step_size <= 1):
            raise InputError(
                f"beta is {beta} and step_size {step_size}; they must be above 0, "
                "and step_size at most 1."
            )
        if free_steps < 1 or nudged_steps < 1:
            raise InputError(
                f"free_steps is {free_steps} and nudged_steps {nudged_steps}; "
                "each must be at least 1."
            )
        if not (np.isfinite(gain) and gain > 0):
            raise InputError(f"gain is {gain}; it must be a number above 0.")
        self._is_centred, self._beta, self._gain = nudging == "centred", beta, gain
        self._settling = Settling(free_steps, nudged_steps, step_size, -1.0 if is_signed else 0.0)

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson."""
        self.check(lesson)
        start = initial_networks(lesson, np.float32)
        weights = [self._gain * layer for layer in start.weights]
        networks = EquilibriumNetworks(weights, start.biases, self._settling)
        steps, curve = Steps(lesson.normaliser, lesson.rate), Curve(lesson)
        generators = [draw_rng(key, NOISE) for key in lesson.keys]
        with np.errstate(all="ignore"):  # lives may diverge
            for update, (inputs, labels) in enumerate(minibatches(lesson, np.float32), start=1):
                targets = one_hot(labels, lesson.sizes[-1], np.float32)
                beta = self._betas(generators)
                increments = contrast(networks, inputs, targets, beta, is_centred=self._is_centred)
                steps.apply(networks.parameters, increments)
                curve.record(update, networks, networks.parameters)
        return Learned(curve.values, curve.diverged_at, None, networks)

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes.

        Each step goes up and down between all layers but the inputs, whose drive is constant in a
        phase; two states give two products a synapse.
        """
        n_nudged = 2 if self._is_centred else 1
        n_steps = self._settling.steps + n_nudged * self._settling.nudged_steps
        driving = (1 + n_nudged) * sizes[1] * sizes[0]
        settling = driving + 2 * n_steps * backward_products(sizes)
        return 2.0 + settling / forward_products(sizes)

    def _betas(self, generators: Sequence[np.random.Generator]) -> Array:
        """Return the strength (D, 1, 1) of this minibatch's nudging."""
        signs = [1.0 if self._is_centred else rng.choice([-1.0, 1.0]) for rng in generators]
        return (self._beta * np.array(signs, np.float32))[:, None, None]


def contrast(
    networks: EquilibriumNetworks,
    inputs: Array,
    targets: Array,
    beta: Array,
    *,
    is_centred: bool,
) -> list[Array]:
    """Return the increments of all weights, then of all biases: minibatch means.

    Args:
        networks: as they are now.
        inputs: (D, B, n).
        targets: (D, B, classes), one-hot.
        beta: (D, 1, 1) strength of the nudging.
        is_centred: whether to nudge both ways.
    """
    free = networks.free(inputs)
    nudged = networks.nudged(inputs, free, targets, beta)
    other, width = free, beta
    if is_centred:
        other, width = networks.nudged(inputs, free, targets, -beta), 2 * beta
    weights = [
        (_product(a, below_a) - _product(b, below_b)) / width
        for a, below_a, b, below_b in zip(
            nudged, [inputs, *nudged], other, [inputs, *other], strict=False
        )
    ]
    biases = [(a - b).mean(axis=1) / width[:, 0] for a, b in zip(nudged, other, strict=True)]
    return [*weights, *biases]


def _product(post: Array, pre: Array) -> Array:
    return post.swapaxes(1, 2) @ pre / post.shape[1]
