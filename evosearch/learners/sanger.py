"""Sanger's rule in hidden layers: units find the principal components in their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evosearch.learners.base import LEARNERS
from evosearch.learners.mlp import Array
from evosearch.learners.unsupervised import (
    HiddenLayer,
    LocalRule,
    UnsupervisedLearner,
    centred,
    mean_product,
    with_pairs_of_units,
)


@LEARNERS.register("sanger")
class Sanger(UnsupervisedLearner):
    """Sanger's rule: unit j learns by y_j (x - sum over k <= j of y_k w_k).

    Each unit sees the input less what it and the units before it explain, so that the layer finds
    the principal components in their order. y is the sum of a unit before its tanh, in the rule
    from its mean over the minibatch, so that components are those of the covariance; a bias follows
    -y, so that tanh sees sums around 0.

    Source: T. D. Sanger, "Optimal unsupervised learning in a single-layer linear feedforward
    neural network", Neural Networks 2, 1989.
    """

    name = "sanger"
    title = "Sanger's rule below a readout (T. D. Sanger 1989)"
    compares_examples = True

    def rule(self) -> LocalRule:
        """Return Sanger's rule."""
        return sanger

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes."""
        return with_pairs_of_units(sizes)


def sanger(layer: HiddenLayer) -> tuple[Array, Array]:
    """Return the means of y_j (x - sum over k <= j of y_k w_k), y from its mean, and of -y."""
    y = centred(layer.sums)
    explained = np.tril(mean_product(y, y)) @ layer.weights
    return mean_product(y, layer.pre) - explained, -layer.sums.mean(axis=1)
