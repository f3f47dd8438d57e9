"""Oja's rule in hidden layers: each unit looks for the first principal component."""

from __future__ import annotations

from evosearch.learners.base import LEARNERS
from evosearch.learners.mlp import Array
from evosearch.learners.unsupervised import (
    HiddenLayer,
    LocalRule,
    UnsupervisedLearner,
    centred,
    mean_product,
)


@LEARNERS.register("oja")
class Oja(UnsupervisedLearner):
    """Oja's rule, y (x - y w), in hidden layers, with y the sum of a unit before its tanh.

    In the rule y counts from its mean over the minibatch, so that components are those of the
    covariance; a bias follows -y, so that tanh sees sums around 0. Units of one layer do not hear
    one another: given time, all find the same component.

    Source: E. Oja, "A simplified neuron model as a principal component analyzer", Journal of
    Mathematical Biology 15, 1982.
    """

    name = "oja"
    title = "Oja's rule below a readout (E. Oja 1982)"
    compares_examples = True

    def rule(self) -> LocalRule:
        """Return Oja's rule."""
        return oja


def oja(layer: HiddenLayer) -> tuple[Array, Array]:
    """Return the means of y (x - y w), y from its mean, and of -y."""
    y = centred(layer.sums)
    decay = (y**2).mean(axis=1)[:, :, None] * layer.weights
    return mean_product(y, layer.pre) - decay, -layer.sums.mean(axis=1)
