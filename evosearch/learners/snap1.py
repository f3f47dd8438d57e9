"""SnAp-1: of every state's derivative by every weight, only a unit's own are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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


@LEARNERS.register("snap1")
class Snap1(RnnLearner):
    """A three-factor rule: each synapse keeps a trace, which its unit's credit turns into change.

    A trace follows e <- f' (V_jj e + pre). This is real-time recurrent learning where no unit
    hears another one; else what a weight does by way of other units is left out.
    """

    name = "snap1"
    title = "sparse n-step approximation, n = 1 (J. Menick et al. 2021)"
    locks = ""
    transports_weights = True

    def increments(self, lesson: Lesson) -> Increments:
        """Return what traces and credit make."""
        return snap1_increments

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes, by multiply-adds."""
        return traces_cost(sizes, steps)


def snap1_increments(networks: RnnNetworks, trace: Trace) -> Array:
    """Return increments (D, H, I + H + 1): each unit's traces times its credit."""
    return traced(trace, own_weights(networks), credit(networks, trace))


def own_weights(networks: RnnNetworks) -> Array:
    """Return the weight of each hidden unit to itself (D, H)."""
    return np.diagonal(networks.among_hidden, axis1=1, axis2=2).copy()


def traced(trace: Trace, kept: Array, signals: Array) -> Array:
    """Return traces after the last step times signals (D, H, I + H + 1), a minibatch's mean.

    Args:
        trace: of a minibatch.
        kept: (D, H) factor of a unit's old traces, before its derivative.
        signals: (D, B, H) one for each unit.
    """
    total = np.zeros((*kept.shape, trace.pre.shape[3]))
    _trace(trace.pre, trace.slopes, kept, signals, total)
    return total / trace.pre.shape[1]


def traces_cost(sizes: Sequence[int], steps: int) -> float:
    """Return forward passes: two multiply-adds a synapse and step, and one for the change."""
    n_inputs, n_hidden, n_classes = sizes
    traces = 2 * forward_products(sizes, steps)[0]
    return equivalents(
        sizes, steps, n_classes * n_hidden + traces + n_hidden * (n_inputs + n_hidden)
    )


@compiled_with_allocation
def _trace(pre: Array, slopes: Array, kept: Array, signals: Array, total: Array) -> None:
    """Add each example's increments to ``total``; a unit's traces stay in nearest memory."""
    n_draws, batch, steps, n_pre = pre.shape
    traces = np.empty(n_pre)
    for draw in range(n_draws):
        for example in range(batch):
            for unit in range(kept.shape[1]):
                traces[:] = 0.0
                for step in range(steps):
                    slope = slopes[draw, example, step, unit]
                    share = slope * kept[draw, unit]
                    for i in range(n_pre):
                        traces[i] = share * traces[i] + slope * pre[draw, example, step, i]
                signal = signals[draw, example, unit]
                for i in range(n_pre):
                    total[draw, unit, i] += signal * traces[i]
