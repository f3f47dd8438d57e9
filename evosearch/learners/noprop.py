"""NoProp in discrete time: blocks that each learn to denoise the label, and never meet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import forward_products
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.mlp import Array, softmax
from evosearch.learners.noprop_parts import (
    Noise,
    NoPropLearner,
    answer,
    beside,
    cross_entropy,
    drawn_net,
    of_labels,
    teach_guess,
    to_labels,
    zero_net,
)
from evosearch.outcome import FloatArray

_END = 0.98  # how far along its quarter of a period the cosine schedule begins
_LEAST = 1e-3  # share of the label at the beginning, and of noise at the end
_LARGEST_WEIGHT = 1.0


def cosine_schedule(blocks: int) -> FloatArray:
    """Return the share of the label (blocks + 1,) in z_0, mostly noise, to the last, mostly label.

    The squared amplitude of the embedding; what lacks to 1 is the variance of the noise.
    """
    t = np.arange(blocks + 1) / blocks
    share = np.cos((1 - t) * _END * np.pi / 2) ** 2
    return np.clip(share, _LEAST, 1 - _LEAST)


def backward_step(before: float, after: float) -> tuple[float, float, float]:
    """Return a, b, c of z_t = a guess + b z_(t-1) + sqrt(c) noise.

    With the true embedding as the guess, z_t has the distribution that training drew it from if
    z_(t-1) has.

    Args:
        before: share of the label in z_(t-1).
        after: share of the label in z_t, greater.
    """
    ratio = before / after
    a = np.sqrt(after) * (1 - ratio) / (1 - before)
    b = np.sqrt(ratio) * (1 - after) / (1 - before)
    c = (1 - after) * (1 - ratio) / (1 - before)
    return float(a), float(b), float(c)


class DiscreteNetworks:
    """Blocks of D draws, their label embedding and the head above them.

    Args:
        lesson: what is learned.
        blocks: of a draw.
        weight: of the denoising loss, eta in the paper.
        embedding: (D, classes, d) at birth.
        is_learned: whether the embedding learns.
    """

    def __init__(
        self, lesson: Lesson, *, blocks: int, weight: float, embedding: Array, is_learned: bool
    ) -> None:
        self._keys, self._n_blocks, self._is_learned = lesson.keys, blocks, is_learned
        width = embedding.shape[2]
        sizes = (lesson.sizes[0] + width, lesson.sizes[1], lesson.sizes[-1])
        self._blocks = drawn_net(lesson.keys, sizes, blocks)
        self._head = zero_net(len(lesson.keys), width, lesson.sizes[-1])
        self.embedding = embedding
        self._shares = cosine_schedule(blocks)
        clearer = np.diff(self._shares / (1 - self._shares))
        self._weights = np.minimum(blocks * weight / 2 * clearer, _LARGEST_WEIGHT)

    @property
    def parameters(self) -> list[Array]:
        """What learns."""
        own = [self.embedding] if self._is_learned else []
        return [*self._blocks.parameters, *self._head.parameters, *own]

    def noise_shape(self, batch: int) -> tuple[int, ...]:
        """Return the shape of the standard normal numbers of a minibatch of one draw."""
        return self._n_blocks + 1, batch, self.embedding.shape[2]

    def changes(self, inputs: Array, labels: NDArray[np.int64], noise: Noise) -> list[Array]:
        """Return what parameters are to change by, under noise that is drawn for it."""
        drawn = noise.normal(*self.noise_shape(labels.shape[1]))
        return self.losses_and_changes(inputs, labels, drawn)[1]

    def losses_and_changes(
        self, inputs: Array, labels: NDArray[np.int64], noise: Array
    ) -> tuple[FloatArray, list[Array]]:
        """Return mean losses (D,), and minus their gradient for each of the parameters.

        Args:
            inputs: (D, B, n).
            labels: (D, B).
            noise: (D, blocks + 1, B, d) standard normal.
        """
        clean = of_labels(self.embedding, labels)
        shares = self._shares[:, None, None]
        z = np.sqrt(shares) * clean[:, None] + np.sqrt(1 - shares) * noise
        losses, changes, to_embedding, at_z = self._denoise(inputs, clean, z[:, :-1])
        ends, head, at_end = self._classify(z[:, -1], labels)
        if self._is_learned:
            at_clean = np.sqrt(self._shares[-1]) * at_end + at_z
            at_clean -= self._shares[0] / inputs.shape[1] * clean  # of the divergence at t = 0
            ends = ends + self._shares[0] / 2 * (clean**2).sum(axis=2).mean(axis=1)
            to_embedding += to_labels(at_clean, labels, self.embedding.shape[1])
            return losses + ends, [*changes, *head, to_embedding]
        return losses + ends, [*changes, *head]

    def _denoise(
        self, inputs: Array, clean: Array, z: Array
    ) -> tuple[FloatArray, list[Array], Array, Array]:
        """Return losses, changes of the blocks, of the embedding, and errors of clean labels."""
        weights = self._weights[:, None, None]
        posts = self._blocks.activities(beside(inputs[:, None], z))
        odds = softmax(posts[-1])
        missing = clean[:, None] - odds @ self.embedding[:, None]
        losses = (weights * missing**2).sum(axis=(1, 3)).mean(axis=1)
        error = 2 * weights * missing / inputs.shape[1]
        at_logits, to_embedding = teach_guess(odds, self.embedding[:, None], error)
        changes, at_inputs = self._blocks.teach(posts, at_logits)
        at_z = at_inputs[..., inputs.shape[2] :] * np.sqrt(self._shares[:-1])[:, None, None]
        return losses, changes, to_embedding.sum(axis=1), (at_z - error).sum(axis=1)

    def _classify(
        self, z: Array, labels: NDArray[np.int64]
    ) -> tuple[FloatArray, list[Array], Array]:
        """Return losses of the head, its changes, and errors of what it reads."""
        posts = self._head.activities(z)
        losses, error = cross_entropy(posts[-1], labels)
        changes, below = self._head.teach(posts, error / labels.shape[1])
        return losses.mean(axis=1), changes, below

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, d), each with noise of its own."""
        return answer(
            self._keys, inputs, (self._n_blocks + 1, self.embedding.shape[2]), self._label
        )

    def _label(self, inputs: Array, noise: Array) -> NDArray[np.int64]:
        z = noise[:, :, 0]
        for number, (before, after) in enumerate(pairwise(self._shares)):
            logits = self._blocks.block(number).activities(beside(inputs, z))[-1]
            a, b, c = backward_step(before, after)
            z = (
                a * (softmax(logits) @ self.embedding)
                + b * z
                + np.sqrt(c) * noise[:, :, number + 1]
            )
        return self._head.activities(z)[-1].argmax(axis=-1)


