"""A neuron with plastic inhibition: one life, compiled, driven by the spikes of a thousand inputs.

Synapses change when a spike comes or goes, each by itself, which phases over whole arrays cannot
tell. The kernel calls nothing of ours, so that its own file is all that its compiled code depends
on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.cache import announced, compiled

DT = 0.1  # ms
REST, THRESHOLD, RESET, E_REVERSAL, I_REVERSAL = -60.0, -50.0, -60.0, 0.0, -80.0  # mV
TAU_M, TAU_E, TAU_I = 20.0, 5.0, 10.0  # ms
REFRACTORY = 5.0  # ms
W_E, W_START, W_MAX = 0.05, 0.1, 5.0  # conductance of a spike, in units of the leak
ETA = 0.01


@dataclass(frozen=True)
class Inputs:
    """The spikes that one trial brings.

    Attributes:
        excitatory: (steps,) how many excitatory inputs spike in each step.
        step: (n,) steps of the inhibitory spikes, in order.
        source: (n,) which inhibitory input each is of.
    """

    excitatory: NDArray[np.uint8]
    step: NDArray[np.int32]
    source: NDArray[np.int32]


@dataclass(frozen=True)
class PlasticityLaw:
    """What a spike does to the weights of inhibitory synapses (times 0.01).

    A spike of an input changes its weight by alpha + kappa x_post, a spike of the neuron changes
    every weight by beta + gamma x_pre; traces x count spikes and decay with tau_pre or tau_post.
    """

    tau_pre: float  # ms
    tau_post: float  # ms
    alpha: float
    beta: float
    gamma: float
    kappa: float


def count_spikes(law: PlasticityLaw, inputs: Inputs, n_inhibitory: int, window: int,
                 bounds: tuple[int, int]) -> NDArray[np.int64]:  # fmt: skip
    """Live one trial; return the neuron's spikes in each window of time.

    Args:
        law: how weights change.
        inputs: what comes in; the trial lasts as long.
        n_inhibitory: number of inhibitory inputs.
        window: steps of a window.
        bounds: least and greatest number of spikes a window; a life outside of them ends.

    Returns:
        (windows,) counts; -1 for those after the end of the life.
    """
    counts = np.full(len(inputs.excitatory) // window, -1, np.int64)
    constants = np.array(
        [exp(-DT / TAU_E), exp(-DT / TAU_I), exp(-DT / law.tau_post), DT / law.tau_pre,
         ETA * law.alpha, ETA * law.beta, ETA * law.gamma, ETA * law.kappa]
    )  # fmt: skip
    synapses = np.zeros((3, n_inhibitory))
    synapses[0] = W_START
    with announced("inhibition"):
        _live(
            constants, inputs.excitatory, inputs.step, inputs.source, synapses, window, bounds[0],
            bounds[1], counts,
        )  # fmt: skip
    return counts


@compiled
def _live(
    constants: Any, excitatory: Any, step: Any, source: Any, synapses: Any, window: Any, least: Any,
    most: Any, counts: Any,
) -> None:  # fmt: skip
    """Step through a trial; rows of ``synapses`` are weights, traces and when these were true."""
    keep_e, keep_i, keep_post, fading, alpha, beta, gamma, kappa = constants
    n_refractory = int(REFRACTORY / DT)
    v, g_e, g_i, x_post = RESET, 0.0, 0.0, 0.0
    n_silent, event, n_spikes = 0, 0, 0
    for t in range(counts.size * window):
        g_e = keep_e * g_e + W_E * excitatory[t]
        g_i *= keep_i
        x_post *= keep_post
        while event < step.size and step[event] == t:
            k = source[event]
            w = synapses[0, k] + alpha + kappa * x_post
            synapses[0, k] = min(max(w, 0.0), W_MAX)
            synapses[1, k] = synapses[1, k] * np.exp(fading * (synapses[2, k] - t)) + 1.0
            synapses[2, k] = t
            g_i += synapses[0, k]
            event += 1
        if n_silent > 0:
            n_silent -= 1
        else:
            current = (REST - v) + g_e * (E_REVERSAL - v) + g_i * (I_REVERSAL - v)
            v += DT / TAU_M * current
            if v >= THRESHOLD:
                v, n_silent = RESET, n_refractory
                x_post += 1.0
                n_spikes += 1
                for k in range(synapses.shape[1]):
                    x_pre = synapses[1, k] * np.exp(fading * (synapses[2, k] - t))
                    w = synapses[0, k] + beta + gamma * x_pre
                    synapses[0, k] = min(max(w, 0.0), W_MAX)
        if (t + 1) % window == 0:
            counts[t // window] = n_spikes
            if n_spikes < least or n_spikes > most:
                return
            n_spikes = 0
