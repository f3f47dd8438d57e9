"""SoftHebb in hidden layers: the units of a layer compete softly for each example."""

from __future__ import annotations

from functools import partial

import numpy as np

from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS
from evosearch.learners.mlp import Array, softmax
from evosearch.learners.unsupervised import (
    HiddenLayer,
    LocalRule,
    UnsupervisedLearner,
    mean_product,
)


@LEARNERS.register("softhebb")
class SoftHebb(UnsupervisedLearner):
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

    def __init__(self, *, temperature: float = 0.2) -> None:
        if not (np.isfinite(temperature) and temperature > 0):
            raise InputError(f"temperature is {temperature}; it must be a number above 0.")
        self._temperature = temperature

    def rule(self) -> LocalRule:
        """Return SoftHebb's rule at this temperature."""
        return partial(softhebb, temperature=self._temperature)


def softhebb(layer: HiddenLayer, temperature: float) -> tuple[Array, Array]:
    """Return the mean of y (x - u w), and no bias."""
    u = layer.sums
    y = softmax(u / temperature)
    decay = (y * u).mean(axis=1)
    return mean_product(y, layer.pre) - decay[:, :, None] * layer.weights, np.zeros_like(decay)
