"""Unbiased online recurrent optimisation: all derivatives in one random product of two vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evosearch.circuits.streams import NOISE
from evosearch.engine.cache import compiled_with_allocation
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.mlp import Array
from evosearch.learners.rnn import (
    Increments,
    RnnLearner,
    RnnNetworks,
    Trace,
    credit,
    equivalents,
    forward_products,
)
from evosearch.tasks.base import draw_rng

_FLOOR = 1e-7


@LEARNERS.register("uoro")
class Uoro(RnnLearner):
    """A noisy gradient at the memory of one more network, right in the mean.

    The matrix of derivatives, states by weights, is kept as the product of a vector s over states
    and one, theta, over weights. Random signs make the mean of that product exact; each example
    has signs of its own.
    """

    name = "uoro"
    title = "unbiased online recurrent optimisation (C. Tallec, Y. Ollivier 2017)"
    locks = ""
    transports_weights = True

    def increments(self, lesson: Lesson) -> Increments:
        """Return noisy gradients, whose signs come from each draw's own stream."""
        generators = [draw_rng(key, NOISE) for key in lesson.keys]
        both = np.array([-1.0, 1.0])

        def change(networks: RnnNetworks, trace: Trace) -> Array:
            shape = trace.hidden.shape[1:]
            bits = np.stack([rng.integers(0, 2, shape, dtype=np.int8) for rng in generators])
            return uoro_increments(networks, trace, both[bits])

        return change

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes, by multiply-adds.

        A step takes one product with the weights among hidden units, and for each weight two
        multiply-adds and one of a norm.
        """
        n_inputs, n_hidden, n_classes = sizes
        moving = steps * n_hidden**2 + 3 * forward_products(sizes, steps)[0]
        return equivalents(
            sizes, steps, n_classes * n_hidden + moving + n_hidden * (n_inputs + n_hidden)
        )


def uoro_increments(networks: RnnNetworks, trace: Trace, signs: Array) -> Array:
    """Return increments (D, H, I + H + 1) of one draw of signs.

    Args:
        networks: D of them.
        trace: of a minibatch.
        signs: (D, B, T, H), -1 or 1.
    """
    total = np.zeros_like(networks.recurrent)
    among = np.ascontiguousarray(networks.among_hidden)
    _carry_product(trace.pre, trace.slopes, among, credit(networks, trace), signs, total)
    return total / trace.pre.shape[1]


@compiled_with_allocation
def _carry_product(
    pre: Array,
    slopes: Array,
    among: Array,
    signals: Array,
    signs: Array,
    total: Array,
) -> None:
    """Add each example's increments to ``total``."""
    n_draws, batch, steps, n_pre = pre.shape
    n_hidden = among.shape[1]
    states, moved = np.empty(n_hidden), np.empty(n_hidden)
    weights = np.empty((n_hidden, n_pre))
    for draw in range(n_draws):
        for example in range(batch):
            states[:] = 0.0
            weights[:] = 0.0
            for step in range(steps):
                _one_step(
                    pre[draw, example, step], slopes[draw, example, step], among[draw],
                    signs[draw, example, step], states, moved, weights,
                )  # fmt: skip
            gain = 0.0
            for k in range(n_hidden):
                gain += signals[draw, example, k] * states[k]
            for k in range(n_hidden):
                for i in range(n_pre):
                    total[draw, k, i] += gain * weights[k, i]


@compiled_with_allocation
def _one_step(
    pre: Array,
    slopes: Array,
    among: Array,
    signs: Array,
    states: Array,
    moved: Array,
    weights: Array,
) -> None:
    """Move s and theta on by one step of time."""
    n_hidden, n_pre = weights.shape
    size_moved = size_weights = size_slopes = size_pre = 0.0
    for k in range(n_hidden):
        moved[k] = 0.0
        for j in range(n_hidden):
            moved[k] += among[k, j] * states[j]
        moved[k] *= slopes[k]
        size_moved += moved[k] ** 2
        size_slopes += slopes[k] ** 2
        for i in range(n_pre):
            size_weights += weights[k, i] ** 2
    for i in range(n_pre):
        size_pre += pre[i] ** 2
    # any factors leave the mean as it is; these keep its variance low
    old = math.sqrt(math.sqrt(size_weights) / (math.sqrt(size_moved) + _FLOOR)) + _FLOOR
    new = math.sqrt(math.sqrt(size_slopes * size_pre) / (math.sqrt(n_hidden) + _FLOOR)) + _FLOOR
    for k in range(n_hidden):
        states[k] = old * moved[k] + new * signs[k]
        factor = signs[k] * slopes[k] / new
        for i in range(n_pre):
            weights[k, i] = weights[k, i] / old + factor * pre[i]
