"""Hebb's rule in hidden layers: what is active together grows together."""

from __future__ import annotations

from evosearch.learners.base import LEARNERS
from evosearch.learners.mlp import Array
from evosearch.learners.unsupervised import (
    HiddenLayer,
    LocalRule,
    UnsupervisedLearner,
    mean_product,
)


@LEARNERS.register("hebb")
class Hebb(UnsupervisedLearner):
    """Hebb's rule, post * pre, in hidden layers; nothing holds weights back but the normaliser.

    With plain steps the weights grow without end. Sign and Adam let all weights of a unit grow
    alike instead, and so make it count its inputs.

    Source: D. O. Hebb, "The Organization of Behavior", 1949.
    """

    name = "hebb"
    title = "Hebb's rule below a readout (D. O. Hebb 1949)"

    def rule(self) -> LocalRule:
        """Return Hebb's rule."""
        return hebb


def hebb(layer: HiddenLayer) -> tuple[Array, Array]:
    """Return the mean of post * pre; a bias is a synapse from a unit that is always 1."""
    return mean_product(layer.posts, layer.pre), layer.posts.mean(axis=1)
