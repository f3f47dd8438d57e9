"""The rule of Bienenstock, Cooper and Munro in hidden layers: units become selective."""

from __future__ import annotations

import numpy as np

from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS
from evosearch.learners.mlp import Array
from evosearch.learners.unsupervised import (
    HiddenLayer,
    LocalRule,
    UnsupervisedLearner,
    mean_product,
)


@LEARNERS.register("bcm")
class Bcm(UnsupervisedLearner):
    """The BCM rule: y (y - threshold) x, with a threshold that slides after y^2.

    Of K orthogonal inputs a unit keeps one, to which it answers K; it needs a threshold that moves
    faster than the weights. y is the sum of a unit before its tanh; biases stay 0.

    Args:
        threshold_rate: share of the way to y^2 that a threshold goes with each example, within
            0 and 1.

    Sources: E. L. Bienenstock, L. N. Cooper, P. W. Munro, Journal of Neuroscience 2, 1982; the
    threshold as the mean of y^2: N. Intrator, L. N. Cooper, Neural Networks 5, 1992.

    Raises:
        InputError: the threshold's rate is out of range.
    """

    name = "bcm"
    title = "BCM rule below a readout (E. Bienenstock, L. Cooper, P. Munro 1982)"

    def __init__(self, *, threshold_rate: float = 0.05) -> None:
        if not 0 < threshold_rate <= 1:
            raise InputError(
                f"threshold_rate is {threshold_rate}; it must be above 0 and at most 1."
            )
        self._threshold_rate = threshold_rate

    def rule(self) -> LocalRule:
        """Return the rule with all thresholds at 0."""
        return SlidingThreshold(self._threshold_rate)


class SlidingThreshold:
    """The rule with the thresholds of all units, which begin at 0.

    Args:
        rate: share of the way that a threshold goes with each example.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._thresholds: dict[int, Array] = {}

    def __call__(self, layer: HiddenLayer) -> tuple[Array, Array]:
        """Move the thresholds, then return the mean of y (y - threshold) x, and no bias."""
        y = layer.sums
        squares = (y**2).mean(axis=1)
        before = self._thresholds.get(layer.index, np.zeros_like(squares))
        # As far as examples one after the other would have moved it.
        share = 1 - (1 - self._rate) ** y.shape[1]
        threshold = before + share * (squares - before)
        self._thresholds[layer.index] = threshold
        return mean_product(y * (y - threshold[:, None]), layer.pre), np.zeros_like(squares)
