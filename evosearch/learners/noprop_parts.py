"""What the kinds of NoProp share: networks inside a block, label embeddings, noise, answers, lives.

Source: Li, Teh & Pascanu (2025), NoProp: training neural networks without full back-propagation or
full forward-propagation. Signals of teaching are minus gradients, so that adding them improves.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.streams import NOISE, WEIGHTS, normal_weights
from evosearch.errors import InputError
from evosearch.learners.base import Learned, Learner, Lesson, Networks
from evosearch.learners.mlp import Array, Curve, linear, minibatches, one_hot, softmax
from evosearch.learners.steps import Steps
from evosearch.outcome import FloatArray
from evosearch.tasks.base import Key, draw_rng

EMBEDDINGS = ("one-hot", "learned", "prototype")
SOLVERS = ("euler", "heun")
_TRAINING, _ANSWERS, _EMBEDDING = 0, 1, 2  # what noise is for
_CANDIDATES = 500  # examples of a class among which its prototype is chosen
_TOGETHER = 1000  # examples of one prediction

Field = Callable[[float, Array], Array]


@dataclass(frozen=True)
class Net:
    """Networks of tanh units with a linear top, trained by backpropagation within themselves.

    Attributes:
        weights: of each layer (..., n_out, n_in), with a leading axis of draws, or draws and
            blocks.
        biases: of each layer (..., n_out).
    """

    weights: list[Array]
    biases: list[Array]

    @property
    def parameters(self) -> list[Array]:
        """All weights, then all biases."""
        return [*self.weights, *self.biases]

    def block(self, number: int) -> Net:
        """Return one of the blocks of every draw."""
        return Net([w[:, number] for w in self.weights], [b[:, number] for b in self.biases])

    def activities(self, inputs: Array) -> list[Array]:
        """Return inputs, activities of each hidden layer, and the sums of the top."""
        posts = [inputs]
        for weights, biases in zip(self.weights[:-1], self.biases[:-1], strict=True):
            posts.append(np.tanh(linear(posts[-1], weights, biases)))
        return [*posts, linear(posts[-1], self.weights[-1], self.biases[-1])]

    def teach(self, posts: Sequence[Array], error: Array) -> tuple[list[Array], Array]:
        """Return what parameters are to change by, and the error of the inputs.

        Args:
            posts: what ``activities`` returned.
            error: minus the gradient at the top's sums, in the shape of those.
        """
        changes: list[Array] = []
        shifts: list[Array] = []
        for layer in reversed(range(len(self.weights))):
            changes.append(error.swapaxes(-1, -2) @ posts[layer])
            shifts.append(error.sum(axis=-2))
            error = error @ self.weights[layer]
            if layer:
                error = error * (1 - posts[layer] ** 2)
        return [*changes[::-1], *shifts[::-1]], error


def drawn_net(keys: Sequence[Key], sizes: Sequence[int], blocks: int = 0) -> Net:
    """Draw networks from N(0, 1 / n_in), biases 0.

    Args:
        keys: one a draw.
        sizes: units of each layer, inputs first.
        blocks: networks of each draw, or 0 for one without an axis of its own.
    """
    rngs = [draw_rng(key, WEIGHTS) for key in keys]
    weights: list[Array] = []
    for n_in, n_out in pairwise(sizes):
        stacked = [
            [normal_weights(rng, n_out, n_in) for _ in range(max(1, blocks))] for rng in rngs
        ]
        weights.append(np.array(stacked) if blocks else np.array(stacked)[:, 0])
    return Net(weights, [np.zeros(w.shape[:-1]) for w in weights])


def zero_net(n_draws: int, n_in: int, n_out: int) -> Net:
    """Return one linear layer a draw, of zeros."""
    return Net([np.zeros((n_draws, n_out, n_in))], [np.zeros((n_draws, n_out))])


def embeddings(lesson: Lesson, kind: str, width: int, scale: float) -> Array:
    """Return the embedding of each class (D, classes, d) at birth, times ``scale``.

    Args:
        lesson: what is learned.
        kind: ``one-hot``, d = classes; ``learned``, d = width, starts from N(0, 1); ``prototype``,
            the training example of the class with the least median distance to the others of it.
        width: d of a learned embedding.
        scale: > 0.
    """
    n_draws, n_classes = len(lesson.keys), lesson.sizes[-1]
    if kind == "learned":
        rngs = [draw_rng(key, NOISE, _EMBEDDING) for key in lesson.keys]
        return scale * np.stack([rng.standard_normal((n_classes, width)) for rng in rngs])
    one = np.eye(n_classes) if kind == "one-hot" else _prototypes(lesson)
    return scale * np.repeat(one[None], n_draws, axis=0)


def _prototypes(lesson: Lesson) -> FloatArray:
    """Return one training example of each class (classes, d); zeros for one that has none."""
    found = np.zeros((lesson.sizes[-1], lesson.sizes[0]))
    for label in range(lesson.sizes[-1]):
        rows = lesson.train.inputs[lesson.train.labels == label][:_CANDIDATES].astype(np.float64)
        if len(rows):
            squares = (rows**2).sum(axis=1)
            distances = squares[:, None] + squares - 2 * rows @ rows.T
            found[label] = rows[np.median(distances, axis=1).argmin()]
    return found


class Noise:
    """Standard normal numbers of each draw's training."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._rngs = [draw_rng(key, NOISE, _TRAINING) for key in keys]

    def normal(self, *shape: int) -> Array:
        """Return (D, *shape) standard normal numbers."""
        return np.stack([rng.standard_normal(shape) for rng in self._rngs])

    def uniform(self, *shape: int) -> Array:
        """Return (D, *shape) numbers from 0 to 1."""
        return np.stack([rng.random(shape) for rng in self._rngs])


