"""e-prop in the form of RFLO: traces of synapses, and credit through random weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evosearch.circuits.streams import FEEDBACK, normal_weights
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.mlp import Array
from evosearch.learners.rnn import Increments, RnnLearner, RnnNetworks, Trace
from evosearch.learners.snap1 import own_weights, traced, traces_cost
from evosearch.tasks.base import draw_rng


@LEARNERS.register("eprop")
class Eprop(RnnLearner):
    """A three-factor rule without weight transport: a trace times a randomly weighted error.

    Traces follow e <- f' (c e + pre). In RFLO (J. Murray 2019) c is the leak of a unit; the units
    here have none, and with c = 0 a trace would forget all but the last step. So c is the unit's
    weight to itself, V_jj, unless a leak is given.

    Args:
        leak: c of all units, from 0 to less than 1; None for the weight of each unit to itself.

    Raises:
        InputError: ``leak`` is out of range.
    """

    name = "eprop"
    title = "e-prop as RFLO, random feedback (G. Bellec et al. 2020, J. Murray 2019)"
    locks = ""

    def __init__(self, *, leak: float | None = None) -> None:
        if leak is not None and not 0.0 <= leak < 1.0:
            raise InputError(f"leak is {leak}; it must be at least 0 and less than 1, or None.")
        self._leak = leak

    def increments(self, lesson: Lesson) -> Increments:
        """Return what traces and random feedback make."""
        feedback = random_feedback(lesson)

        def change(networks: RnnNetworks, trace: Trace) -> Array:
            return eprop_increments(networks, trace, feedback, self._leak)

        return change

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes, by multiply-adds."""
        return traces_cost(sizes, steps)


def random_feedback(lesson: Lesson) -> Array:
    """Draw the matrices (D, C, H) that carry errors to hidden units, as the readout is drawn."""
    _, n_hidden, n_classes = lesson.sizes
    generators = [draw_rng(key, FEEDBACK) for key in lesson.keys]
    return np.stack([normal_weights(rng, n_classes, n_hidden) for rng in generators])


def eprop_increments(
    networks: RnnNetworks, trace: Trace, feedback: Array, leak: float | None = None
) -> Array:
    """Return increments (D, H, I + H + 1): traces times the error that feedback carries.

    Args:
        networks: D of them.
        trace: of a minibatch.
        feedback: (D, C, H).
        leak: what a trace keeps; None for the weight of each unit to itself.
    """
    kept = own_weights(networks)
    if leak is not None:
        kept[:] = leak
    return traced(trace, kept, trace.error @ feedback)
