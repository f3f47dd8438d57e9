"""Recurrent networks over draws, and what the lives of all their learners have in common.

A network is one layer of tanh units that hears a sequence step by step, and a softmax readout of
its state after the last step. Learners differ in how the hidden units' weights change; the readout
follows its own error. Everything is computed in float64.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.streams import initial_weights
from evosearch.errors import InputError
from evosearch.learners.base import Learned, Learner, Lesson
from evosearch.learners.mlp import (
    Array,
    Curve,
    cosines,
    in_parts,
    is_middle,
    linear,
    minibatches,
    one_hot,
    softmax,
)
from evosearch.learners.steps import Steps
from evosearch.outcome import FloatArray


@dataclass(frozen=True)
class RnnNetworks:
    """D recurrent networks of H hidden units that hear I numbers a step and tell C classes.

    Attributes:
        recurrent: (D, H, I + H + 1) weights of the hidden units: from the inputs of a step, from
            the hidden units one step before, and from a unit that is always 1.
        readout: (D, C, H + 1) weights of the classes: from the hidden units after the last step,
            and from a unit that is always 1.
        steps: of a sequence.
    """

    recurrent: Array
    readout: Array
    steps: int

    @property
    def among_hidden(self) -> Array:
        """The weights (D, H, H) among hidden units, a view."""
        return self.recurrent[:, :, -1 - self.recurrent.shape[1] : -1]

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, d), whose rows are cut into steps."""
        return in_parts(self._labels, inputs)

    def _labels(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        _, hidden = heard(self, inputs[None])
        return logits(self, hidden[:, :, -1]).argmax(axis=2)


@dataclass(frozen=True)
class Trace:
    """What D networks heard in a minibatch of B sequences of T steps, and how wrong they were.

    Attributes:
        pre: (D, B, T, I + H + 1) what lies before the hidden units' weights in each step.
        hidden: (D, B, T, H) states after each step.
        error: (D, B, C) teaching signals of the classes: target minus probability.
        labels: (D, B) the right classes.
    """

    pre: Array
    hidden: Array
    error: Array
    labels: NDArray[np.int64]

    @property
    def slopes(self) -> Array:
        """Derivatives of the hidden units (D, B, T, H)."""
        return 1.0 - self.hidden**2


Increments: TypeAlias = Callable[[RnnNetworks, Trace], Array]
"""Return the increments (D, H, I + H + 1) of ``recurrent``, the mean over a minibatch."""


class RnnLearner(Learner):
    """A way to train the hidden units of a recurrent network.

    The weights stay as they are while a sequence is heard, and change once a minibatch.
    """

    networks = ("rnn",)

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where it cannot train this network, before anything is computed."""
        super().check(lesson)
        check_sequences(lesson)

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson."""
        return live(lesson, self.increments(lesson))

    @abstractmethod
    def increments(self, lesson: Lesson) -> Increments:
        """Return how hidden units learn in this lesson, with the state of its own at birth."""


def check_sequences(lesson: Lesson) -> None:
    """Raise InputError where a lesson's examples are no sequences for its network."""
    if len(lesson.sizes) != 3:
        raise InputError(
            f"a recurrent network has {len(lesson.sizes)} sizes; it must have three: the inputs of "
            "a step, the hidden units and the classes."
        )
    n_inputs = lesson.train.inputs.shape[1]
    if lesson.steps < 1 or lesson.steps * lesson.sizes[0] != n_inputs:
        raise InputError(
            f"{lesson.steps} steps of {lesson.sizes[0]} inputs do not make up the {n_inputs} "
            "numbers of an example; choose steps whose product with the inputs of a step does."
        )


def born(lesson: Lesson) -> RnnNetworks:
    """Return the networks at birth: weights from N(0, 1 / n_in), biases at 0, one a draw.

    A hidden unit's n_in are the inputs of a step and the hidden units together.
    """
    n_inputs, n_hidden, n_classes = lesson.sizes
    layers = (n_inputs + n_hidden, n_hidden, n_classes)
    drawn = [initial_weights(key, layers) for key in lesson.keys]
    recurrent, readout = (np.stack([weights[k] for weights in drawn]) for k in range(2))
    return RnnNetworks(_with_bias(recurrent), _with_bias(readout), lesson.steps)


def _with_bias(weights: Array) -> Array:
    return np.concatenate([weights, np.zeros((*weights.shape[:2], 1))], axis=2)


def heard(networks: RnnNetworks, inputs: NDArray[np.floating]) -> tuple[Array, Array]:
    """Let networks hear sequences; return ``pre`` and ``hidden`` of a :class:`Trace`.

    Args:
        networks: D of them.
        inputs: (D, B, T * I), or (1, B, T * I) where all hear the same.
    """
    n_draws, n_hidden, n_pre = networks.recurrent.shape
    n_inputs, steps, batch = n_pre - n_hidden - 1, networks.steps, inputs.shape[1]
    pre = np.ones((n_draws, batch, steps, n_pre))
    pre[..., :n_inputs] = inputs.reshape(-1, batch, steps, n_inputs)
    pre[:, :, 0, n_inputs:-1] = 0.0
    hidden = np.empty((n_draws, batch, steps, n_hidden))
    weights = networks.recurrent.swapaxes(1, 2)
    for step in range(steps):
        hidden[:, :, step] = np.tanh(pre[:, :, step] @ weights)
        if step + 1 < steps:
            pre[:, :, step + 1, n_inputs:-1] = hidden[:, :, step]
    return pre, hidden


def logits(networks: RnnNetworks, last: Array) -> Array:
    """Return what softmax is taken of (D, B, C), from the last states (D, B, H)."""
    return linear(last, networks.readout[:, :, :-1], networks.readout[:, :, -1])


def taught(networks: RnnNetworks, inputs: NDArray[np.floating], labels: NDArray[np.int64]) -> Trace:
    """Let networks hear a minibatch each, and tell them how wrong they are.

    Args:
        networks: D of them.
        inputs: (D, B, T * I).
        labels: (D, B).
    """
    pre, hidden = heard(networks, inputs)
    answers = softmax(logits(networks, hidden[:, :, -1]))
    return Trace(pre, hidden, one_hot(labels, answers.shape[2]) - answers, labels)


def credit(networks: RnnNetworks, trace: Trace) -> Array:
    """Return the negative gradient of the loss by the last states (D, B, H)."""
    return trace.error @ networks.readout[:, :, :-1]


def back(
    networks: RnnNetworks, trace: Trace, guesses: dict[int, Array] | None = None
) -> tuple[Array, dict[int, Array]]:
    """Carry credit back through time, from the last step to the first.

    Args:
        networks: D of them.
        trace: of a minibatch.
        guesses: where time is cut: steps after which a window ends, and the credit (D, B, H) that
            its states get there in place of what comes from later steps.

    Returns:
        The increments of ``recurrent`` (D, H, I + H + 1), and the credit (D, B, H) that came from
        later steps at each cut.
    """
    cuts, arrived = guesses or {}, {}
    carried, slopes, among = credit(networks, trace), trace.slopes, networks.among_hidden
    signals = np.empty_like(slopes)
    for step in reversed(range(networks.steps)):
        signals[:, :, step] = carried * slopes[:, :, step]
        if step:
            carried = signals[:, :, step] @ among
        if step in cuts:
            arrived[step], carried = carried, cuts[step]
    return products(signals, trace.pre), arrived


def products(signals: Array, pre: Array) -> Array:
    """Return sums over steps of signal times pre (D, H, n), the mean over a minibatch.

    Args:
        signals: (D, B, T, H).
        pre: (D, B, T, n).
    """
    n_draws, batch, steps, n_hidden = signals.shape
    rows = signals.reshape(n_draws, batch * steps, n_hidden)
    return rows.swapaxes(1, 2) @ pre.reshape(n_draws, batch * steps, -1) / batch


def gradient(networks: RnnNetworks, trace: Trace) -> Array:
    """Return the negative gradient of the loss by ``recurrent`` (D, H, I + H + 1)."""
    return back(networks, trace)[0]


def live(lesson: Lesson, increments: Increments) -> Learned:
    """Live all draws of a lesson in which hidden units learn in one way.

    Args:
        lesson: what is taught.
        increments: how hidden units learn; the readout follows its error.

    Raises:
        InputError: a minibatch is larger than the training part.
    """
    networks, steps = born(lesson), Steps(lesson.normaliser, lesson.rate)
    parameters = [networks.recurrent, networks.readout]
    curve, alike = Curve(lesson), None
    with np.errstate(all="ignore"):  # draws that diverge are reported
        for update, (inputs, labels) in enumerate(minibatches(lesson), start=1):
            trace = taught(networks, inputs, labels)
            changes = [increments(networks, trace), _readout_increments(trace)]
            if is_middle(lesson, update):
                alike = _alignment(networks, trace, changes)
            steps.apply(parameters, changes)
            curve.record(update, networks, parameters)  # tanh is finite where weights are
    return Learned(curve.values, curve.diverged_at, alike, networks)


def forward_products(sizes: Sequence[int], steps: int) -> tuple[int, int]:
    """Return the multiply-adds of one example: of all steps' hidden units, and of the readout."""
    n_inputs, n_hidden, n_classes = sizes
    return steps * n_hidden * (n_inputs + n_hidden), n_classes * n_hidden


def equivalents(sizes: Sequence[int], steps: int, hidden: float) -> float:
    """Return the cost of one update of an example in forward passes.

    Args:
        sizes: inputs of a step, hidden units, classes.
        steps: of a sequence.
        hidden: multiply-adds by which the hidden units learn; those of the readout are added.
    """
    listening, telling = forward_products(sizes, steps)
    return 1.0 + (hidden + telling) / (listening + telling)


def _readout_increments(trace: Trace) -> Array:
    last = trace.hidden[:, :, -1]
    pre = np.concatenate([last, np.ones((*last.shape[:2], 1))], axis=2)
    return products(trace.error[:, :, None], pre[:, :, None])


def _alignment(networks: RnnNetworks, trace: Trace, changes: Sequence[Array]) -> FloatArray:
    """Return (D, 2): cosines of increments with the negative gradient, without the biases."""
    wanted = gradient(networks, trace), _readout_increments(trace)
    return cosines([ours[..., :-1] for ours in changes], [true[..., :-1] for true in wanted])
