"""A neuron whose synapses learn a repeated pattern: one life, compiled, from spike to spike.

Between spikes everything decays exponentially, so that time is never stepped through. The kernels
call nothing of ours, so that their own file is all that their compiled code depends on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.cache import announced, compiled

TAU_M, TAU_TRACE, REFRACTORY = 18.0, 20.0, 2.0  # ms
THRESHOLD = 20.0  # mV above rest, to which the membrane is reset
RATE = 0.01  # lambda: what a change of 1 means for a weight
SAMPLE = 0.1  # ms between two looks at the potential
EPOCH = 500.0  # ms after which traces are counted from a new origin, lest they grow beyond bounds
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

    @cached_property
    def decay(self) -> NDArray[np.float64]:
        """What the time since the last spike left of a membrane's potential (n,)."""
        return np.exp(-np.diff(self.time, prepend=0.0) / TAU_M)

    @cached_property
    def growth(self) -> NDArray[np.float64]:
        """How many times as large a trace was at the origin of its epoch (n,)."""
        return np.exp(np.mod(self.time, EPOCH) / TAU_TRACE)


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
    w, traces = weights.astype(np.float64), np.zeros(len(weights))
    with announced("correlation"):
        n_spikes = _learn(
            facilitation, depression, stream.time, stream.source, stream.decay, stream.growth, w,
            traces,
        )  # fmt: skip
    return w, int(n_spikes)


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
    is_inside, presentation = _phases(len(potential), stream.period, stream.pattern)
    with announced("correlation"):
        _free(weights, stream.time, stream.source, stream.decay, potential)
    highest = np.full(presentation[-1] + 1, -np.inf)
    np.maximum.at(highest, presentation, potential[is_inside])
    outside = potential[~is_inside]
    deviation = float(outside.std())
    return float((highest.mean() - outside.mean()) / deviation) if deviation > 0 else 0.0


@lru_cache(maxsize=4)
def _phases(
    n_samples: int, period: float, pattern: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which samples lie within the pattern, and of these which presentation it is."""
    middle = (np.arange(n_samples) + 0.5) * SAMPLE
    is_inside = np.mod(middle, period) >= period - pattern
    return is_inside, (middle // period).astype(np.int64)[is_inside]


@compiled
def _change(c: Any, w: Any, k: Any) -> Any:
    return c[0] + c[1] * w + c[2] * k + c[3] * w * k + c[4] * w * w + c[5] * k * k


@compiled
def _learn(
    facilitation: Any, depression: Any, time: Any, source: Any, decay: Any, growth: Any, w: Any,
    traces: Any,
) -> Any:  # fmt: skip
    """Go from spike to spike, changing weights and traces; return how many spikes were sent.

    Traces are counted as they were at the origin of the epoch, so that time changes none of them.
    """
    v, post, awake_at, epoch, n_spikes = 0.0, 0.0, 0.0, 0.0, 0
    for event in range(time.size):
        j, now, grown = source[event], time[event], growth[event]
        if now >= epoch + EPOCH:
            left = np.exp(-(now // EPOCH * EPOCH - epoch) / TAU_TRACE)
            epoch, post = now // EPOCH * EPOCH, post * left
            for i in range(traces.size):
                traces[i] *= left
        v *= decay[event]
        changed = w[j] - RATE * _change(depression, w[j], post / grown)
        w[j] = min(max(changed, 0.0), 1.0)
        traces[j] += grown
        if now < awake_at:
            continue
        v += w[j]
        if v >= THRESHOLD:
            v, awake_at = 0.0, now + REFRACTORY
            post += grown
            n_spikes += 1
            left = 1.0 / grown
            for i in range(w.size):
                changed = w[i] + RATE * _change(facilitation, w[i], traces[i] * left)
                w[i] = min(max(changed, 0.0), 1.0)
    return n_spikes


@compiled
def _free(weights: Any, time: Any, source: Any, decay: Any, potential: Any) -> None:
    """Write the potential of a membrane without a threshold, at the end of each sample."""
    v, now, event = 0.0, 0.0, 0
    for k in range(potential.size):
        end = (k + 1) * SAMPLE
        while event < time.size and time[event] <= end:
            v = v * decay[event] + weights[source[event]]
            now = time[event]
            event += 1
        potential[k] = v * np.exp((now - end) / TAU_M)
