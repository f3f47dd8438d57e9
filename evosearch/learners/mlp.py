"""What learners with NumPy kernels share: D networks at once, their passes, gradients and curves.

Arrays have a leading axis of D draws, which np.matmul goes through one by one: what a draw becomes
does not depend on the draws beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.streams import initial_weights, order_of_examples
from evosearch.errors import InputError
from evosearch.learners.base import Lesson, Networks
from evosearch.outcome import FloatArray

if TYPE_CHECKING:
    from evosearch.data import Examples

Array: TypeAlias = NDArray[np.floating]

_TOGETHER = 1000  # examples of one prediction, so that its memory does not grow with the data


@dataclass(frozen=True)
class Pass:
    """One forward pass of D networks over B examples.

    Attributes:
        sums: pre-activations of each layer (D, B, n_out); the last are the logits.
        posts: activities (D, B, n), the inputs first; the last are class probabilities.
    """

    sums: list[Array]
    posts: list[Array]


@dataclass(frozen=True)
class MlpNetworks:
    """D multilayer perceptrons of one shape: tanh units, softmax at the top.

    Attributes:
        weights: of each layer (D, n_out, n_in), from the bottom.
        biases: of each layer (D, n_out).
    """

    weights: list[Array]
    biases: list[Array]

    @property
    def parameters(self) -> list[Array]:
        """All weights, then all biases."""
        return [*self.weights, *self.biases]

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, d); the first of the best classes."""
        return in_parts(self._labels, inputs)

    def _labels(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        posts = inputs[None].astype(self.weights[0].dtype)
        for weights, biases in zip(self.weights[:-1], self.biases[:-1], strict=True):
            posts = np.tanh(linear(posts, weights, biases))
        return linear(posts, self.weights[-1], self.biases[-1]).argmax(axis=-1)


def in_parts(
    labels: Callable[[NDArray[np.floating]], NDArray[np.int64]], inputs: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Return (D, n) labels of n inputs (n, d), a thousand at a time; overflow raises no warning.

    Args:
        labels: gives the labels (D, B) of inputs (B, d), each without a look at the others.
        inputs: (n, d), n at least 1.
    """
    parts = np.array_split(inputs, -(-len(inputs) // _TOGETHER))
    with np.errstate(all="ignore"):  # networks that diverged answer as well
        return np.concatenate([labels(part) for part in parts], axis=1)


def linear(inputs: Array, weights: Array, biases: Array) -> Array:
    """Return (D, B, n_out): the sums of a layer for inputs (D, B, n_in) or (1, B, n_in).

    There may be more leading axes than D.
    """
    return inputs @ weights.swapaxes(-1, -2) + biases[..., None, :]


def initial_networks(lesson: Lesson, dtype: type[np.floating[Any]] = np.float64) -> MlpNetworks:
    """Return the networks that every learner starts from: N(0, 1 / n_in), biases 0."""
    drawn = [initial_weights(key, lesson.sizes) for key in lesson.keys]
    weights = [np.stack(layer).astype(dtype) for layer in zip(*drawn, strict=True)]
    return MlpNetworks(weights, [np.zeros(w.shape[:2], dtype) for w in weights])


def forward(networks: MlpNetworks, inputs: Array) -> Pass:
    """Return the pass of inputs (D, B, n), or (1, B, n) where all draws see the same."""
    sums: list[Array] = []
    posts = [inputs]
    for weights, biases in zip(networks.weights, networks.biases, strict=True):
        sums.append(linear(posts[-1], weights, biases))
        is_top = len(sums) == len(networks.weights)
        posts.append(softmax(sums[-1]) if is_top else np.tanh(sums[-1]))
    return Pass(sums, posts)


def softmax(logits: Array) -> Array:
    """Return class probabilities of logits (..., classes)."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def one_hot(
    labels: NDArray[np.integer], n_classes: int, dtype: type[np.floating[Any]] = np.float64
) -> Array:
    """Return (..., classes): 1 at each label, else 0."""
    return np.eye(n_classes, dtype=dtype)[labels]


def minibatches(
    lesson: Lesson, dtype: type[np.floating[Any]] = np.float64
) -> Iterator[tuple[Array, NDArray[np.int64]]]:
    """Yield inputs (D, B, n) and labels (D, B) of each update, in the order that all learners see.

    Raises:
        InputError: a minibatch is larger than the training part.
    """
    n, batch = len(lesson.train), lesson.batch
    if batch > n:
        raise InputError(f"batch is {batch}; the training part has {n} examples.")
    orders = np.stack([order_of_examples(key, n, batch, lesson.updates) for key in lesson.keys])
    inputs = lesson.train.inputs.astype(dtype)
    for k in range(lesson.updates):
        shown = orders[:, k * batch : (k + 1) * batch]
        yield inputs[shown], lesson.train.labels[shown]


def is_middle(lesson: Lesson, update: int) -> bool:
    """Return whether cosines are measured at this update, counted from 1: the end of a half."""
    return lesson.is_probed and update == max(1, lesson.updates // 2)


def descents(networks: MlpNetworks, seen: Pass, targets: Array) -> list[Array]:
    """Return backpropagation's (D, n_out, n_in) of each layer: minus the gradient.

    Of the mean cross-entropy over the examples of a pass, for the weights.

    Args:
        networks: as they were in the pass.
        seen: their pass over inputs (D, B, n).
        targets: (D, B, classes), one-hot.
    """
    error = (targets - seen.posts[-1]) / targets.shape[1]
    found: list[Array] = []
    for layer in reversed(range(len(networks.weights))):
        pre = seen.posts[layer]
        found.append(error.swapaxes(1, 2) @ pre)
        error = (error @ networks.weights[layer]) * (1 - pre**2)
    return found[::-1]


def cosines(ours: Sequence[Array], wanted: Sequence[Array]) -> FloatArray:
    """Return (D, layers): cosines between two lists of layers (D, n_out, n_in); NaN for zeros."""
    columns: list[FloatArray] = []
    for one, other in zip(ours, wanted, strict=True):
        a, b = (layer.reshape(len(layer), -1).astype(np.float64) for layer in (one, other))
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        dots = (a * b).sum(axis=1)
        columns.append(np.divide(dots, norms, out=np.full_like(dots, np.nan), where=norms > 0))
    return np.stack(columns, axis=1)


def accuracies(networks: Networks, examples: Examples) -> FloatArray:
    """Return (D,): the share of the examples that each network labels rightly."""
    return (networks.predict(examples.inputs) == examples.labels).mean(axis=1)


class Curve:
    """Accuracy of D lives on the held part as they go, and when they ceased to be finite.

    Attributes:
        values: (D, checks) accuracies; NaN from where numbers ceased to be finite.
    """

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson
        self._ends = np.full(len(lesson.keys), -1)
        self.values: FloatArray = np.full((len(lesson.keys), lesson.checks), np.nan)

    @property
    def diverged_at(self) -> tuple[int | None, ...]:
        """The update after which a number was not finite, or None, one a draw."""
        return tuple(int(end) if end >= 0 else None for end in self._ends)

    def record(self, update: int, networks: Networks, state: Sequence[Array]) -> None:
        """Look for divergence after an update, and measure accuracy where it is time to.

        Args:
            update: its number, from 1.
            networks: as they are now.
            state: arrays (D, ...) that must be finite, all weights among them.
        """
        is_finite = np.ones(len(self._ends), dtype=np.bool_)
        for array in state:
            is_finite &= np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        self._ends[(self._ends < 0) & ~is_finite] = update
        if update % self._lesson.check_every == 0:
            measured = accuracies(networks, self._lesson.held)
            column = update // self._lesson.check_every - 1
            self.values[:, column] = np.where(self._ends < 0, measured, np.nan)
