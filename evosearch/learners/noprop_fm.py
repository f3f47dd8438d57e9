"""NoProp by flow matching: one network learns the velocity from noise to the label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import forward_products
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.mlp import Array
from evosearch.learners.noprop_parts import (
    Noise,
    NoPropLearner,
    answer,
    beside,
    check_solver,
    cross_entropy,
    drawn_net,
    integrate,
    nearness,
    of_labels,
    to_labels,
)
from evosearch.outcome import FloatArray


class FlowNetworks:
    """D networks of velocities with time as an input, and their label embeddings.

    Args:
        lesson: what is learned.
        embedding: (D, classes, d) at birth.
        is_learned: whether the embedding learns.
        steps: of the integration that answers.
        solver: euler or heun.
    """

    def __init__(
        self, lesson: Lesson, *, embedding: Array, is_learned: bool, steps: int, solver: str
    ) -> None:
        self._keys, self._is_learned = lesson.keys, is_learned
        self._steps, self._solver = steps, solver
        width = embedding.shape[2]
        self._net = drawn_net(
            lesson.keys, (lesson.sizes[0] + width + 1, *lesson.sizes[1:-1], width)
        )
        self.embedding = embedding

    @property
    def parameters(self) -> list[Array]:
        """What learns."""
        return [*self._net.parameters, *([self.embedding] if self._is_learned else [])]

    def changes(self, inputs: Array, labels: NDArray[np.int64], noise: Noise) -> list[Array]:
        """Return what parameters are to change by, at times and under noise drawn for it."""
        batch = labels.shape[1]
        times, drawn = noise.uniform(batch), noise.normal(batch, self.embedding.shape[2])
        return self.losses_and_changes(inputs, labels, times, drawn)[1]

    def losses_and_changes(
        self, inputs: Array, labels: NDArray[np.int64], times: Array, noise: Array
    ) -> tuple[FloatArray, list[Array]]:
        """Return mean losses (D,), and minus their gradient for each of the parameters.

        The squared error of the velocity; where embeddings learn also the cross-entropy of the
        nearest one to where the velocity leads, without which they would all become one.

        Args:
            inputs: (D, B, n).
            labels: (D, B).
            times: (D, B) from 0 to 1.
            noise: (D, B, d) standard normal.
        """
        n, t = labels.shape[1], times[..., None]
        clean = of_labels(self.embedding, labels)
        z = t * clean + (1 - t) * noise
        posts = self._net.activities(beside(inputs, z, t))
        missing = clean - noise - posts[-1]
        losses = (missing**2).sum(axis=2).mean(axis=1)
        error = 2 * missing / n
        if not self._is_learned:
            return losses, self._net.teach(posts, error)[0]
        ends = z + (1 - t) * posts[-1]
        apart, wrong = cross_entropy(nearness(ends, self.embedding), labels)
        wrong = wrong / n
        at_ends = wrong @ self.embedding
        changes, at_inputs = self._net.teach(posts, error + (1 - t) * at_ends)
        at_z = at_inputs[..., inputs.shape[2] : -1] + at_ends
        own = wrong.swapaxes(1, 2) @ ends - wrong.sum(axis=1)[..., None] * self.embedding
        own += to_labels(t * at_z - error, labels, self.embedding.shape[1])
        return losses + apart.mean(axis=1), [*changes, own]

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, d): the embedding nearest to where noise ends."""
        return answer(self._keys, inputs, (self.embedding.shape[2],), self._label)

    def _label(self, inputs: Array, noise: Array) -> NDArray[np.int64]:
        def field(t: float, z: Array) -> Array:
            return self._net.activities(beside(inputs, z, np.full((1, 1, 1), t)))[-1]

        ends = integrate(field, noise, self._steps, self._solver)
        return nearness(ends, self.embedding).argmax(axis=-1)


@LEARNERS.register("noprop-fm")
class NoPropFm(NoPropLearner):
    """One network that learns the straight way from noise to the embedding of the label.

    It has the hidden layers of the lesson, through which errors do travel back, but never through
    the steps of an answer. Embeddings that are short beside unit noise are hard to find, such as
    one-hot ones of many classes; ``scale`` lengthens them, and its 3 does better on digits than
    the 1 of the source. float64.

    Source: Li, Teh & Pascanu (2025), NoProp-FM; Lipman et al. (2023), flow matching.

    Args:
        steps: of an answer, at least 1.
        solver: euler or heun.
        embedding: of labels: one-hot, learned or prototype, a training example of each class, which
            stays as it is.
        width: numbers in a learned embedding, at least 1.
        scale: what embeddings are multiplied by at birth, > 0.
    """

    name = "noprop-fm"
    title = "NoProp by flow matching (Li, Teh & Pascanu 2025)"
    locks = "FBU"

    def __init__(
        self,
        *,
        steps: int = 20,
        solver: str = "euler",
        embedding: str = "one-hot",
        width: int = 20,
        scale: float = 3.0,
    ) -> None:
        super().__init__(embedding, width, scale)
        check_solver(self.name, steps, solver)
        self._steps, self._solver = steps, solver

    def _networks(self, lesson: Lesson, embedding: Array, *, is_learned: bool) -> FlowNetworks:
        return FlowNetworks(
            lesson,
            embedding=embedding,
            is_learned=is_learned,
            steps=self._steps,
            solver=self._solver,
        )

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes.

        Forward, back to the first hidden layer, or to the inputs where embeddings learn, and all
        changes.
        """
        width = self._embedding_width(sizes)
        own = (sizes[0] + width + 1, *sizes[1:-1], width)
        products = [n_out * n_in for n_in, n_out in pairwise(own)]
        back = sum(products if self._embedding == "learned" else products[1:])
        network = forward_products(sizes)
        return (2 * sum(products) + back) / network