def answer(
    keys: Sequence[Key],
    inputs: NDArray[np.floating],
    shape: tuple[int, ...],
    label: Callable[[Array, Array], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """Return (D, n) labels; the k-th example of a call always gets the same noise.

    Args:
        keys: one a draw.
        inputs: (n, d).
        shape: of the standard normal numbers of one example.
        label: labels (D, B) from inputs (1, B, d) and noise (D, B, *shape).
    """
    rngs = [draw_rng(key, NOISE, _ANSWERS) for key in keys]
    found: list[NDArray[np.int64]] = []
    with np.errstate(all="ignore"):
        for start in range(0, len(inputs), _TOGETHER):
            part = inputs[None, start : start + _TOGETHER].astype(np.float64)
            noise = np.stack([rng.standard_normal((part.shape[1], *shape)) for rng in rngs])
            found.append(label(part, noise))
    return np.concatenate(found, axis=1)


def beside(inputs: Array, *others: Array) -> Array:
    """Return inputs and what goes with them side by side, along the last axis."""
    lead = np.broadcast_shapes(*(array.shape[:-1] for array in (inputs, *others)))
    arrays = [np.broadcast_to(array, (*lead, array.shape[-1])) for array in (inputs, *others)]
    return np.concatenate(arrays, axis=-1)


def of_labels(embedding: Array, labels: NDArray[np.int64]) -> Array:
    """Return (D, B, d): the embedding of each label (D, B)."""
    return embedding[np.arange(len(embedding))[:, None], labels]


def to_labels(error: Array, labels: NDArray[np.int64], n_classes: int) -> Array:
    """Return (D, classes, d): errors (D, B, d) summed over the examples of each label."""
    return one_hot(labels, n_classes).swapaxes(1, 2) @ error


def teach_guess(odds: Array, embedding: Array, error: Array) -> tuple[Array, Array]:
    """Return the errors of the logits and of the embedding behind a guess.

    Args:
        odds: (..., B, classes), the softmax of the logits; the guess is odds @ embedding.
        embedding: (..., classes, d).
        error: (..., B, d), of the guess.
    """
    back = error @ embedding.swapaxes(-1, -2)
    logits = odds * (back - (odds * back).sum(axis=-1, keepdims=True))
    return logits, odds.swapaxes(-1, -2) @ error


def cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[FloatArray, Array]:
    """Return each example's cross-entropy (D, B), and the error of its logits (D, B, classes)."""
    targets = one_hot(labels, logits.shape[-1])
    top = logits.max(axis=-1)
    losses = top + np.log(np.exp(logits - top[..., None]).sum(axis=-1))
    return losses - (targets * logits).sum(axis=-1), targets - softmax(logits)


def nearness(points: Array, embedding: Array) -> Array:
    """Return (D, B, classes): minus half the squared distance to each embedding, up to a constant.

    Args:
        points: (D, B, d).
        embedding: (D, classes, d).
    """
    return points @ embedding.swapaxes(1, 2) - (embedding**2).sum(axis=2)[:, None] / 2


def integrate(field: Field, start: Array, steps: int, solver: str) -> Array:
    """Return where dz/dt = field(t, z) carries z from t = 0 to 1.

    Args:
        field: velocities of points, of their shape.
        start: points at t = 0.
        steps: of equal length, at least 1.
        solver: ``euler``, of order 1, or ``heun``, of order 2.
    """
    z, length = start, 1 / steps
    for k in range(steps):
        first = field(k * length, z)
        if solver == "heun":
            second = field((k + 1) * length, z + length * first)
            z = z + length / 2 * (first + second)
        else:
            z = z + length * first
    return z


def check_solver(name: str, steps: int, solver: str) -> None:
    """Raise InputError where an integration is not possible."""
    if steps < 1 or solver not in SOLVERS:
        raise InputError(
            f"{name} has steps {steps} and solver {solver!r}; steps must be at least 1 and solver "
            f"one of {', '.join(SOLVERS)}."
        )


class TaughtNetworks(Networks, Protocol):
    """Networks of D draws that learn from minibatches and noise."""

    @property
    def parameters(self) -> list[Array]:
        """What learns, each (D, ...)."""
        ...

    def changes(self, inputs: Array, labels: NDArray[np.int64], noise: Noise) -> list[Array]:
        """Return what parameters are to change by: minus the gradients of the mean loss.

        Args:
            inputs: (D, B, n).
            labels: (D, B).
            noise: what is drawn from.
        """
        ...


class NoPropLearner(Learner):
    """A kind of NoProp: a label embedding, and lives of networks that are taught under noise.

    Args:
        embedding: of labels: one-hot, learned or prototype.
        width: numbers in a learned embedding, at least 1.
        scale: what embeddings are multiplied by at birth, > 0.

    Raises:
        InputError: there is no such label embedding.
    """

    transports_weights = True

    def __init__(self, embedding: str, width: int, scale: float) -> None:
        if embedding not in EMBEDDINGS or width < 1 or not scale > 0:
            raise InputError(
                f"{self.name} has embedding {embedding!r}, width {width} and scale {scale}; "
                f"embedding must be one of {', '.join(EMBEDDINGS)}, width at least 1 and scale "
                "above 0."
            )
        self._embedding, self._width, self._scale = embedding, width, scale

    @abstractmethod
    def _networks(self, lesson: Lesson, embedding: Array, *, is_learned: bool) -> TaughtNetworks:
        """Return networks at birth, with an embedding (D, classes, d) that may learn."""

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where the network is recurrent or has no hidden layer."""
        super().check(lesson)
        if len(lesson.sizes) < 3:
            raise InputError(
                f"learner {self.name!r} needs a hidden layer in its blocks; this network has none, "
                "give it one or use learner bp."
            )

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson."""
        self.check(lesson)
        embedding = embeddings(lesson, self._embedding, self._width, self._scale)
        networks = self._networks(lesson, embedding, is_learned=self._embedding == "learned")
        curve, noise = Curve(lesson), Noise(lesson.keys)
        steps = Steps(lesson.normaliser, lesson.rate)
        for update, (inputs, labels) in enumerate(minibatches(lesson), start=1):
            with np.errstate(all="ignore"):
                changes = networks.changes(inputs, labels, noise)
                steps.apply(networks.parameters, changes)
            curve.record(update, networks, networks.parameters)
        return Learned(curve.values, curve.diverged_at, None, networks)

    def _embedding_width(self, sizes: Sequence[int]) -> int:
        """Return how many numbers an embedding has in a network of these sizes."""
        widths = {"one-hot": sizes[-1], "prototype": sizes[0]}
        return widths.get(self._embedding, self._width)
