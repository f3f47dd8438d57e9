"""Backpropagation through time, the reference, and random hidden units, the control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.mlp import Array
from evosearch.learners.rnn import (
    Increments,
    RnnLearner,
    RnnNetworks,
    Trace,
    back,
    equivalents,
    gradient,
)


@LEARNERS.register("bptt")
class Bptt(RnnLearner):
    """The gradient itself, by a second pass from the last step to the first.

    Args:
        window: steps after which time is cut (truncated backpropagation): no credit passes from a
            window to the one before it; at least 1, and None for no cut.

    Raises:
        InputError: ``window`` is less than 1.
    """

    name = "bptt"
    title = "backpropagation through time (P. Werbos 1990)"
    locks = "FBU"
    transports_weights = True

    def __init__(self, *, window: int | None = None) -> None:
        if window is not None and window < 1:
            raise InputError(f"window is {window}; it must be at least 1, or None for no cut.")
        self._window = window

    def increments(self, lesson: Lesson) -> Increments:
        """Return the gradient, of whole sequences or of windows."""
        return gradient if self._window is None else self._truncated

    def _truncated(self, networks: RnnNetworks, trace: Trace) -> Array:
        assert self._window is not None
        nothing = np.zeros_like(trace.hidden[:, :, 0])
        cuts = range(self._window, networks.steps, self._window)
        return back(networks, trace, dict.fromkeys(cuts, nothing))[0]

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes, by multiply-adds."""
        return equivalents(sizes, steps, backward_products(sizes, steps))


@LEARNERS.register("shallow-rnn")
class ShallowRnn(RnnLearner):
    """Only the readout learns; what the hidden units say of a sequence stays random."""

    name = "shallow-rnn"
    title = "control: random recurrent units, only the readout learns"
    locks = "U"

    def increments(self, lesson: Lesson) -> Increments:
        """Return no change."""
        return lambda networks, trace: np.zeros_like(networks.recurrent)

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes, by multiply-adds."""
        return equivalents(sizes, steps, 0)


def backward_products(sizes: Sequence[int], steps: int) -> int:
    """Return the multiply-adds of credit on its way back, and of the changes it makes."""
    n_inputs, n_hidden, n_classes = sizes
    carried = n_classes * n_hidden + (steps - 1) * n_hidden**2
    return carried + steps * n_hidden * (n_inputs + n_hidden)
