"""Real-time recurrent learning: every state's derivative by every weight, carried forward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evosearch.engine.cache import compiled_with_allocation
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.mlp import Array
from evosearch.learners.rnn import (
    Increments,
    RnnLearner,
    RnnNetworks,
    Trace,
    credit,
    equivalents,
)

LARGEST_JACOBIAN = 2**26
"""Derivatives that are kept: half a gibibyte of float64, and as much while they move."""


@LEARNERS.register("rtrl")
class Rtrl(RnnLearner):
    """The gradient without a way back: derivatives move on with the states.

    Memory grows with the third power of the hidden units, time with the fourth. One example's
    derivatives are held at a time.
    """

    name = "rtrl"
    title = "real-time recurrent learning (R. Williams, D. Zipser 1989)"
    locks = ""
    transports_weights = True

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where it cannot train this network, before anything is computed."""
        super().check(lesson)
        n_inputs, n_hidden, _ = lesson.sizes
        wanted = n_hidden**2 * (n_inputs + n_hidden + 1)
        if wanted > LARGEST_JACOBIAN:
            raise InputError(
                f"rtrl would keep {wanted:,} derivatives of {n_hidden} hidden units; at most "
                f"{LARGEST_JACOBIAN:,} are allowed: take fewer units, or snap1, eprop or uoro."
            )

    def increments(self, lesson: Lesson) -> Increments:
        """Return the gradient."""
        return rtrl_increments

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes, by multiply-adds."""
        n_inputs, n_hidden, n_classes = sizes
        weights = n_hidden * (n_inputs + n_hidden)
        moved = (steps * (n_hidden + 1) + 1) * n_hidden * weights
        return equivalents(sizes, steps, n_classes * n_hidden + moved)


def rtrl_increments(networks: RnnNetworks, trace: Trace) -> Array:
    """Return increments (D, H, I + H + 1): derivatives of the last states times their credit."""
    total = np.zeros_like(networks.recurrent)
    among = np.ascontiguousarray(networks.among_hidden)
    _carry_forward(trace.pre, trace.slopes, among, credit(networks, trace), total)
    return total / trace.pre.shape[1]


@compiled_with_allocation
def _carry_forward(pre: Array, slopes: Array, among: Array, signals: Array, total: Array) -> None:
    """Add each example's increments to ``total``; J_t = D_t (V J_{t-1} + I x z_t)."""
    n_draws, batch, steps, n_pre = pre.shape
    n_hidden = among.shape[1]
    jacobian = np.empty((n_hidden, n_hidden * n_pre))
    moved = np.empty_like(jacobian)
    for draw in range(n_draws):
        changes = total[draw].reshape(-1)
        for example in range(batch):
            jacobian[:] = 0.0
            for step in range(steps):
                np.dot(among[draw], jacobian, moved)
                z = pre[draw, example, step]
                for k in range(n_hidden):
                    for i in range(n_pre):
                        moved[k, k * n_pre + i] += z[i]
                    slope = slopes[draw, example, step, k]
                    for c in range(n_hidden * n_pre):
                        jacobian[k, c] = slope * moved[k, c]
            for k in range(n_hidden):
                weight = signals[draw, example, k]
                for c in range(n_hidden * n_pre):
                    changes[c] += weight * jacobian[k, c]