@LEARNERS.register("noprop")
class NoProp(NoPropLearner):
    """Blocks that each guess the label from the input and a noisy label, alone.

    No block waits for another: in training its noisy label is made, not passed on. A block has one
    hidden layer, of the width of the lesson's first, and backpropagates within itself only; how
    many blocks there are is a setting, so the lesson's depth is not used. Answers pass a label of
    mere noise through all blocks. float64.

    Source: Li, Teh & Pascanu (2025), NoProp-DT. The weight of a block's loss is at most 1.

    Args:
        blocks: T, at least 1.
        weight: of the denoising loss, eta, > 0.
        embedding: of labels: one-hot, learned or prototype, a training example of each class, which
            stays as it is.
        width: numbers in a learned embedding, at least 1.
        scale: what embeddings are multiplied by at birth, > 0.
    """

    name = "noprop"
    title = "NoProp in discrete time (Li, Teh & Pascanu 2025)"
    locks = ""

    def __init__(
        self,
        *,
        blocks: int = 10,
        weight: float = 0.1,
        embedding: str = "one-hot",
        width: int = 20,
        scale: float = 1.0,
    ) -> None:
        super().__init__(embedding, width, scale)
        if blocks < 1 or not weight > 0:
            raise InputError(
                f"noprop has blocks {blocks} and weight {weight}; they must be at least 1 and "
                "above 0."
            )
        self._blocks, self._weight = blocks, weight

    def _networks(self, lesson: Lesson, embedding: Array, *, is_learned: bool) -> DiscreteNetworks:
        return DiscreteNetworks(
            lesson,
            blocks=self._blocks,
            weight=self._weight,
            embedding=embedding,
            is_learned=is_learned,
        )

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes.

        Every block goes forward, sends errors to its hidden layer, and changes its weights.
        """
        width = self._embedding_width(sizes)
        lower, upper = (sizes[0] + width) * sizes[1], sizes[1] * sizes[-1]
        back = upper + (lower if self._embedding == "learned" else 0)
        network = forward_products(sizes)
        return self._blocks * (2 * (lower + upper) + back) / network
