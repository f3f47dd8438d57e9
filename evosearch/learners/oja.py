"""Oja's rule in hidden layers: each unit looks for the first principal component."""

from __future__ import annotations

from collections.abc import Sequence

from evosearch.learners.base import LEARNERS, Learned, Learner, Lesson
from evosearch.learners.mlp import Array
from evosearch.learners.unsupervised import (
    LOCAL,
    HiddenLayer,
    centred,
    check_centred,
    learn_without_targets,
    mean_product,
)


@LEARNERS.register("oja")
class Oja(Learner):
    """Oja's rule, y (x - y w), in hidden layers, with y the sum of a unit before its tanh.

    In the rule y counts from its mean over the minibatch, so that components are those of the
    covariance; a bias follows -y, so that tanh sees sums around 0. Units of one layer do not hear
    one another: given time, all find the same component.

    Source: E. Oja, "A simplified neuron model as a principal component analyzer", Journal of
    Mathematical Biology 15, 1982.
    """

    name = "oja"
    title = "Oja's rule below a readout (E. Oja 1982)"
    locks = ""

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where a minibatch has nothing but its mean."""
        super().check(lesson)
        check_centred(self.name, lesson)

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson."""
        self.check(lesson)
        return learn_without_targets(lesson, oja)

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes."""
        return LOCAL


def oja(layer: HiddenLayer) -> tuple[Array, Array]:
    """Return the means of y (x - y w), y from its mean, and of -y."""
    y = centred(layer.sums)
    decay = (y**2).mean(axis=1)[:, :, None] * layer.weights
    return mean_product(y, layer.pre) - decay, -layer.sums.mean(axis=1)
