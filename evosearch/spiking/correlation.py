"""A neuron whose synapses learn a repeated pattern: one life, compiled, from spike to spike.

Between spikes everything decays exponentially, so that time is never stepped through. The kernels
call nothing of ours, so that their own file is all that their compiled code depends on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.cache import announced, compiled

TAU_M, TAU_TRACE, REFRACTORY = 18.0, 20.0, 2.0  # ms
THRESHOLD = 20.0  # mV above rest, to which the membrane is reset
RATE = 0.01  # lambda: what a change of 1 means for a weight
SAMPLE = 0.1  # ms between two looks at the potential
TERMS = ("1", "w", "k", "w*k", "w*w", "k*k")


@dataclass(frozen=True)
class Stream:
    """Spikes of all inputs in order of time, and when the pattern is shown.

    Attributes:
        time: (n,) ms.
        source: (n,) which input.
        period: ms from one end of the pattern to the next; it fills the last ``pattern`` ms of it.
        pattern: ms of the pattern.
    """

    time: NDArray[np.float64]
    source: NDArray[np.int32]
    period: float
    pattern: float


def learn(
    facilitation: NDArray[np.float64], depression: NDArray[np.float64], stream: Stream,
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float64], int]:  # fmt: skip
    """Live the stream; return the weights at its end, and how many spikes the neuron sent.

    Args:
        facilitation: (6,) coefficients of TERMS, added to all weights at a spike of the neuron; k
            is the trace of the input.
        depression: (6,) coefficients, subtracted from a weight at a spike of its input; k is the
            trace of the neuron.
        stream: what comes in.
        weights: (inputs,) at birth, in [0, 1].
    """
    synapses = np.zeros((3, len(weights)))
    synapses[0] = weights
    with announced("correlation"):
        n_spikes = _learn(facilitation, depression, stream.time, stream.source, synapses)
    return synapses[0], int(n_spikes)


def signal_to_noise(weights: NDArray[np.float64], stream: Stream, duration: float) -> float:
    """Return how far the pattern lifts the membrane, in standard deviations outside of it.

    Weights rest and the membrane never spikes. It is the mean over presentations of the greatest
    potential within the pattern, less the mean outside, over the standard deviation outside; 0
    where the membrane rests throughout.

    Args:
        weights: (inputs,) in [0, 1].
        stream: what comes in.
        duration: ms of it that are used.
    """
    potential = np.empty(round(duration / SAMPLE))
    with announced("correlation"):
        _free(weights, stream.time, stream.source, potential)
    clock = (np.arange(len(potential)) + 1) * SAMPLE
    phase = np.mod(clock - 0.5 * SAMPLE, stream.period)
    is_inside = phase >= stream.period - stream.pattern
    presentation = ((clock - 0.5 * SAMPLE) // stream.period).astype(int)[is_inside]
    highest = np.full(presentation.max() + 1, -np.inf)
    np.maximum.at(highest, presentation, potential[is_inside])
    outside = potential[~is_inside]
    deviation = float(outside.std())
    return float((highest.mean() - outside.mean()) / deviation) if deviation > 0 else 0.0


@compiled
def _change(c: Any, w: Any, k: Any) -> Any:
    return c[0] + c[1] * w + c[2] * k + c[3] * w * k + c[4] * w * w + c[5] * k * k


@compiled
def _learn(facilitation: Any, depression: Any, time: Any, source: Any, synapses: Any) -> Any:
    """Go from spike to spike; rows of ``synapses`` are weights, traces and when these were true."""
    v, k_post, now, awake_at, n_spikes = 0.0, 0.0, 0.0, 0.0, 0
    for event in range(time.size):
        j, passed = source[event], time[event] - now
        now = time[event]
        v *= np.exp(-passed / TAU_M)
        k_post *= np.exp(-passed / TAU_TRACE)
        w = synapses[0, j] - RATE * _change(depression, synapses[0, j], k_post)
        synapses[0, j] = min(max(w, 0.0), 1.0)
        synapses[1, j] = synapses[1, j] * np.exp((synapses[2, j] - now) / TAU_TRACE) + 1.0
        synapses[2, j] = now
        if now < awake_at:
            continue
        v += synapses[0, j]
        if v >= THRESHOLD:
            v, awake_at = 0.0, now + REFRACTORY
            k_post += 1.0
            n_spikes += 1
            for i in range(synapses.shape[1]):
                k_pre = synapses[1, i] * np.exp((synapses[2, i] - now) / TAU_TRACE)
                w = synapses[0, i] + RATE * _change(facilitation, synapses[0, i], k_pre)
                synapses[0, i] = min(max(w, 0.0), 1.0)
    return n_spikes


@compiled
def _free(weights: Any, time: Any, source: Any, potential: Any) -> None:
    """Write the potential of a membrane without a threshold, at the end of each sample."""
    v, now, event = 0.0, 0.0, 0
    for k in range(potential.size):
        end = (k + 1) * SAMPLE
        while event < time.size and time[event] <= end:
            v = v * np.exp((now - time[event]) / TAU_M) + weights[source[event]]
            now = time[event]
            event += 1
        potential[k] = v * np.exp((now - end) / TAU_M)
