"""SoftHebb in hidden layers: the units of a layer compete softly for each example."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Learned, Learner, Lesson
from evosearch.learners.mlp import Array, softmax
from evosearch.learners.unsupervised import (
    LOCAL,
    HiddenLayer,
    learn_without_targets,
    mean_product,
)


@LEARNERS.register("softhebb")
class SoftHebb(Learner):
    """SoftHebb: y (x - u w), with sums u = w x and y their softmax over the units of a layer.

    A unit's weights move towards the inputs that it wins and their length towards 1. The
    competition is part of learning alone: the next layer sees the tanh of u. Biases stay 0.

    Args:
        temperature: of the softmax, above 0; the less, the fewer units learn from an example.

    Source: A. Journé, H. G. Rodriguez, Q. Guo, T. Moraitis, "Hebbian deep learning without
    feedback", ICLR 2023.

    Raises:
        InputError: the temperature is not above 0.
    """

    name = "softhebb"
    title = "SoftHebb below a readout (A. Journé and others 2023)"
    locks = ""

    def __init__(self, *, temperature: float = 0.2) -> None:
        if not (np.isfinite(temperature) and temperature > 0):
            raise InputError(f"temperature is {temperature}; it must be a number above 0.")
        self._temperature = temperature

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson."""
        self.check(lesson)
        return learn_without_targets(lesson, lambda layer: softhebb(layer, self._temperature))

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes."""
        return LOCAL


def softhebb(layer: HiddenLayer, temperature: float) -> tuple[Array, Array]:
    """Return the mean of y (x - u w), and no bias."""
    u = layer.sums
    y = softmax(u / temperature)
    decay = (y * u).mean(axis=1)
    return mean_product(y, layer.pre) - decay[:, :, None] * layer.weights, np.zeros_like(decay)
